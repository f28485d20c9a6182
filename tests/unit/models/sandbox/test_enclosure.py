"""What a program in an enclosure can reach, tried by a program that is in one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROBE = """
import ctypes, json, os, platform, resource, socket, subprocess, sys, threading, time
from pathlib import Path
from deepfake_models.sandbox import enclosure
os.umask(0o077)  # as services have it
inherited = os.open("/etc", os.O_RDONLY)
os.close(inherited)
kernel = ctypes.CDLL(None)
ADD_KEY, KEYCTL = {"x86_64": (248, 250), "aarch64": (217, 219)}[platform.machine()]
kernel.syscall(KEYCTL, 1, None)  # a keyring of the test, which is the caller's
key = kernel.syscall(ADD_KEY, b"user", b"deepfake", b"secret", 6, -3)
asked = json.loads(sys.argv[1])
try:
    enclosure.enclose(asked["shown"], {"/memory": 1 << 20}, 512 << 20)
except enclosure.NotEnclosed as error:
    print(json.dumps({"refused": str(error)}), flush=True)
    os._exit(0)

def tried(action):
    try:
        return str(action())
    except (OSError, MemoryError, ValueError) as error:
        return type(error).__name__

def connected(family, kind, address):
    with socket.socket(family, kind) as tried:
        tried.settimeout(300)
        tried.connect(address)
        tried.send(b"x")

def mapped():
    with socket.socket(socket.AF_INET) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        connected(socket.AF_INET, socket.SOCK_STREAM, listener.getsockname())

status = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
"""
WHAT = """
print(json.dumps({
    "root": sorted(os.listdir("/")),
    "proc": sorted(os.listdir("/proc")),
    "given": tried(lambda: Path(asked["shown"][0], "given").read_text()),
    "given is written": tried(lambda: Path(asked["shown"][0], "new").write_text("x")),
    "hostname": tried(lambda: Path("/etc/hostname").read_text()),
    "up": tried(lambda: Path(f"/proc/1/root{asked['secret']}").read_text()),
    "secret": tried(lambda: Path(asked["secret"]).read_text()),
    "root is written": tried(lambda: Path("/new").write_text("x")),
    "memory is written": tried(lambda: Path("/memory/new").write_text("x")),
    "memory is full": tried(lambda: Path("/memory/new").write_bytes(bytes(2 << 20))),
    "executed": tried(lambda: subprocess.run([sys.executable, "-c", ""])),
    "listener": tried(lambda: connected(socket.AF_INET, socket.SOCK_STREAM, tuple(asked["at"]))),
    "unix": tried(lambda: connected(socket.AF_UNIX, socket.SOCK_STREAM, asked["unix"])),
    "abstract": tried(lambda: connected(socket.AF_UNIX, socket.SOCK_STREAM, asked["abstract"])),
    "udp": tried(lambda: connected(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53))),
    "own loopback": tried(mapped),
    "memory": tried(lambda: len(bytearray(1 << 30))),
    "users": [os.getuid(), os.geteuid()],
    "root again": tried(lambda: os.setuid(0)),
    "capabilities": int(status["CapEff"], 16),
    "no new privileges": status["NoNewPrivs"],
    "open": sorted(os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in range(3, 20)
                   if os.path.lexists(f"/proc/self/fd/{n}")),
    "key": key < 0 or kernel.syscall(KEYCTL, 11, key, ctypes.create_string_buffer(6), 6),
    "signals": tried(lambda: os.kill(asked["parent"], 0)),
}), flush=True)
"""


def probe(tmp_path: Path, what: str, **asked: Any) -> subprocess.Popen[bytes]:
    folder = tmp_path / "shown"
    folder.mkdir(exist_ok=True)
    given = folder / "given"
    given.write_text("given")
    # Another user is to see it, if this one is root, whatever mask a service has left here.
    for each in (given, *given.parents):
        if each.stat().st_uid == os.getuid() and each != Path("/"):
            each.chmod(each.stat().st_mode | 0o055)
    asked = {"shown": [str(folder)], **asked}
    return subprocess.Popen(
        [sys.executable, "-c", PROBE + what, json.dumps(asked)], stdout=subprocess.PIPE
    )


def answer(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    said: dict[str, Any] = json.loads(process.stdout.readline())
    if "refused" in said:
        process.wait()
        pytest.skip(said["refused"])
    return said


def test_a_program_sees_what_it_is_given_and_nothing_else(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o644)
    name = f"\0deepfake-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        for sort, where in ((unix, str(tmp_path / "unix")), (abstract, name)):
            sort.bind(where)
            sort.listen()
        (tmp_path / "unix").chmod(0o777)
        with probe(
            tmp_path, WHAT, secret=str(secret), at=listener.getsockname(),
            unix=str(tmp_path / "unix"), abstract=name, parent=os.getpid(),
        ) as process:  # fmt: skip
            said = answer(process)
    first = Path(tmp_path).parts[1]
    assert set(said["root"]) <= {first, "dev", "memory", "proc"}
    assert said["proc"] == ["1", "self", "thread-self"], "neither the machine nor others"
    assert said["given"] == "given"
    assert said["memory is written"] == "1"
    assert said["own loopback"] == "None"
    for refused in ("hostname", "secret", "unix", "executed"):
        assert said[refused] == "FileNotFoundError", refused
    assert said["up"] in ("FileNotFoundError", "PermissionError")
    for refused in ("given is written", "root is written", "memory is full", "udp"):
        assert said[refused] == "OSError", refused
    for refused in ("listener", "abstract"):
        assert said[refused] == "ConnectionRefusedError", refused
    assert said["memory"] == "MemoryError"
    assert said["users"] == [1000, 1000]
    assert said["root again"] in ("PermissionError", "OSError")
    assert (said["capabilities"], said["no new privileges"]) == (0, "1")
    assert said["open"] == [], "no folder of the machine is open"
    assert said["key"] in (True, -1), "what the caller keeps in the kernel is not read"
    assert said["signals"] == "ProcessLookupError"


def test_everything_within_ends_with_the_process_outside(tmp_path: Path) -> None:
    what = """
