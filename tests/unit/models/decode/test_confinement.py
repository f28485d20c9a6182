"""Attacks by a file that has taken over the library that parses it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from deepfake_models.decode import confinement, credentials
from deepfake_models.decode import protocol as wire
from deepfake_models.decode.base import Frame
from deepfake_models.decode.confinement import Confinement, Layer
from deepfake_models.decode.decoder import Decoder, InProcessDecoder
from deepfake_models.decode.pool import ProcessPool
from deepfake_models.decode.process import ConfinedProcess, TaskBounds
from deepfake_models.decode.sandbox import ProcessDecoder
from deepfake_models.decode.seccomp import filter_program
from deepfake_models.errors import (
    DecoderFailed,
    MediaError,
    MediaTooLarge,
    SandboxBusy,
    SandboxIncomplete,
)
from tests.support import attacks, mediakit

TASKS = (
    attacks.PAYLOAD,
    attacks.CRASH,
    attacks.SPIN,
    attacks.SWELL,
    attacks.FOREIGN_CALL,
    attacks.MODULES,
    attacks.READ,
    attacks.KEEP,
)
BOUNDS = TaskBounds(timeout_s=60.0, memory_bytes=6 << 30)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    pool = ProcessPool(wire.Options(tasks=TASKS), 1)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def decoder() -> Iterator[ProcessDecoder]:
    decoder = ProcessDecoder(workers=1)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def plain() -> bytes:
    """A picture without credentials."""
    return mediakit.picture(mediakit.astronaut(), "JPEG")


def run(pool: ProcessPool, task: str, argument: bytes = b"", bounds: TaskBounds = BOUNDS) -> bytes:
    return pool.run(task, io.BytesIO(b"source"), argument, bounds)


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


def test_a_crash_costs_one_item(pool: ProcessPool) -> None:
    with pytest.raises(DecoderFailed):
        run(pool, attacks.CRASH)
    assert run(pool, attacks.READ) == b"source"


def test_a_process_that_dies_after_its_item_costs_no_other(pool: ProcessPool) -> None:
    for _ in range(10):
        with pool.process() as process:
            os.kill(process.pid, signal.SIGKILL)
        assert run(pool, attacks.READ) == b"source"


def test_a_task_that_never_ends_is_ended(pool: ProcessPool) -> None:
    started = time.monotonic()
    with pytest.raises(DecoderFailed):
        run(pool, attacks.SPIN, bounds=TaskBounds(0.5, 6 << 30))
    assert time.monotonic() - started < 30
    assert run(pool, attacks.READ) == b"source"


def test_a_task_gets_no_more_memory_than_its_bounds(pool: ProcessPool) -> None:
    bounds = TaskBounds(60.0, 1 << 30)
    assert run(pool, attacks.SWELL, b"1000000", bounds) == b"1000000"
    with pytest.raises(MediaTooLarge):
        run(pool, attacks.SWELL, str(2 << 30).encode(), bounds)
    # The next task has its own bounds again.
    assert run(pool, attacks.SWELL, str(2 << 30).encode()) == str(2 << 30).encode()


def test_a_call_by_another_interface_of_the_machine_kills(pool: ProcessPool) -> None:
    if os.uname().machine != "x86_64" or Layer.SECCOMP in pool.confinement().missing:
        pytest.skip("needs the filter for x86-64")
    with pytest.raises(DecoderFailed):
        run(pool, attacks.FOREIGN_CALL)


def test_a_task_that_was_not_named_at_the_start_is_not_run() -> None:
    pool = ProcessPool(wire.Options(tasks=(attacks.READ,)), 1)
    try:
        assert run(pool, attacks.READ) == b"source"
        with pytest.raises(DecoderFailed):
            run(pool, attacks.SWELL, b"1")
    finally:
        pool.close()


def test_a_result_longer_than_announced_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ProcessPool(wire.Options(tasks=(attacks.READ,)), 1)
    monkeypatch.setattr(wire, "MAX_RESULT_BYTES", 3)
    receive = wire.receive_answer

    def short(connection: Connection) -> Any:
        answer = receive(connection)
        return wire.Finished(size=3) if isinstance(answer, wire.Finished) else answer

    monkeypatch.setattr(wire, "receive_answer", short)
    try:
        with pytest.raises(DecoderFailed):
            run(pool, attacks.READ)
    finally:
        pool.close()


def test_waiting_for_a_free_process_has_an_end(pool: ProcessPool) -> None:
    with pool.process(), pytest.raises(SandboxBusy):
        run(pool, attacks.READ, bounds=TaskBounds(60.0, 6 << 30, wait_s=0.05))
    assert run(pool, attacks.READ) == b"source"


def test_an_item_gives_its_turn_back_when_no_other_process_can_be_started(
    pool: ProcessPool,
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as opened, pool.process():
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        last = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 2, limits[1]))
        with suppress(OSError):
            while True:
                opened.callback(os.close, os.dup(0))
    bounds = TaskBounds(60.0, 6 << 30, wait_s=30.0)
    assert run(pool, attacks.READ, bounds=bounds) == b"source"


@pytest.mark.parametrize("threads", [0, 1])
def test_an_item_for_which_no_thread_can_be_started_gives_its_process_up(
    pool: ProcessPool, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    with pool.process():
        pass
    left = iter([True] * threads)
    start = threading.Thread.start

    def start_or_fail(thread: threading.Thread) -> None:
        if not next(left, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start_or_fail)
        with pytest.raises(RuntimeError, match="new thread"):
            run(pool, attacks.READ)
    assert not pool._processes
    assert run(pool, attacks.READ) == b"source"


def test_a_process_is_given_up_at_once_while_its_server_hangs() -> None:
    pool = ProcessPool(wire.Options(), 1)
    with contextlib.closing(pool), pool.process() as process:
        (server,) = pool._servers
        os.kill(server._process.pid, signal.SIGSTOP)
        try:
            with server._control.dup() as control:
                control.setblocking(False)
                with suppress(BlockingIOError):
                    while True:
                        control.send(b"end 0")
            killing = threading.Thread(target=process.kill)
            killing.start()
            assert process.connection.poll(30.0)
        finally:
            os.kill(server._process.pid, signal.SIGCONT)
        killing.join()


def test_the_next_item_meets_no_process_that_was_taken_over(pool: ProcessPool) -> None:
    assert run(pool, attacks.KEEP) == b""
    assert run(pool, attacks.KEEP) == b""
    with pool.process() as process:  # what the task does where a process serves two items
        source = io.BytesIO(b"source")
        assert process.run(attacks.KEEP, source, b"", BOUNDS) == b""
        assert process.run(attacks.KEEP, source, b"", BOUNDS) == b"source"


# -- Content Credentials ----------------------------------------------------------------------


def test_credentials_of_a_huge_file_are_not_read(decoder: ProcessDecoder) -> None:
    """A gibibyte of junk behind a header once took three gibibytes of the service's memory."""
    if credentials.c2pa is None:
        pytest.skip("c2pa-python is not installed")

    class Junk(io.BytesIO):
        """A JPEG header and then as many zeros as are read."""

        length = 1 << 30

        def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
            self.at = offset + (self.length if whence == io.SEEK_END else 0)
            return self.at

        def read(self, size: int | None = -1, /) -> bytes:
            raise AssertionError("it is refused by its size")

    assert decoder.read_credentials(Junk(), "image/jpeg") == {
        "state": "not_read",
        "reason": "Content Credentials are not read from pictures of this size",
    }


