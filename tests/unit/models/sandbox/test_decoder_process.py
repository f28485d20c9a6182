"""The processes that decode: one for each item, ended when it hangs or loses its parent."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import deepfake_models
from deepfake_models.errors import DecoderFailed, UndecodableMedia
from deepfake_models.sandbox import protocol as wire
from deepfake_models.sandbox.decoder import ProcessDecoder
from tests.support import footage
from tests.support.footage import LIMITS, noise, refused
from tests.support.servers import children, running, wait_until


class CountingFile(io.BytesIO):
    """A file in memory that counts the bytes read from it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.bytes_read += len(data)
        return data


def test_each_item_has_a_child_of_its_own(process: ProcessDecoder, video: bytes) -> None:
    pids = []
    for _ in range(3):
        with process.open(io.BytesIO(video)) as media:
            list(media.frames([0]))
            pids.append(media._process.pid)
        refused(process, b"nonsense", UndecodableMedia)
    assert len(set(pids)) == 3
    until_ended(*pids)


def test_a_child_runs_the_code_of_its_parent_and_sees_no_other_of_its_modules(
    process: ProcessDecoder, video: bytes
) -> None:
    with process.open(io.BytesIO(video)) as media:
        environment = Path(f"/proc/{media._process.pid}/environ")
        if not environment.exists():
            pytest.skip("needs /proc")
        variables = dict(v.split("=", 1) for v in environment.read_text().split("\0") if v)
    folder = Path(variables["PYTHONPATH"])
    assert folder == Path(deepfake_models.__file__).resolve().parents[1]
    assert not (folder / "platform/errors.py").exists()
    command = "import deepfake_models.sandbox.child as w; print(w.__file__)"
    found = subprocess.run(
        [sys.executable, "-P", "-s", "-c", command],
        env=variables, cwd="/", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(found.stdout.strip()) == folder / "deepfake_models" / "sandbox" / "child.py"


def test_a_child_that_dies_costs_one_item(process: ProcessDecoder, video: bytes) -> None:
    with process.open(io.BytesIO(video)) as media:
        iterator = media.frames(range(50))
        next(iterator)
        os.kill(media._process.pid, signal.SIGKILL)
        with pytest.raises(DecoderFailed):
            list(iterator)
    with process.open(io.BytesIO(video)) as media:
        assert len(list(media.frames([0, 1]))) == 2


def test_a_fork_server_that_dies_is_replaced(video: bytes) -> None:
    decoder = ProcessDecoder(LIMITS, workers=1)
    try:
        with decoder.open(io.BytesIO(video)) as media:
            pid = media._process.pid
            server = decoder._pool._server.process
            server.kill()
            server.wait()
        until_ended(pid)  # its processes end with it
        for _ in range(2):
            with decoder.open(io.BytesIO(video)) as media:
                assert len(list(media.frames([0]))) == 1
    finally:
        decoder.close()


def test_a_fork_server_has_no_process_but_those_of_items_and_none_outlives_it(
    video: bytes,
) -> None:
    with (
        contextlib.closing(ProcessDecoder(LIMITS, workers=1)) as decoder,
        decoder.open(io.BytesIO(video)) as media,
    ):
        pid = media._process.pid
        server = decoder._pool._server.process
        assert children(server.pid) == [pid]
        os.kill(pid, signal.SIGSTOP)  # it cannot see that connections end
        server.kill()
        server.wait()
        until_ended(pid)


@pytest.mark.slow
def test_a_child_that_hangs_is_ended(video: bytes) -> None:
    decoder = ProcessDecoder(LIMITS.model_copy(update={"timeout_s": 1.0}), workers=1)
    try:
        with decoder.open(io.BytesIO(video)):
            pass
        started = time.monotonic()
        with decoder.open(io.BytesIO(video)) as media:
            os.kill(media._process.pid, signal.SIGSTOP)
            with pytest.raises(DecoderFailed):
                list(media.frames(range(50)))
        assert time.monotonic() - started < 60
        with decoder.open(io.BytesIO(video)) as media:
            assert len(list(media.frames([0]))) == 1
    finally:
        decoder.close()


def test_a_closed_decoder_opens_nothing(video: bytes) -> None:
    decoder = ProcessDecoder(LIMITS, workers=1)
    with decoder.open(io.BytesIO(video)) as media:
        pid = media._process.pid
    decoder.close()
    assert not running(pid)
    with pytest.raises(DecoderFailed, match="closed"), decoder.open(io.BytesIO(video)):
        pass


def test_closing_while_an_item_is_open(video: bytes) -> None:
    decoder = ProcessDecoder(LIMITS, workers=1)
    with decoder.open(io.BytesIO(video)) as media:
        decoder.close()
        with pytest.raises(DecoderFailed):
            list(media.frames([0, 1]))


def test_the_child_reads_only_what_it_needs(process: ProcessDecoder) -> None:
    data = footage.encode(noise(150, 256), gop=5, options={"crf": "8", "preset": "ultrafast"})
    assert len(data) > 10 * wire.MAX_READ_BYTES
    source = CountingFile(data)
    with process.open(source) as media:
        list(media.frames([0]))
        once = source.bytes_read
        list(media.frames([149]))
    assert source.bytes_read - once < 6 * wire.MAX_READ_BYTES


def test_limits_of_the_child(process: ProcessDecoder, video: bytes) -> None:
    with process.open(io.BytesIO(video)) as media:
        pid = media._process.pid
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        rows = {line[:25].strip(): line[25:].split()[:2] for line in limits[1:]}
        assert rows["Max core file size"] == ["0", "0"]
        assert rows["Max file size"] == ["0", "0"]
        assert int(rows["Max address space"][1]) == 6 << 30
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        names = {entry.split(b"=")[0] for entry in environment if entry}
        assert names <= {
            b"PYTHONPATH", b"LC_ALL", b"OPENBLAS_NUM_THREADS", b"OMP_NUM_THREADS"
        }  # fmt: skip
        # Three standard streams to the null device, and the socket: no file of the parent.
        targets = [str(f.readlink()) for f in Path(f"/proc/{pid}/fd").iterdir()]
        assert {t for t in targets if t.startswith("/")} == {"/dev/null"}
        assert sum(t.startswith("socket:") for t in targets) == 1


PARENT = """
import io, time
from tests.support import footage
from deepfake_models.sandbox.decoder import ProcessDecoder
decoder = ProcessDecoder(workers=1)
data = footage.encode(footage.panning(10))
with decoder.open(io.BytesIO(data)) as media:
    next(media.frames([0, 1]))
    print(media._process.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("state", ["open", "stuck"])
def test_the_child_ends_with_its_parent(state: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    if state == "stuck":
        os.kill(pid, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    if state == "stuck":
        with contextlib.suppress(ProcessLookupError):  # it was killed as it was
            os.kill(pid, signal.SIGCONT)
    until_ended(pid)


def until_ended(*pids: int) -> None:
    wait_until(lambda: not any(running(pid) for pid in pids))


def test_a_decoder_that_is_garbage_collected_ends_its_children(video: bytes) -> None:
    decoder = ProcessDecoder(LIMITS, workers=1)
    with decoder.open(io.BytesIO(video)) as media:
        pid = media._process.pid
    del decoder
    assert not running(pid)


def test_workers_must_be_positive() -> None:
    with pytest.raises(ValueError, match="workers"):
        ProcessDecoder(workers=0)
