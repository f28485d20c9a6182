"""The contract of both decoders, hostile input, and the decoder process."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile
from pydantic import ValidationError

import deepfake_models
from deepfake_models.decode import process as processes
from deepfake_models.decode import protocol as wire
from deepfake_models.decode import sandbox
from deepfake_models.decode.base import Frame, GuardedSource
from deepfake_models.decode.confinement import Layer
from deepfake_models.decode.decoder import Decoder, InProcessDecoder
from deepfake_models.decode.limits import DecodeLimits
from deepfake_models.decode.sandbox import ProcessDecoder
from deepfake_models.decode.serving import RemoteFile
from deepfake_models.errors import (
    DecoderFailed,
    MediaTooLarge,
    NotAPicture,
    NoVisualStream,
    UndecodableMedia,
    UnreadableMedia,
)
from tests.support import mediakit

LIMITS = DecodeLimits(max_pixels=2_000_000, max_frames=2_000, max_duration_s=3600, timeout_s=60)


@pytest.fixture(scope="module", params=[InProcessDecoder, ProcessDecoder])
def decoder(request: pytest.FixtureRequest) -> Iterator[Decoder]:
    decoder: Decoder = request.param(LIMITS)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessDecoder]:
    decoder = ProcessDecoder(LIMITS, workers=1)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def video() -> bytes:
    return mediakit.encode(mediakit.panning(50), gop=10, sound=True)


def refused(decoder: Decoder, data: bytes, error: type[Exception]) -> str:
    with pytest.raises(error) as caught, decoder.open(io.BytesIO(data)) as media:
        list(media.frames(range(min(len(media.times), 3))))
    assert type(caught.value) is error
    return str(caught.value)


def noise(count: int, side: int) -> list[np.ndarray]:
    """Return frames that no codec can compress well."""
    draw = np.random.default_rng(0)
    return [draw.integers(0, 255, (side, side, 3), np.uint8) for _ in range(count)]


def child_of(decoder: ProcessDecoder) -> Any:
    (child,) = decoder._pool._processes
    return child


# -- contract --------------------------------------------------------------------------------


def test_video(decoder: Decoder, video: bytes) -> None:
    with decoder.open(io.BytesIO(video)) as media:
        assert media.facts.to_json() == {
            "kind": "video",
            "width": 160,
            "height": 128,
            "duration_s": 2.0,
            "frames": 50,
            "rotation": 0,
        }
        np.testing.assert_allclose(media.times, np.arange(50) / 25, atol=1e-9)
        assert media.times.dtype == np.float64
        for indices in ([0, 13, 49], [5, 6], []):
            results = list(media.frames(indices))
            assert [r.index for r in results] == indices
            for result in results:
                assert isinstance(result, Frame)
                assert result.time_s == media.times[result.index]
                assert result.pixels.shape == (128, 160, 3)
                assert result.pixels.dtype == np.uint8
                assert result.pixels.flags.writeable
                assert result.pixels.flags.c_contiguous


def test_both_decoders_give_the_same_frames(process: ProcessDecoder, video: bytes) -> None:
    picture = mediakit.picture(mediakit.grace_hopper(), "JPEG")
    for data in (video, picture):
        with (
            process.open(io.BytesIO(data)) as far,
            InProcessDecoder(LIMITS).open(io.BytesIO(data)) as near,
        ):
            assert far.facts == near.facts
            np.testing.assert_array_equal(far.times, near.times)
            indices = range(0, len(far.times), 7)
            for a, b in zip(far.frames(indices), near.frames(indices), strict=True):
                assert isinstance(a, Frame)
                assert isinstance(b, Frame)
                assert a.time_s == b.time_s
                np.testing.assert_array_equal(a.pixels, b.pixels)


def test_picture(decoder: Decoder) -> None:
    with decoder.open(io.BytesIO(mediakit.picture(mediakit.astronaut(), "PNG"))) as media:
        assert media.facts.kind == "image"
        assert media.times.tolist() == [0.0]
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.pixels, mediakit.astronaut())


def test_wrong_indices(decoder: Decoder, video: bytes) -> None:
    with decoder.open(io.BytesIO(video)) as media:
        for indices in ([50], [-1], [3, 3], [4, 2]):
            with pytest.raises(ValueError, match="indices"):
                media.frames(indices)


def test_an_iteration_may_be_abandoned(decoder: Decoder, video: bytes) -> None:
    for _ in range(3):
        with decoder.open(io.BytesIO(video)) as media:
            iterator = media.frames(range(50))
            next(iterator)
            next(iterator)
        with pytest.raises(ValueError, match="closed"):
            next(iterator)
    with decoder.open(io.BytesIO(video)) as media:
        next(media.frames(range(50)))
        assert [r.index for r in media.frames([1, 2])] == [1, 2]


def test_an_error_of_the_caller_leaves_the_decoder_usable(decoder: Decoder, video: bytes) -> None:
    def use() -> None:
        with decoder.open(io.BytesIO(video)) as media:
            next(media.frames([1, 2, 3]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    with decoder.open(io.BytesIO(video)) as media:
        assert len(list(media.frames([0]))) == 1


def test_threads(decoder: Decoder, video: bytes) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(3):
                with decoder.open(io.BytesIO(video)) as media:
                    assert len([*media.frames([0, 20, 40])]) == 3
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_the_source_fails_at_once(decoder: Decoder, video: bytes) -> None:
    with (
        pytest.raises(UnreadableMedia),
        decoder.open(mediakit.BrokenFile(video, after=0)),
    ):
        pass


@pytest.mark.parametrize("kind", ["video", "picture"])
def test_the_source_fails_on_the_way(decoder: Decoder, kind: str) -> None:
    if kind == "video":
        data = mediakit.encode(noise(60, 256), gop=5, options={"crf": "5"})
        assert len(data) > 3 * wire.MAX_READ_BYTES
    else:
        data = mediakit.picture(noise(1, 900)[0], "PNG")
    source = mediakit.BrokenFile(data, after=200_000)
    with pytest.raises(UnreadableMedia), decoder.open(source) as media:
        list(media.frames(range(len(media.times))))
    with decoder.open(io.BytesIO(data)) as media:
        assert len(list(media.frames([0]))) == 1


def test_other_errors_of_the_source_are_passed_on(decoder: Decoder, video: bytes) -> None:
    class Tampered(Exception):
        pass

    source = mediakit.BrokenFile(video, after=0, error=Tampered("block 7"))
    with pytest.raises(Tampered, match="block 7"), decoder.open(source):
        pass


def test_short_reads(decoder: Decoder, video: bytes) -> None:
    class Dribble(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size, 777) if size and size > 0 else size)

    with decoder.open(Dribble(video)) as media:
        assert isinstance(next(media.frames([49])), Frame)


# -- hostile input ---------------------------------------------------------------------------

M3U8 = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{path}\n#EXT-X-ENDLIST\n"
CONCAT = "ffconcat version 1.0\nfile {path}\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"
DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{path}</BaseURL></MPD>"""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"This is a text that somebody has named film.mp4.\n" * 100,
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
        b"BM\0\0\0\0\0\0\0\0",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0\0\0\x18ftypavif\0\0\0\0mif1avif",
        b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
        b"II*\0\x08\0\0\0\xff\xff",
        b"\x1aE\xdf\xa3" + b"\xff" * 100,
        np.random.default_rng(1).bytes(5000),
    ],
    ids=lambda d: repr(d[:12]),
)
def test_files_that_are_not_media_are_undecodable(decoder: Decoder, data: bytes) -> None:
    refused(decoder, data, UndecodableMedia)


