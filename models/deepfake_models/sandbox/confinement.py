"""Confinement of a process that parses untrusted bytes, in layers that the kernel provides.

A process first enters namespaces of its own (``enter_namespaces``), imports everything that it will
need, and then gives up every right but those on its memory and its open files (``confine``). Each
layer alone would stop most attacks; a kernel or a container may grant only some of them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from deepfake_models.sandbox.seccomp import install_filter


class Layer(StrEnum):
    """A layer of the confinement."""

    NO_NEW_PRIVS = "no_new_privs"
    """Programs that it executes gain no rights (prctl(2), PR_SET_NO_NEW_PRIVS)."""
    LANDLOCK = "landlock"
    """No access to any file by its name, and none to TCP ports (landlock(7))."""
    SECCOMP = "seccomp"
    """Only the system calls of ``seccomp.py``."""
    LIMITS = "limits"
    """Limits on memory, processor time, files and processes (setrlimit(2))."""
    USER_NAMESPACE = "user_namespace"
    NETWORK_NAMESPACE = "network_namespace"
    """No network interface."""
    PID_NAMESPACE = "pid_namespace"
    """It sees no other process."""
    IPC_NAMESPACE = "ipc_namespace"
    MOUNT_NAMESPACE = "mount_namespace"
    """Its root directory is empty."""
    OTHER_USER = "other_user"
    """It runs as a user of its own. Only root can do that, so only root misses this layer."""


NAMESPACES = {
    Layer.USER_NAMESPACE: 0x1000_0000,
    Layer.NETWORK_NAMESPACE: 0x4000_0000,
    Layer.PID_NAMESPACE: 0x2000_0000,
    Layer.IPC_NAMESPACE: 0x0800_0000,
    Layer.MOUNT_NAMESPACE: 0x0002_0000,
}
"""The flags of unshare(2)."""

FIRST_USER, USERS = 61_184, 4_336
"""Ids that belong to no account: systemd hands them to services without one (DynamicUser)."""

MAX_OPEN_FILES = 8
"""The standard streams and the socket, with room to spare."""

MAX_THREADS = 64
"""Threads of the process, where they are counted apart from those of the service."""

# linux/prctl.h, linux/mount.h, linux/capability.h
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_RDONLY = 2, 4, 8, 1
_MS_REC, _MS_PRIVATE, _MNT_DETACH = 16_384, 1 << 18, 2
_CAPABILITY_VERSION_3 = 0x2008_0522
_CAPSET = {"x86_64": 126, "aarch64": 91}
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
# These calls came after the numbers of all architectures were made the same.
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_VERSION_FLAG = 1

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Confinement:
    """The layers that a process runs without."""

    missing: tuple[Layer, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.missing


def protect_memory() -> None:
    """Deny the memory and environment of this process to others of the same user (ptrace(2)). It
    also stops the kernel from writing the memory to a file when the process crashes."""
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_grandchildren() -> None:
    """Make this process the parent of those whose parent, a child of it, ends; ``OSError`` if the
    kernel refuses."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


@dataclass(frozen=True, slots=True)
class Beginning:
    """The state of a process that has entered namespaces and is not confined yet."""

    namespaces: frozenset[Layer]
    """The namespaces that the kernel granted."""
    root: bool
    """Whether the process belongs to root, who alone may change to another user."""


def enter_namespaces() -> Beginning:
    """Move this process into namespaces of its own, as far as the kernel grants them.

    The process must have one thread. Its next child is the first one of the process namespace.
    Root keeps the user namespace of its parent here, because in a new one it could not change to
    another user; ``confine`` enters one for it.
    """
    root = os.geteuid() == 0
    everything = frozenset(NAMESPACES)
    for wanted in (everything - {Layer.USER_NAMESPACE} if root else everything, everything):
        # The second try is for root without CAP_SYS_ADMIN, who may do as any user does.
        if unshare(wanted):
            return Beginning(wanted, root)
    return Beginning(frozenset(layer for layer in NAMESPACES if unshare({layer})), root)


def unshare(layers: Iterable[Layer]) -> bool:
    """Enter namespaces of these kinds; return whether the kernel granted all."""
    return bool(_libc.unshare(sum(NAMESPACES[layer] for layer in layers)) == 0)


