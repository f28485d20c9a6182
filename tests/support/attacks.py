"""What code that has taken over a parser would try. A confined process runs it as a task."""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import resource
import socket
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from deepfake_models.media import credentials
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.sandbox import seccomp

PAYLOAD = "tests.support.attacks:payload"
CRASH = "tests.support.attacks:crash"
SPIN = "tests.support.attacks:spin"
SWELL = "tests.support.attacks:swell"
FOREIGN_CALL = "tests.support.attacks:foreign_call"
MODULES = "tests.support.attacks:import_modules"
READ = "tests.support.attacks:read"
KEEP = "tests.support.attacks:keep"
FORGE = "tests.support.attacks:forge_credentials"
INSIST = "tests.support.attacks:insist"
DECODE = "tests.support.attacks:decode"
LEAVE = "tests.support.attacks:leave"
FIND = "tests.support.attacks:find"

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> int:
    result = int(getattr(_libc, name)(*arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def payload(source: BinaryIO, argument: bytes) -> bytes:
    """Try everything; return for each try what it gained, or the error.

    The argument is JSON: ``parent``, a process of the service; ``folder``, its data directory,
    which has ``records.sqlite``, ``master-key`` and ``blob``; ``port``, on which something listens;
    and optionally ``only``, the names of the tries.
    """
    target = json.loads(argument)
    parent, folder, port = target["parent"], Path(target["folder"]), target["port"]
    tries: dict[str, Callable[[], Any]] = {
        # The lines of the attack on the decoder.
        "parent_environ": lambda: Path(f"/proc/{parent}/environ").read_bytes()[:40].hex(),
        "data_dir": lambda: [path.name for path in folder.iterdir()],
        "case": lambda: (
            sqlite3.connect(folder / "records.sqlite").execute("select note from cases").fetchall()
        ),
        "media_first_bytes": lambda: (folder / "blob").read_bytes().hex(),
        "signing_key_bytes": lambda: (folder / "master-key").read_bytes().hex(),
        "exec": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "mmap_write": lambda: _write_mapped(folder / "blob"),
        "rename_unlink": lambda: _move_and_delete(folder),
        "may_signal_parent": lambda: os.kill(parent, 0),
        "parent_mem": lambda: os.close(os.open(f"/proc/{parent}/mem", os.O_RDONLY)),
        "tcp": lambda: socket.create_connection(("127.0.0.1", port), 5).close(),
        # Other ways to the same.
        "own_environ": lambda: Path("/proc/self/environ").read_bytes(),
        "stat": lambda: folder.stat(),
        "root_directory": lambda: [path.name for path in Path("/").iterdir()],
        "unix_socket": lambda: socket.socket(socket.AF_UNIX).close(),
        "socket_pair": lambda: socket.socketpair(),
        "datagram_pair": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        "fork": _fork,
        "ptrace": lambda: _call("ptrace", 16, parent, None, None),  # PTRACE_ATTACH
        "read_memory": lambda: _call(
            "process_vm_readv", parent, None, ctypes.c_ulong(0), None, ctypes.c_ulong(0), 0
        ),
        "kill_itself": lambda: os.kill(os.getpid(), 0),
        "executable_memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
        "make_executable": _make_executable,
        "memory_file": lambda: os.memfd_create("x"),
        "pipe": lambda: os.pipe(),
        "become_root": lambda: os.setresuid(0, 0, 0),
        "namespace": lambda: _call("unshare", 0x1000_0000),
        "mount": lambda: _call("mount", b"proc", b"/", b"proc", 1, None),
        "change_root": lambda: os.chroot("/"),
        "shared_memory": lambda: _call("shmget", 0, 4096, 0o1600),
        "keyring": lambda: _call("syscall", 250, 0, -3, 1),
        "io_uring": lambda: _call("syscall", 425, 8, bytes(120)),
        "bpf": lambda: _call("syscall", 321, 0, bytes(72), 72),
        "raise_limit": lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)),
        "limit_of_parent": lambda: resource.prlimit(parent, resource.RLIMIT_AS),
        "other_descriptors": _descriptors,
    }
    only = target.get("only", tries)
    return json.dumps({name: _outcome(tries[name]) for name in only}).encode()