def test_credentials_that_swell_in_memory_cost_their_process(
    decoder: ProcessDecoder, plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    if credentials.c2pa is None:
        pytest.skip("c2pa-python is not installed")
    junk = b"\xff\xd8\xff" + b"A" * (200 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.setattr(credentials, "MEMORY_BYTES", 450 << 20)
    # The library may report that memory is short, or crash.
    with suppress(DecoderFailed, MediaTooLarge):
        result = decoder.read_credentials(io.BytesIO(junk), "image/jpeg")
        assert result["state"] in ("absent", "invalid")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    monkeypatch.undo()
    assert decoder.read_credentials(io.BytesIO(plain), "image/jpeg") == {"state": "absent"}


def test_credentials_cannot_be_forged_by_the_item_before(plain: bytes) -> None:
    if credentials.c2pa is None:
        pytest.skip("c2pa-python is not installed")
    decoder = ProcessDecoder(workers=1)
    decoder._pool = ProcessPool(wire.Options(tasks=(credentials.TASK, attacks.FORGE)), 1)
    try:
        run(decoder._pool, attacks.FORGE)
        assert decoder.read_credentials(io.BytesIO(plain), "image/jpeg") == {"state": "absent"}
    finally:
        decoder.close()


def test_one_process_reads_many_files(decoder: ProcessDecoder, plain: bytes) -> None:
    """Their callbacks are taken from executable memory that is there before it is confined."""
    if credentials.c2pa is None:
        pytest.skip("c2pa-python is not installed")
    argument = json.dumps({"mime": "image/jpeg"}).encode()
    with decoder._pool.process() as process:
        for _ in range(300):
            read = process.run(credentials.TASK, io.BytesIO(plain), argument, BOUNDS)
            assert json.loads(read) == {"state": "absent"}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b'{"state": "excellent"}',
        b'{"state": "trusted", "issuer": "' + b"x" * 300 + b'"}',
        b'{"state": "trusted", "actions": [' + b"null," * 50 + b"null]}",
        b'{"state": "absent", "more": 1}',
    ],
)
def test_credentials_out_of_bounds_are_not_believed(
    decoder: ProcessDecoder, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    if credentials.c2pa is None:
        pytest.skip("c2pa-python is not installed")
    monkeypatch.setattr(ProcessPool, "run", lambda *_: answer)
    with pytest.raises(DecoderFailed):
        decoder.read_credentials(io.BytesIO(b"x"), "image/jpeg")


# -- a kernel or a container that grants less -------------------------------------------------

BARE = """
import io, sys
from tests.support import attacks, mediakit
attacks.deny_system_calls(272, 444)  # unshare, landlock_create_ruleset on x86-64
from deepfake_models.decode.sandbox import ProcessDecoder
decoder = ProcessDecoder(workers=1)
print(*decoder.confinement().missing)
with decoder.open(io.BytesIO(mediakit.picture(mediakit.astronaut(), "PNG"))) as media:
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
        ".start(); from deepfake_models.decode.confinement import *; "
        "confine(Beginning(frozenset(), False), ResourceBounds(1 << 33, 60))"
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
        "from deepfake_models.decode.confinement import protect_memory; protect_memory(); "
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


# -- parents of earlier versions --------------------------------------------------------------


@pytest.mark.parametrize("module", ["decode.worker", "decode_worker"])
def test_a_parent_of_an_earlier_version_gets_the_messages_that_it_knows(module: str) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-s", "-m", f"deepfake_models.{module}", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={
                "PYTHONPATH": str(Path(confinement.__file__).parents[2]),
                "OPENBLAS_NUM_THREADS": "1",
            },
            cwd="/",
        )
    connection = Connection(ours.detach())
    assert connection.recv_bytes() == b'J{"op":"ready"}'
    connection.close()
    assert process.wait(30) == 0


# -- everything is decoded as before ----------------------------------------------------------


def heif() -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(mediakit.astronaut())).save(file, quality=80)
    return file.getvalue()


def everything() -> dict[str, bytes]:
    frames = mediakit.panning(12)
    media = {
        name: mediakit.picture(mediakit.astronaut(), name)
        for name in ("PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG", "AVIF")
    }
    media |= {
        f"moving {name}": mediakit.animation(frames[:4], name, [100] * 4)
        for name in ("PNG", "WEBP", "GIF", "AVIF")
    }
    media |= {
        f"{codec} {container}": mediakit.encode(frames, codec=codec, container=container)
        for codec, container in (
            ("libx264", "mp4"), ("libx264", "matroska"), ("libx264", "mpegts"), ("libx265", "mp4"),
            ("libvpx-vp9", "webm"), ("libsvtav1", "mp4"), ("mpeg4", "avi"), ("mpeg4", "mov"),
        )
    }  # fmt: skip
    file = io.BytesIO()
    Image.fromarray(mediakit.resized(mediakit.astronaut(), 1200, 900)).save(file, "WEBP")
    return {**media, "HEIF": heif(), "WEBP with threads": file.getvalue()}


@pytest.fixture(scope="module")
def media() -> dict[str, bytes]:
    return everything()


def pixels(decoder: Decoder, data: bytes) -> list[np.ndarray]:
    with decoder.open(io.BytesIO(data)) as opened:
        frames = list(opened.frames(range(len(opened.times))))
    assert all(isinstance(frame, Frame) for frame in frames)
    return [frame.pixels for frame in frames if isinstance(frame, Frame)]


def test_every_format_is_decoded_as_without_confinement(
    decoder: ProcessDecoder, media: dict[str, bytes]
) -> None:
    direct = InProcessDecoder()
    for name, data in media.items():
        confined, expected = pixels(decoder, data), pixels(direct, data)
        assert len(confined) == len(expected), name
        assert all(np.array_equal(a, b) for a, b in zip(confined, expected, strict=True)), name


def test_nothing_is_imported_after_the_process_is_confined(
    media: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that fails only there would turn a good file into one that cannot be decoded."""
    decoder = ProcessDecoder(workers=1)
    decoder._pool = ProcessPool(wire.Options(tasks=(credentials.TASK, attacks.MODULES)), 1)

    def look(data: bytes) -> None:
        with decoder.open(io.BytesIO(data)) as opened:
            list(opened.frames(range(len(opened.times))))
        wire.send(process.connection, wire.Close())
        assert isinstance(wire.receive_answer(process.connection), wire.Closed)

    try:
        with decoder._pool.process() as process:
            # One process for everything, so that it can be asked afterwards.
            monkeypatch.setattr(decoder._pool, "process", lambda *_: nullcontext(process))
            before = run(decoder._pool, attacks.MODULES)
            for name, data in media.items():
                look(data)
                decoder.read_credentials(io.BytesIO(data), f"image/{name.lower()}")
            for broken in (b"nonsense", media["JPEG"][:3000], media["libx264 mp4"][:2000]):
                with suppress(MediaError):
                    look(broken)
            assert run(decoder._pool, attacks.MODULES) == before
    finally:
        decoder.close()