@pytest.mark.parametrize("text", [M3U8, CONCAT, SDP, DASH], ids=["m3u8", "concat", "sdp", "dash"])
def test_files_that_name_other_files(
    decoder: Decoder, text: str, video: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the content nor the name of a source makes FFmpeg open another file."""
    target = tmp_path / "target.mp4"
    os.mkfifo(target)  # opening it would block until the time limit of the test
    monkeypatch.chdir(tmp_path)

    class Named(io.BytesIO):
        name = "playlist.m3u8"

    for path in (target, target.name, f"file:{target}", f"concat:{target}"):
        with (
            pytest.raises(UndecodableMedia),
            decoder.open(Named(text.format(path=path).encode())),
        ):
            pass


def test_the_name_of_a_source_is_ignored(decoder: Decoder, video: bytes) -> None:
    class Named(io.BytesIO):
        name = "frame%03d.png"

    with decoder.open(Named(video)) as media:
        assert media.facts.kind == "video"


@pytest.mark.parametrize("container", ["mp4", "mp3", "wav"])
def test_files_with_sound_alone_have_no_visual_stream(decoder: Decoder, container: str) -> None:
    refused(decoder, mediakit.sound_only(container), NoVisualStream)


def test_cover_art_does_not_count_as_video(decoder: Decoder) -> None:
    refused(decoder, mediakit.sound_only("mp3", cover=mediakit.astronaut()), NoVisualStream)


def test_one_pixel(decoder: Decoder) -> None:
    data = mediakit.picture(np.zeros((1, 1, 3), np.uint8), "PNG")
    with decoder.open(io.BytesIO(data)) as media:
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)
        assert frame.pixels.shape == (1, 1, 3)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(decoder: Decoder) -> None:
    data = mediakit.huge_png(30_000)
    assert len(data) < 200_000
    message = refused(decoder, data, MediaTooLarge)
    assert "30000 x 30000 = 900000000" in message
    assert "2000000" in message


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by an entry for each frame that Pillow decodes in this process."""
    seen: list[int] = []
    load = ImageFile.ImageFile.load

    def counted(image: ImageFile.ImageFile) -> object:
        seen.append(1)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counted)
    return seen