def confine(beginning: Beginning, memory_bytes: int, cpu_s: int) -> Confinement:
    """Give up every right that parsing does not need; nothing can be imported or opened afterwards.

    The process must have one thread, since others would keep their rights. It ends with its parent.
    ``beginning`` is what ``enter_namespaces`` returned.
    """
    require_one_thread()
    layers = set(beginning.namespaces)
    if Layer.MOUNT_NAMESPACE in layers and not _empty_root():
        layers.remove(Layer.MOUNT_NAMESPACE)
    if Layer.USER_NAMESPACE not in layers:
        if beginning.root and change_user():
            layers.add(Layer.OTHER_USER)
        if unshare({Layer.USER_NAMESPACE}):
            layers.add(Layer.USER_NAMESPACE)
    drop_capabilities()
    # A change of the user resets both of these.
    protect_memory()
    end_with_parent()
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        layers.add(Layer.NO_NEW_PRIVS)
    if _restrict_files():
        layers.add(Layer.LANDLOCK)
    counted_apart = bool(layers & {Layer.OTHER_USER, Layer.USER_NAMESPACE})
    if _set_limits(memory_bytes, cpu_s, counted_apart=counted_apart):
        layers.add(Layer.LIMITS)
    if install_filter(_libc):
        layers.add(Layer.SECCOMP)
    expected = set(Layer) if beginning.root else set(Layer) - {Layer.OTHER_USER}
    return Confinement(tuple(layer for layer in Layer if layer in expected - layers))


def require_one_thread() -> None:
    """Raise ``RuntimeError`` if this process has further threads. A fork would copy the locks that
    they hold, but not them; a confinement would spare them."""
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError("a process with several threads cannot be confined")


def _empty_root() -> bool:
    """Make an empty file system the root directory; return whether that succeeded."""
    mount_point = b"/proc"  # any directory that exists everywhere and is not needed any more
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | _MS_RDONLY
    if (
        _libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) != 0
        or _libc.mount(b"tmpfs", mount_point, b"tmpfs", flags, b"size=4k,mode=0555") != 0
    ):
        return False
    try:
        os.chdir(mount_point)
        if not pivot_root():
            # The root file system of an initial RAM disk cannot be exchanged.
            os.chroot(".")
    except OSError:
        return False
    return True


def pivot_root() -> bool:
    """Make the working directory, which is a mount, the root; return whether that succeeded.

    Raises:
        OSError: the old root cannot be left.
    """
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None or _libc.syscall(number, b".", b".") != 0:
        return False
    # The old root now covers the new one (pivot_root(2), NOTES).
    if _libc.umount2(b".", _MNT_DETACH) != 0:
        raise OSError(ctypes.get_errno(), "umount2")
    return True


def change_user() -> bool:
    """Become a user that belongs to no account, as only root can; return whether that succeeded."""
    user = FIRST_USER + int.from_bytes(os.urandom(4)) % USERS
    try:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except OSError:
        return False
    return True


def drop_capabilities() -> None:
    """Empty the sets of capabilities (capset(2)); a new user namespace grants all of them."""
    number = _CAPSET.get(platform.machine())
    if number is not None:
        header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
        _libc.syscall(number, header, bytes(24))


def _set_limits(memory_bytes: int, cpu_s: int, *, counted_apart: bool) -> bool:
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
    }
    if counted_apart:
        # Otherwise the threads of the service count as well, and decoders could start none.
        limits[resource.RLIMIT_NPROC] = MAX_THREADS
    complete = True
    for number, value in limits.items():
        try:
            resource.setrlimit(number, (value, value))
        except (OSError, ValueError):
            complete = False
    return complete


def _restrict_files() -> bool:
    """Apply a Landlock ruleset that handles every right and has no rule, so that all are denied."""
    version = _libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION_FLAG)
    if version < 1:
        return False
    # linux/landlock.h: access to files, which grew with versions 2, 3 and 5; binding and connecting
    # TCP sockets since 4; abstract Unix sockets and signals since 6.
    files = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    attributes = struct.pack("=Q", files)
    if version >= 4:
        attributes += struct.pack("=Q", 0b11)
    if version >= 6:
        attributes += struct.pack("=Q", 0b11)
    ruleset = _libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        return bool(_libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)
