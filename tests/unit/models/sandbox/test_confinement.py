"""Attacks by a file that has taken over the library that parses it."""

from __future__ import annotations

import io
import json
import os
import socket
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_models.errors import DecoderFailed, SandboxIncomplete
from deepfake_models.sandbox.confinement import Confinement, Layer
from deepfake_models.sandbox.pool import ConfinedProcess, ProcessPool
from deepfake_models.sandbox.seccomp import filter_program
from tests.support import attacks
from tests.support.pools import BOUNDS, run


@pytest.fixture
def target(tmp_path: Path) -> Iterator[bytes]:
    """A process of the service with its data directory, and a port that something listens on."""
    with sqlite3.connect(tmp_path / "records.sqlite") as records:
        records.execute("create table cases (note text)")
        records.execute("insert into cases values ('her name is')")
    records.close()
    for name in ("blob", "master-key", "spare"):
        (tmp_path / name).write_bytes(b"secret")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as parent,
    ):
        port = listener.getsockname()[1]
        yield json.dumps({"parent": parent.pid, "folder": str(tmp_path), "port": port}).encode()
        parent.kill()  # one that was traced has been stopped
    assert parent.returncode is not None


def test_a_parser_that_was_taken_over_gains_nothing(pool: ProcessPool, target: bytes) -> None:
    if not pool.confinement().complete:
        pytest.skip(f"the kernel grants no {pool.confinement().missing}")
    outcomes = json.loads(run(pool, attacks.PAYLOAD, target))
    assert {name: what for name, what in outcomes.items() if not what.startswith("failed")} == {}
    assert len(outcomes) > 30
    folder = Path(json.loads(target)["folder"])
    assert (folder / "blob").read_bytes() == b"secret"
    assert (folder / "spare").exists()


HARMLESS = [
    "parent_environ", "data_dir", "case", "media_first_bytes", "signing_key_bytes", "exec",
    "mmap_write", "rename_unlink", "may_signal_parent", "tcp", "fork", "stat",
    "unix_socket", "executable_memory", "make_executable", "memory_file",
]  # fmt: skip
"""What the payload may try where it succeeds."""


def test_the_same_payload_gains_everything_in_a_process_that_is_not_confined(
    target: bytes,
) -> None:
    command = "import sys; from tests.support.attacks import payload; " + (
        "sys.stdout.buffer.write(payload(None, sys.stdin.buffer.read()))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", command],
        input=json.dumps({**json.loads(target), "only": HARMLESS}).encode(),
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    outcomes = json.loads(ran.stdout)
    assert {name for name, what in outcomes.items() if what.startswith("failed")} == set()


def test_the_kernel_says_that_the_process_is_confined(pool: ProcessPool) -> None:
    if not pool.confinement().complete:
        pytest.skip(f"the kernel grants no {pool.confinement().missing}")
    with pool.process() as process:
        status = Path(f"/proc/{process.pid}/status").read_text()
        own = Path("/proc/self/status").read_text()
        rows = dict(line.split(":\t", 1) for line in status.splitlines())
        assert (rows["NoNewPrivs"], rows["Seccomp"]) == ("1", "2")
        assert {rows[f"Cap{kind}"].strip("0") for kind in ("Inh", "Prm", "Eff", "Amb")} == {""}
        if os.geteuid() == 0:
            assert rows["Uid"] != dict(x.split(":\t", 1) for x in own.splitlines())["Uid"]
            for kind in ("user", "net", "pid", "ipc", "mnt"):
                theirs = Path(f"/proc/{process.pid}/ns/{kind}").readlink()
                assert theirs != Path(f"/proc/self/ns/{kind}").readlink()
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        assert "Max processes             64                   64" in limits
        assert "Max open files            8                    8" in limits


def test_a_call_by_another_interface_of_the_machine_kills(pool: ProcessPool) -> None:
    if os.uname().machine != "x86_64" or Layer.SECCOMP in pool.confinement().missing:
        pytest.skip("needs the filter for x86-64")
    with pytest.raises(DecoderFailed):
        run(pool, attacks.FOREIGN_CALL)


def test_the_next_item_meets_no_process_that_was_taken_over(pool: ProcessPool) -> None:
    assert run(pool, attacks.KEEP) == b""
    assert run(pool, attacks.KEEP) == b""
    with pool.process() as process:  # what the task does where a process serves two items
        source = io.BytesIO(b"source")
        assert [*process.pieces(attacks.KEEP, source, b"", BOUNDS, 0)] == [b""]
        assert [*process.pieces(attacks.KEEP, source, b"", BOUNDS, 0)] == [b"source"]


BARE = """
import io, sys
from tests.support import attacks, footage
attacks.deny_system_calls(272, 444)  # unshare, landlock_create_ruleset on x86-64
from deepfake_models.sandbox.decoder import ProcessDecoder
decoder = ProcessDecoder(workers=1)
print(*decoder.confinement().missing)
with decoder.open(io.BytesIO(footage.picture(footage.astronaut(), "PNG"))) as media:
    print(len(list(media.frames([0]))))
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")
def test_a_bare_container_decodes_and_says_what_is_missing() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BARE)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    missing, frames = ran.stdout.splitlines()
    assert missing.split() == [
        "landlock", "user_namespace", "network_namespace", "pid_namespace", "ipc_namespace",
        "mount_namespace",
    ]  # fmt: skip
    assert frames == "1"


def test_a_process_without_every_layer_is_refused_where_all_are_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        ConfinedProcess, "await_ready", lambda _: Confinement((Layer.LANDLOCK, Layer.SECCOMP))
    )
    pool = ProcessPool(size=1, require=True)
    for _ in range(2):
        with pytest.raises(SandboxIncomplete, match="landlock, seccomp"):
            pool.confinement()
    pool.close()
    lenient = ProcessPool(size=1)
    assert not lenient.confinement().complete
    lenient.close()


def test_a_process_with_threads_is_not_confined() -> None:
    command = (
        "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True)"
        ".start(); from deepfake_models.sandbox.confinement import *; "
        "confine(Beginning(frozenset(), False), 1 << 33, 60)"
    )
    ran = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert "several threads" in ran.stderr


def test_there_is_a_filter_for_both_machines() -> None:
    programs = [filter_program(machine) for machine in ("x86_64", "aarch64")]
    assert all(program and len(program) % 8 == 0 for program in programs)
    assert programs[0] != programs[1]
    assert filter_program("riscv64") is None


def test_the_memory_of_a_protected_process_is_closed_to_others() -> None:
    command = (
        "from deepfake_models.sandbox.confinement import protect_memory; protect_memory(); "
        "print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for name in ("mem", "environ"):
            assert Path(f"/proc/{process.pid}/{name}").stat().st_uid == 0
        if os.geteuid() == 0:
            reader = subprocess.run(
                ["setpriv", "--reuid", "10001", "--clear-groups", "cat",
                 f"/proc/{process.pid}/environ"],
                capture_output=True,
            )  # fmt: skip
            assert reader.returncode != 0
        process.communicate(b"\n")