def test_a_decompression_bomb_is_not_decoded(loads: list[int]) -> None:
    with (
        pytest.raises(MediaTooLarge),
        InProcessDecoder(LIMITS).open(io.BytesIO(mediakit.huge_png(30_000))),
    ):
        pass
    assert loads == []


@pytest.mark.parametrize("picture_format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_an_animation_is_refused_as_a_still_before_it_is_decoded(
    loads: list[int], picture_format: str
) -> None:
    data = mediakit.animation(mediakit.panning(3, 64, 48), picture_format, [100] * 3)
    loads.clear()  # those of the encoder
    with (
        pytest.raises(NotAPicture),
        InProcessDecoder().open(io.BytesIO(data), stills_only=True),
    ):
        pass
    assert loads == []


def test_a_picture_between_pillows_limits_does_not_warn() -> None:
    """Pillow warns from 89 million pixels on and raises from 179 million on."""
    limits = DecodeLimits(max_pixels=120_000_000)
    with InProcessDecoder(limits).open(io.BytesIO(mediakit.huge_png(10_000))) as media:
        assert media.facts.width == 10_000


GIF_HEAD = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff"
GIF_FRAME = b"!\xf9\x04\0\x01\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0"
"""A frame of one pixel."""


def sized(frame: bytes, side: int) -> bytes:
    """Return ``frame`` with another size in its header."""
    return frame.replace(b"\x01\0\x01\0", struct.pack("<HH", side, side))


def test_a_gif_with_very_many_frames(decoder: Decoder) -> None:
    assert "2000 frames" in refused(decoder, GIF_HEAD + GIF_FRAME * 100_000 + b";", MediaTooLarge)
    with decoder.open(io.BytesIO(GIF_HEAD + GIF_FRAME * 1000 + b";")) as media:
        assert len(media.times) == 1000


def test_a_frame_that_enlarges_a_gif_is_refused_before_it_is_decoded(decoder: Decoder) -> None:
    large = sized(GIF_FRAME, 8000)
    # Its data end early, but to find that out takes the memory of all its pixels.
    message = refused(decoder, GIF_HEAD + GIF_FRAME + large + b";", MediaTooLarge)
    assert "the limit is 2000000" in message


