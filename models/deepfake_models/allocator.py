"""The policy of the C library's memory allocator."""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8
ARENAS = 2


def share_arenas() -> None:
    """Let the threads of this process share two arenas of glibc; without effect elsewhere.

    By default each thread has an arena of its own, up to eight for each core, and keeps what it
    freed there. Buffers of networks and frames then remain resident many times. Call it at the
    start of a program, before it has threads. ``MALLOC_ARENA_MAX`` in the environment, which users
    may set, does the same.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)
