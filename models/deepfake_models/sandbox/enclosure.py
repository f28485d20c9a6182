"""An enclosure for another program: one that must open files and start processes, as a browser.

A decoder can give up every right, and such a program cannot. It gets namespaces of its own, whose
root directory holds nothing but folders that it is given, read-only, and memory to write to. Its
network is a loopback interface that leads nowhere. Unlike the layers of ``confinement``, either all
of this is there, or the program is not run.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import resource
import signal
import socket
import struct
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from deepfake_models.sandbox.confinement import (
    NAMESPACES,
    Layer,
    change_user,
    drop_capabilities,
    end_with_parent,
    pivot_root,
    protect_memory,
    require_one_thread,
    unshare,
)

USER = 1000
"""Of the program, within: any number but that of root."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
MAX_PROCESSES, MAX_OPEN_FILES = 512, 1024

# linux/mount.h, linux/prctl.h, linux/keyctl.h, linux/fcntl.h, linux/sockios.h
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16_384, 1 << 18
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_KEYCTL, _JOIN_SESSION_KEYRING = {"x86_64": 250, "aarch64": 219}, 1
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40
_ROOT = "/sys"
"""Where the new root is put together: a directory that exists everywhere and is not needed."""

_libc = ctypes.CDLL(None, use_errno=True)


class NotEnclosed(Exception):
    """The kernel or the container refuses a part of the enclosure."""

    def __init__(self, part: str) -> None:
        super().__init__(f"the kernel or the container refuses {part}")


def enclose(
    shown: Iterable[str], writable: Mapping[str, int], data_bytes: int, *, proc: bool = True
) -> None:
    """Return in a new process, the first one of the enclosure. The calling one waits for it, and
    ends as it does; if it is killed, or the thread that started it ends, everything within is.

    Args:
        shown: paths that the root directory has, as far as this machine has them.
        writable: folders in memory, and the bytes that each may hold.
        data_bytes: memory that each process within may reserve to write to.
        proc: whether there is a ``/proc`` of the processes within, which most containers refuse.

    Raises:
        NotEnclosed: nothing is run then.
    """
    require_one_thread()
    is_root = os.geteuid() == 0
    # Paths may lead through folders that are root's alone, as /root is.
    is_furnished = is_root and unshare({Layer.MOUNT_NAMESPACE})
    if is_furnished:
        _furnish(shown, writable, proc=proc)
    if is_root and not change_user():
        raise NotEnclosed("another user")
    end_with_parent()
    _leave_keyring()
    # A change of the user closes /proc/self to this process.
    _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    user, group = os.geteuid(), os.getegid()
    if not unshare(NAMESPACES):
        raise NotEnclosed("namespaces")
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{USER} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{USER} {group} 1")
    except OSError:
        raise NotEnclosed("a user of its own") from None
    if pid := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os._exit(code if code >= 0 else 128 - code)  # of a signal, as shells say it
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not is_furnished:
        _furnish(shown, writable, proc=proc)
    _enter_root(proc=proc)
    _connect_loopback()
    drop_capabilities()
    protect_memory()
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise NotEnclosed("no_new_privs")
    for number, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, data_bytes),
        (resource.RLIMIT_NPROC, MAX_PROCESSES),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
    ):
        resource.setrlimit(number, (value, value))


def _leave_keyring() -> None:
    """Leave the keys that came with the process that started this one: no namespace hides them.
    Where a filter denies that, it denies every access to keys."""
    number = _KEYCTL.get(platform.machine(), -1)
    is_left = _libc.syscall(number, _JOIN_SESSION_KEYRING, None) >= 0
    if not is_left and ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
        raise NotEnclosed("a keyring of its own")


def _furnish(shown: Iterable[str], writable: Mapping[str, int], *, proc: bool) -> None:
    """Make a root directory of these."""
    os.umask(0o022)  # the user within must be able to enter what root makes
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", _ROOT, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")
    try:
        for folder, size in writable.items():
            target = Path(f"{_ROOT}{folder}")
            target.mkdir(parents=True)
            flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
            _mount("tmpfs", str(target), "tmpfs", flags, f"size={size},mode=0777")
        for path in (*shown, *DEVICES):
            if not os.path.lexists(path):
                continue
            target = Path(f"{_ROOT}{path}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.mkdir(exist_ok=True) if Path(path).is_dir() else target.touch()
            _mount(path, str(target), "", _MS_BIND | _MS_REC)
            attributes = _ATTR_RDONLY | _ATTR_NOSUID | (path not in DEVICES) * _ATTR_NODEV
            _restrict(str(target), attributes)
        if proc:
            Path(f"{_ROOT}/proc").mkdir()
    except OSError:  # also if "/" is to be shown
        raise NotEnclosed("a root directory of its own") from None


def _enter_root(*, proc: bool) -> None:
    # What root has mounted can be entered only from a mount of this user's.
    _mount(_ROOT, _ROOT, "", _MS_BIND | _MS_REC)
    if proc:
        flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        _mount("proc", f"{_ROOT}/proc", "proc", flags, "subset=pid")
    _restrict(_ROOT, _ATTR_RDONLY, recursive=False)
    try:
        os.chdir(_ROOT)
        if not pivot_root():
            raise NotEnclosed("a root directory of its own")
        os.chdir("/")
    except OSError:
        raise NotEnclosed("a root directory of its own") from None


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    arguments = (text.encode() or None for text in (source, target, kind))
    if _libc.mount(*arguments, flags, data.encode() or None) != 0:
        raise NotEnclosed(f"a mount of {kind or source} ({os.strerror(ctypes.get_errno())})")


def _restrict(target: str, attributes: int, *, recursive: bool = True) -> None:
    """Set attributes of a mount, and of those below it (mount_setattr(2))."""
    asked = struct.pack("=QQQQ", attributes, 0, 0, 0)
    flags = _AT_RECURSIVE * recursive
    if _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, target.encode(), flags, asked, len(asked)) != 0:
        raise NotEnclosed(f"a read-only mount ({os.strerror(ctypes.get_errno())})")


def _connect_loopback() -> None:
    """Switch on the only interface that the network namespace has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh", b"lo", _IFF_UP | _IFF_RUNNING)
        try:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, asked)
        except OSError:
            raise NotEnclosed("a loopback interface") from None


def lead_out(listener: socket.socket, gate: socket.socket) -> None:
    """Hand each connection that ``listener`` takes to the gate at the other end of ``gate``, which
    reads from it what is wanted; return at once."""

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                socket.send_fds(gate, [b"c"], [connection.fileno()])

    threading.Thread(target=serve, daemon=True).start()


def memory_bytes() -> int:
    """Return the memory that all processes of the enclosure have written to, but this one. What two
    of them share counts twice."""
    total = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and folder.name != "1":
            try:
                lines = (folder / "status").read_text(errors="replace").splitlines()
            except OSError:  # it has ended
                continue
            for line in lines:
                if line.startswith(("RssAnon:", "RssShmem:")):
                    total += int(line.split()[1]) << 10
    return total


def end_all() -> None:
    """End all processes of the enclosure but this one, its first."""
    with suppress(ProcessLookupError):  # there is none
        os.kill(-1, signal.SIGKILL)