def test_a_frame_that_a_gif_clears_is_refused_before_it_is_filled(process: Decoder) -> None:
    cleared = GIF_FRAME.replace(b"!\xf9\x04\0", b"!\xf9\x04\x08")
    large = sized(cleared, 65535)
    message = refused(process, GIF_HEAD + cleared + large + b";", MediaTooLarge)
    assert "the limit is 2000000" in message
    # The next picture has its own limit.
    message = refused(process, mediakit.huge_png(30_000), MediaTooLarge)
    assert "30000 x 30000" in message


def animation(kind: str, frames: list[np.ndarray]) -> bytes:
    first, *rest = (Image.fromarray(f) for f in frames)
    buffer = io.BytesIO()
    first.save(buffer, kind, save_all=True, append_images=rest, duration=100)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_only_stills(decoder: Decoder, kind: str) -> None:
    moving = animation(kind, noise(3, 64))
    with (
        pytest.raises(NotAPicture),
        decoder.open(io.BytesIO(moving), stills_only=True),
    ):
        pass
    with decoder.open(io.BytesIO(moving)) as media:
        assert len(media.times) == 3
    still = animation(kind, noise(1, 64))
    with decoder.open(io.BytesIO(still), stills_only=True) as media:
        assert media.facts.kind == "image"
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)


def test_only_stills_refuses_other_files(decoder: Decoder, video: bytes) -> None:
    for data in (video, b"no media at all"):
        with pytest.raises(NotAPicture), decoder.open(io.BytesIO(data), stills_only=True):
            pass


def test_an_animation_is_refused_as_a_still_before_a_frame_is_decoded(loads: list[int]) -> None:
    moving = animation("GIF", [np.full((200, 200), v, np.uint8) for v in (0, 255, 0, 255)])
    decoder = InProcessDecoder(LIMITS)
    with pytest.raises(NotAPicture), decoder.open(io.BytesIO(moving), stills_only=True):
        pass
    assert loads == []
    with decoder.open(io.BytesIO(moving)) as media:
        assert len(list(media.frames(range(4)))) == 4
    assert loads


def test_a_container_that_claims_huge_frames(decoder: Decoder) -> None:
    """Uncompressed video: nothing but the container's header states the size."""
    data = mediakit.encode(
        mediakit.panning(3, 32, 32), codec="rawvideo", container="mov", pix_fmt="rgb24"
    )
    at = data.index(b"raw ", data.index(b"stsd")) + 4 + 24
    assert struct.unpack(">HH", data[at : at + 4]) == (32, 32)
    with decoder.open(io.BytesIO(data)) as media:
        assert media.facts.width == 32
    large = data[:at] + struct.pack(">HH", 2000, 2000) + data[at + 4 :]
    assert "2000 x 2000 = 4000000" in refused(decoder, large, MediaTooLarge)
    absurd = data[:at] + struct.pack(">HH", 60_000, 60_000) + data[at + 4 :]
    refused(decoder, absurd, UndecodableMedia)


def test_frames_that_are_too_large(decoder: Decoder) -> None:
    data = mediakit.encode(mediakit.panning(2, 1920, 1088), options={"preset": "ultrafast"})
    assert "1920 x 1088" in refused(decoder, data, MediaTooLarge)


def test_frames_that_grow_are_failed_frames() -> None:
    """A transport stream whose second half has a frame size above the limit."""
    small = mediakit.encode(mediakit.panning(10), container="mpegts", gop=5)
    large = mediakit.encode(mediakit.panning(10, 640, 512), container="mpegts", gop=5)
    limits = DecodeLimits(max_pixels=100_000)
    with InProcessDecoder(limits).open(io.BytesIO(small + large)) as media:
        results = list(media.frames(range(len(media.times))))
    frames = [r for r in results if isinstance(r, Frame)]
    assert len(frames) >= 5
    assert {f.pixels.shape for f in frames} == {(128, 160, 3)}


def test_too_many_frames_and_too_long(decoder: Decoder) -> None:
    many = mediakit.encode(mediakit.panning(1, 16, 16) * 2100, codec="mpeg4")
    assert "2000 frames" in refused(decoder, many, MediaTooLarge)
    long = mediakit.encode(mediakit.panning(2, 16, 16), codec="mpeg4", pts=[0, 4_000_000])
    assert "limit is 3600" in refused(decoder, long, MediaTooLarge)


