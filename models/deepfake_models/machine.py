"""What programs need of the machine that they run on: its memory, its cores, its disk, and the
versions of its packages."""

from __future__ import annotations

import ctypes
import math
import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO, Literal

Device = Literal["auto", "cpu", "cuda"]
M_ARENA_MAX = -8
ARENAS = 2
RETURN_EVERY_S = 10.0

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")

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


@contextmanager
def returning_free_memory() -> Iterator[None]:
    """Return the heap's free pages to the system at intervals while the context lasts.

    Only with glibc, which by itself returns what is free at the end of the heap alone. Between two
    objects that live on, freed buffers of networks and frames remain resident: 240 MB in a service
    after a few hundred pictures. They are not returned after each run of the networks, which uses
    the same pages again: buffers that are mapped and unmapped each time cost a quarter of the
    processor time.
    """
    ended = threading.Event()
    malloc_trim = getattr(_libc, "malloc_trim", lambda _: None)

    def repeat() -> None:
        while not ended.wait(RETURN_EVERY_S):
            malloc_trim(0)

    thread = threading.Thread(target=repeat, name="free-memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    That is the number of cores it may be scheduled on, or fewer if a control group (version 2)
    above it grants less processor time, as ``docker run --cpus`` and ``CPUQuota=`` of systemd do.
    """
    cores = len(os.sched_getaffinity(0))
    return max(1, min([cores, *(math.ceil(share) for share in _quotas())]))


def _quotas() -> list[float]:
    try:
        lines = OWN_CGROUP.read_text().splitlines()
    except OSError:
        return []
    paths = [line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    groups = [CGROUPS / path for path in paths]
    quotas = []
    for group in (above for path in groups for above in (path, *path.parents)):
        try:
            # https://docs.kernel.org/admin-guide/cgroup-v2.html: "max" or microseconds, and of how
            # many microseconds.
            quota, period = (group / "cpu.max").read_text().split()
            quotas.append(int(quota) / int(period))
        except (OSError, ValueError):
            continue
    return quotas


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each of these packages that is installed."""
    found: dict[str, str] = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@contextmanager
def atomic_write(path: Path, *, mode: int = 0o666, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a new binary file that takes the place of ``path`` when the block ends without an error.

    The file is written beside ``path`` under a hidden temporary name, which is removed if the block
    raises; ``path`` then keeps its previous content. ``mode`` gives the permissions of the new
    file, less the process's umask. With ``durable`` the content and the new name are on the disk
    when the block has ended: a power cut cannot bring the previous file back. ``OSError`` if the
    file cannot be written or cannot replace ``path``.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    if durable:
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write_text(path: Path, text: str) -> None:
    """Replace the content of ``path`` with ``text`` as UTF-8, in one step; see ``atomic_write``."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))