def _outcome(attempt: Callable[[], Any]) -> str:
    try:
        gained = attempt()
    except BaseException as error:
        return f"failed: {error!r}"
    return f"gained: {gained!r}"


def _write_mapped(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:5] = b"OWNED"


def _move_and_delete(folder: Path) -> None:
    (folder / "spare").rename(folder / "moved")
    (folder / "moved").unlink()


def _fork() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[0]


def _make_executable() -> int:
    page = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return _call("mprotect", ctypes.c_void_p(address), ctypes.c_size_t(4096), 5)


def _descriptors() -> list[int]:
    """Return the open descriptors beyond the standard streams and one socket."""
    if not (further := _open_descriptors()[1:]):
        raise OSError("none")
    return further


def _open_descriptors() -> list[int]:
    """Return the open descriptors beyond the standard streams."""
    opened = []
    for number in range(3, 200):
        try:
            os.lseek(number, 0, os.SEEK_CUR)
        except OSError as error:
            if error.errno == 9:  # EBADF
                continue
        opened.append(number)
    return opened


def crash(source: BinaryIO, argument: bytes) -> bytes:
    """Read memory that is not there."""
    ctypes.string_at(8)
    return b""


def spin(source: BinaryIO, argument: bytes) -> bytes:
    """Never return."""
    while True:
        pass


def swell(source: BinaryIO, argument: bytes) -> bytes:
    """Take as much memory as the argument says, and return its size."""
    return str(len(bytearray(int(argument)))).encode()


def foreign_call(source: BinaryIO, argument: bytes) -> bytes:
    """Make a system call by the x32 interface, whose numbers a filter could have overlooked."""
    return str(_libc.syscall(0x4000_0000 + 39)).encode()


def import_modules(source: BinaryIO, argument: bytes) -> bytes:
    """Return the names of the modules that are loaded."""
    import sys

    return json.dumps(sorted(sys.modules)).encode()


def read(source: BinaryIO, argument: bytes) -> bytes:
    """Return the source."""
    return source.read()


def insist(source: BinaryIO, argument: bytes) -> bytes:
    """Ask for bytes as often as the argument says, even of a source that fails."""
    for _ in range(int(argument)):
        with contextlib.suppress(OSError):
            source.seek(0)
            source.read()
    return b""


_kept = b""


def keep(source: BinaryIO, argument: bytes) -> bytes:
    """Keep the source, and return that of the item before."""
    global _kept
    before, _kept = _kept, source.read()
    return before


def leave(source: BinaryIO, argument: bytes) -> bytes:
    """Write to every descriptor but the standard streams and the socket to the parent."""
    for number in _shared_descriptors(source):
        with contextlib.suppress(OSError):
            os.write(number, b"left")
    return b""


def find(source: BinaryIO, argument: bytes) -> bytes:
    """Return what the item before has left."""
    found = b""
    for number in _shared_descriptors(source):
        with contextlib.suppress(OSError):
            found += os.read(number, 64)
    return found


def _shared_descriptors(source: Any) -> set[int]:
    return set(_open_descriptors()) - {source._connection.fileno()}


def forge_credentials(source: BinaryIO, argument: bytes) -> bytes:
    """Let the process say of every later item that its credentials are trusted."""
    credentials.read_credentials = lambda *_, **__: {"state": "trusted"}
    return b""


def deny_system_calls(*numbers: int) -> None:
    """Make system calls of this process and its children fail, as a container's filter does."""
    program = seccomp._Instruction(seccomp._LOAD_WORD, seccomp._NUMBER).packed()
    for number in numbers:
        program += seccomp._Instruction(seccomp._JUMP_EQUAL, number, if_false=1).packed()
        program += seccomp._Instruction(seccomp._RETURN, seccomp._REFUSE).packed()
    program += seccomp._Instruction(seccomp._RETURN, seccomp._ALLOW).packed()
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    _call("prctl", 38, 1, 0, 0, 0)
    _call("prctl", 22, 2, header, 0, 0)


def decode(source: BinaryIO, _argument: bytes) -> bytes:
    """Decode every frame of ``source``, which harms nothing: to see what that imports."""
    with InProcessDecoder().open(source) as media:
        return str(len(list(media.frames(range(len(media.times)))))).encode()