# -- the decoder process ---------------------------------------------------------------------


def test_each_item_has_a_child_of_its_own(process: ProcessDecoder, video: bytes) -> None:
    pids = []
    for _ in range(3):
        with process.open(io.BytesIO(video)) as media:
            list(media.frames([0]))
            pids.append(child_of(process).pid)
        refused(process, b"nonsense", UndecodableMedia)
    assert len(set(pids)) == 3
    until_ended(*pids)


def test_a_child_runs_the_code_of_its_parent_and_sees_no_other_of_its_modules(
    process: ProcessDecoder, video: bytes
) -> None:
    with process.open(io.BytesIO(video)):
        environment = Path(f"/proc/{child_of(process).pid}/environ")
        if not environment.exists():
            pytest.skip("needs /proc")
        variables = dict(v.split("=", 1) for v in environment.read_text().split("\0") if v)
    folder = Path(variables["PYTHONPATH"])
    assert folder == Path(deepfake_models.__file__).resolve().parents[1]
    assert not (folder / "errors.py").exists()
    command = "import deepfake_models.decode.worker as w; print(w.__file__)"
    found = subprocess.run(
        [sys.executable, "-P", "-s", "-c", command],
        env=variables, cwd="/", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(found.stdout.strip()) == folder / "deepfake_models" / "decode" / "worker.py"


def test_a_child_that_dies_costs_one_item(process: ProcessDecoder, video: bytes) -> None:
    with process.open(io.BytesIO(video)) as media:
        iterator = media.frames(range(50))
        next(iterator)
        os.kill(child_of(process).pid, signal.SIGKILL)
        with pytest.raises(DecoderFailed):
            list(iterator)
    with process.open(io.BytesIO(video)) as media:
        assert len(list(media.frames([0, 1]))) == 2


def test_a_child_that_dies_while_idle_is_replaced(process: ProcessDecoder, video: bytes) -> None:
    with process.open(io.BytesIO(video)):
        pass
    child = child_of(process)
    child.await_ready()
    os.kill(child.pid, signal.SIGKILL)
    until_ended(child.pid)
    with process.open(io.BytesIO(video)) as media:
        assert len(list(media.frames([0]))) == 1


def test_a_fork_server_that_dies_is_replaced(video: bytes) -> None:
    decoder = ProcessDecoder(LIMITS, workers=1)
    try:
        with decoder.open(io.BytesIO(video)):
            pid = child_of(decoder).pid
            (server,) = decoder._pool._servers
            server._process.kill()
            server._process.wait()
        until_ended(pid)  # its processes end with it
        for _ in range(2):
            with decoder.open(io.BytesIO(video)) as media:
                assert len(list(media.frames([0]))) == 1
    finally:
        decoder.close()


@pytest.mark.slow
def test_a_child_that_hangs_is_ended(video: bytes) -> None:
    decoder = ProcessDecoder(LIMITS.model_copy(update={"timeout_s": 1.0}), workers=1)
    try:
        with decoder.open(io.BytesIO(video)):
            pass
        started = time.monotonic()
        with decoder.open(io.BytesIO(video)) as media:
            os.kill(child_of(decoder).pid, signal.SIGSTOP)
            with pytest.raises(DecoderFailed):
                list(media.frames(range(50)))
        assert time.monotonic() - started < 60
        with decoder.open(io.BytesIO(video)) as media:
            assert len(list(media.frames([0]))) == 1
    finally:
        decoder.close()


@pytest.mark.slow
def test_time_spent_by_the_caller_does_not_count(video: bytes) -> None:
    decoder = ProcessDecoder(LIMITS.model_copy(update={"timeout_s": 1.0}), workers=1)
    try:
        with decoder.open(io.BytesIO(video)) as media:
            for number, _ in enumerate(media.frames([0, 10, 20])):
                time.sleep(0.6 if number < 2 else 0)
    finally:
        decoder.close()


def test_a_closed_decoder_opens_nothing(video: bytes) -> None:
    decoder = ProcessDecoder(LIMITS, workers=1)
    with decoder.open(io.BytesIO(video)):
        pid = child_of(decoder).pid
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
    data = mediakit.encode(noise(150, 256), gop=5, options={"crf": "8", "preset": "ultrafast"})
    assert len(data) > 10 * wire.MAX_READ_BYTES
    source = mediakit.CountingFile(data)
    with process.open(source) as media:
        list(media.frames([0]))
        once = source.bytes_read
        list(media.frames([149]))
    assert source.bytes_read - once < 6 * wire.MAX_READ_BYTES


def test_limits_of_the_child(process: ProcessDecoder, video: bytes) -> None:
    with process.open(io.BytesIO(video)):
        pid = child_of(process).pid
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
import io, sys, time
from tests.support import mediakit
from deepfake_models.decode.sandbox import ProcessDecoder
decoder = ProcessDecoder(workers=1)
data = mediakit.encode(mediakit.panning(10))
with decoder.open(io.BytesIO(data)) as media:
    next(media.frames([0, 1]))
    (child,) = decoder._pool._processes
    if sys.argv[1] == "open":
        print(child.pid, flush=True)
        time.sleep(60)
(child,) = decoder._pool._processes
child.await_ready()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("state", ["open", "idle", "stuck"])
def test_the_child_ends_with_its_parent(state: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), "open" if state == "stuck" else state],
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
        with suppress(ProcessLookupError):  # it was killed as it was
            os.kill(pid, signal.SIGCONT)
    until_ended(pid)