if not os.fork():
    print(json.dumps({"pid": os.getpid()}), flush=True)
time.sleep(600)
"""
    with probe(tmp_path, what) as process:
        answer(process)
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        assert process.stdout.read() == b"", "both that had it open have ended"


@pytest.mark.parametrize(
    ("end", "code"), [("os._exit(3)", 3), ("import ctypes; ctypes.string_at(0)", 139)]
)
def test_the_process_outside_ends_as_the_first_one_within(
    tmp_path: Path, end: str, code: int
) -> None:
    with probe(tmp_path, f"print('{{}}', flush=True); {end}") as process:
        answer(process)
    assert process.returncode == code


def test_the_memory_of_all_within_is_counted_and_all_are_ended(tmp_path: Path) -> None:
    what = """
before = enclosure.memory_bytes()
reading, writing = os.pipe()
pids = []
for number in range(3):
    pids.append(os.fork())
    if not pids[-1]:
        kept = bytearray(b"x") * (64 << 20)
        os.write(writing, b"x")
        time.sleep(600)
for _ in pids:
    os.read(reading, 1)
after = enclosure.memory_bytes()
enclosure.end_all()
ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
print(json.dumps({"before": before, "after": after, "ends": ends}), flush=True)
"""
    with probe(tmp_path, what) as process:
        said = answer(process)
    assert said["before"] == 0
    assert 3 * 64 << 20 <= said["after"] < 3 * 128 << 20
    assert said["ends"] == [-signal.SIGKILL] * 3


def test_the_root_directory_of_the_machine_is_never_shown(tmp_path: Path) -> None:
    what = 'print(json.dumps({"enclosed": True}), flush=True)'
    with probe(tmp_path, what) as plain:
        answer(plain)
    with probe(tmp_path, what, shown=["/"]) as process:
        said, _ = process.communicate()
    assert json.loads(said)["refused"].endswith("refuses a root directory of its own")


def test_a_machine_that_hides_parts_of_proc_is_told_so(tmp_path: Path) -> None:
    """As containers and units of systemd do; then no enclosed program could have its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can hide parts of /proc")
    what = 'print(json.dumps({"enclosed": True}), flush=True)'
    hidden = 'mount --make-rprivate / && mount --bind /dev/null /proc/kmsg && exec "$@"'
    with probe(tmp_path, what) as plain:
        answer(plain)
        arguments = plain.args
    assert isinstance(arguments, list)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", hidden, "sh", *arguments], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("nothing can be mounted here")
    assert json.loads(done.stdout)["refused"].startswith(
        "the kernel or the container refuses a mount of proc"
    )
