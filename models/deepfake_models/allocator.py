"""The policy of the C library's memory allocator."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

M_ARENA_MAX = -8
ARENAS = 2
RETURN_EVERY_S = 10.0

_libc = ctypes.CDLL(None)


def share_arenas() -> None:
    """Let the threads of this process share two arenas of glibc; without effect elsewhere.

    By default each thread has an arena of its own, up to eight for each core, and keeps what it
    freed there. Buffers of networks and frames then remain resident many times. Call it at the
    start of a program, before it has threads. ``MALLOC_ARENA_MAX`` in the environment, which users
    may set, does the same.
    """
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)


def return_free_memory() -> None:
    """Return the free pages of the heap to the system, with glibc; without effect elsewhere.

    By itself, glibc returns only what is free at the end of the heap. Between two objects that
    live on, freed buffers of networks and frames remain resident: 240 MB in a service after a few
    hundred pictures.
    """
    malloc_trim = getattr(_libc, "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


@contextmanager
def returning_free_memory(every_s: float = RETURN_EVERY_S) -> Iterator[None]:
    """Return free memory to the system every ``every_s`` seconds while the context lasts.

    A run of the networks uses the same pages again and again. They are therefore not returned after
    each one, since the system would have to clear them for the next: buffers that are mapped and
    unmapped each time cost a quarter of the processor time.
    """
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(every_s):
            return_free_memory()

    thread = threading.Thread(target=repeat, name="free-memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