def until_ended(*pids: int) -> None:
    deadline = time.monotonic() + 60
    while any(running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends while it is read
        return False


def test_a_decoder_that_is_garbage_collected_ends_its_children(video: bytes) -> None:
    decoder = ProcessDecoder(LIMITS, workers=1)
    with decoder.open(io.BytesIO(video)):
        pid = child_of(decoder).pid
    del decoder
    assert not running(pid)


def test_workers_must_be_positive() -> None:
    with pytest.raises(ValueError, match="workers"):
        ProcessDecoder(workers=0)


# -- a child that has been taken over --------------------------------------------------------

OPENED = {
    "op": "opened",
    "frames": 2,
    "facts": {
        "kind": "video", "width": 4, "height": 2, "duration_s": 1.0, "frames": 2, "rotation": 0
    },
}  # fmt: skip
TIMES = struct.pack("<2d", 0.0, 0.5)
FRAME = {"op": "frame", "index": 0, "height": 2, "width": 4}


class Impostor:
    """A stand-in for a child that sends a fixed script, whatever it is asked."""

    def __init__(self, script: list[Any]) -> None:
        import socket
        from multiprocessing.connection import Connection

        ours, theirs = socket.socketpair()
        self.connection = Connection(ours.detach())
        self.theirs = Connection(theirs.detach())
        for item in script:
            if isinstance(item, dict):
                self.theirs.send_bytes(wire.JSON + json.dumps(item).encode())
            elif isinstance(item, bytes):
                self.theirs.send_bytes(item)
            else:
                item(self.theirs)
        self.broken = False
        self._lock = threading.Lock()

    exchange = processes.ConfinedProcess.exchange

    def kill(self) -> None:
        with self._lock:  # two threads may kill a process at once
            self.broken = True
            self.theirs.close()


def converse(script: list[Any], limits: DecodeLimits = LIMITS) -> tuple[Impostor, Any]:
    child = Impostor(script)
    source = GuardedSource(io.BytesIO(b"0123456789"))
    media = sandbox._RemoteMedia(child, source, limits)  # type: ignore[arg-type]
    return child, list(media.frames([0]))


def test_valid_answers_of_the_impostor_are_accepted() -> None:
    _, frames = converse([OPENED, b"D", TIMES, FRAME, b"D", bytes(range(24))])
    assert frames[0].pixels[1, 3].tolist() == [21, 22, 23]


def facts(**changes: Any) -> dict[str, Any]:
    return {**OPENED, "facts": {**OPENED["facts"], **changes}}  # type: ignore[dict-item]


def raw_length(length: int) -> Callable[[Any], None]:
    def send(connection: Any) -> None:
        os.write(connection.fileno(), struct.pack("!i", -1) + struct.pack("!Q", length))

    return send


GOOD = [OPENED, b"D", TIMES]
LIES: dict[str, list[Any]] = {
    "no json": [b"J{"],
    "deep json": [b"J" + b"[" * 10_000],
    "no object": [b"J[]"],
    "unknown op": [{"op": "hello"}],
    "pickle": [b"\x80\x04N."],
    "endless header": [b"J" + b" " * 100_000],
    "length of 2^62": [raw_length(1 << 62)],
    "kind": [facts(kind="program"), b"D", TIMES],
    "width as text": [facts(width="4"), b"D", TIMES],
    "width as truth": [facts(width=True), b"D", TIMES],
    "no area": [facts(width=0), b"D", TIMES],
    "area over the limit": [facts(width=2000, height=2000), b"D", TIMES],
    "rotation": [facts(rotation=45), b"D", TIMES],
    "infinite duration": [b'J{"op":"opened","frames":2,"facts":{"kind":"video","width":4,'
                          b'"height":2,"duration_s":Infinity,"rotation":0}}', b"D", TIMES],
    "huge integer": [facts(duration_s=10**400), b"D", TIMES],
    "more frames than allowed": [{**OPENED, "frames": 1 << 40}],
    "image with two frames": [facts(kind="image"), b"D", TIMES],
    "times too short": [OPENED, b"D", TIMES[:8]],
    "times too long": [OPENED, b"D", TIMES * 2],
    "times fall": [OPENED, b"D", struct.pack("<2d", 0.0, -1.0)],
    "times not from zero": [OPENED, b"D", struct.pack("<2d", 1.0, 2.0)],
    "times not numbers": [OPENED, b"D", struct.pack("<2d", 0.0, float("nan"))],
    "times as text": [OPENED, b"J" + TIMES],
    "another index": [*GOOD, {**FRAME, "index": 1}, b"D", bytes(24)],
    "another size": [*GOOD, {**FRAME, "height": 3}, b"D", bytes(36)],
    "too few pixels": [*GOOD, FRAME, b"D", bytes(23)],
    "too many pixels": [*GOOD, FRAME, b"D", bytes(25)],
    "pixels without their mark": [*GOOD, FRAME, bytes(24)],
    "pixels of 2^62 bytes": [*GOOD, FRAME, b"D", raw_length(1 << 62)],
    "pixels of fewer than no bytes": [
        *GOOD, FRAME, b"D", lambda c: os.write(c.fileno(), struct.pack("!i", -24) + bytes(24)),
    ],
    "failed, of another index": [*GOOD, {"op": "failed", "index": 1, "detail": ""}],
    "failed without detail": [*GOOD, {"op": "failed", "index": 0}],
    "read before the start": [{"op": "read", "offset": -1, "length": 1}],
    "read of everything": [{"op": "read", "offset": 0, "length": 1 << 40}],
    "read beyond the end": [{"op": "read", "offset": 11, "length": 1}],
    "a request": [{"op": "next"}],
    "a field too many": [{**OPENED, "more": 1}, b"D" + TIMES],
    "an answer to another question": [{"op": "closed"}],
    "video without a duration": [facts(duration_s=None), b"D" + TIMES],
    "foreign error": [{"op": "error", "class": "SystemExit", "message": "x"}],
    "error of no class": [{"op": "error", "class": ["UndecodableMedia"], "message": "x"}],
}  # fmt: skip


@pytest.mark.parametrize("script", LIES.values(), ids=LIES.keys())
def test_invalid_answers_fail_the_decoder(script: list[Any]) -> None:
    child = None
    with pytest.raises(DecoderFailed):
        child, _ = converse(script)
    assert child is None


def test_a_video_that_is_reported_for_a_still_fails_the_decoder() -> None:
    child = Impostor(GOOD)
    source = GuardedSource(io.BytesIO(b"0123456789"))
    with pytest.raises(DecoderFailed):
        sandbox._RemoteMedia(child, source, LIMITS, stills_only=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, 0, 1, "true"])
def test_a_boolean_of_a_request_must_be_one(value: Any) -> None:
    with pytest.raises(ValidationError):
        wire.Open(size=1, limits=LIMITS, stills_only=value)


def test_an_answer_of_each_kind_is_read_as_it_was_sent() -> None:
    facts = wire.Facts.model_validate(OPENED["facts"])
    messages: list[Any] = [
        wire.Confined(pid=7, missing=(Layer.LANDLOCK,)),
        wire.Read(offset=3, length=4),
        wire.Opened(facts=facts, frames=2),
        wire.FrameHeader(index=0, height=2, width=4),
        wire.Failed(index=1, detail="damaged"),
        wire.Error(name="UndecodableMedia", message="damaged"),
        wire.Closed(),
    ]
    child = Impostor([])
    for message in messages:
        wire.send(child.theirs, message)
        assert wire.receive_answer(child.connection) == message
    wire.send(child.theirs, wire.Next())
    with pytest.raises(wire.WireError):
        wire.receive_answer(child.connection)


def test_a_text_from_the_child_is_truncated_and_made_printable() -> None:
    message = "\x1b[31m" + "x" * 1000
    with pytest.raises(UndecodableMedia) as caught:
        converse([{"op": "error", "class": "UndecodableMedia", "message": message}])
    assert len(caught.value.message) == wire.MAX_TEXT
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "script",
    [
        [*GOOD, lambda c: os.write(c.fileno(), struct.pack("!i", 50) + b"J{")],
        [*GOOD, FRAME, b"D", lambda c: os.write(c.fileno(), struct.pack("!i", 24) + bytes(10))],
        [*GOOD, FRAME, b"D", lambda c: os.write(c.fileno(), b"\0")],
    ],
    ids=["message", "pixels", "length of the pixels"],
)
def test_a_child_that_stalls_within_a_message_is_ended(script: list[Any]) -> None:
    started = time.monotonic()
    with pytest.raises(DecoderFailed):
        converse(script, LIMITS.model_copy(update={"timeout_s": 0.5}))
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("length", [0, 24, 1 << 14, (1 << 14) + 1, 1 << 22])
def test_data_are_received_into_memory_of_their_length(length: int) -> None:
    child = Impostor([])
    data = np.random.default_rng(0).bytes(length)
    sender = threading.Thread(target=wire.send_data, args=(child.theirs, data))
    sender.start()
    buffer = bytearray(length)
    wire.receive_data_into(child.connection, memoryview(buffer))
    sender.join()
    assert buffer == data
    wire.send(child.theirs, wire.Closed())
    assert wire.receive_answer(child.connection) == wire.Closed()


def test_remote_file_reads_like_a_file() -> None:
    import socket
    from multiprocessing.connection import Connection

    data = np.random.default_rng(0).bytes(3 * wire.MAX_READ_BYTES + 17)
    ours, theirs = socket.socketpair()
    parent, child = Connection(ours.detach()), Connection(theirs.detach())
    requests: list[wire.Read] = []

    def answer() -> None:
        while True:
            try:
                request = wire.receive_answer(parent)
            except EOFError:
                return
            assert isinstance(request, wire.Read)
            requests.append(request)
            wire.send_data(parent, data[request.offset :][: request.length])

    thread = threading.Thread(target=answer)
    thread.start()
    remote, local = RemoteFile(child, len(data)), io.BytesIO(data)
    draw = np.random.default_rng(5)
    for _ in range(60):
        offset, size = int(draw.integers(0, len(data) + 100)), int(draw.integers(0, 1 << 21))
        assert remote.seek(offset) == local.seek(offset)
        assert remote.read(size) == local.read(size)
        assert remote.tell() == offset + len(data[offset : offset + size])
    assert remote.seek(-5, os.SEEK_END) == len(data) - 5
    assert remote.read() == data[-5:]
    with pytest.raises(OSError, match="before the start"):
        remote.seek(-1)
    assert len(requests) == 4  # each block once
    child.close()
    thread.join()
    parent.close()


def test_pictures_decode_without_pillows_global_limit() -> None:
    assert Image.MAX_IMAGE_PIXELS is None
