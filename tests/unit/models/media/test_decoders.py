"""The contract of both decoders."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from deepfake_models.errors import NoVisualStream, UndecodableMedia, UnreadableMedia
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import Frame
from deepfake_models.sandbox import protocol as wire
from deepfake_models.sandbox.decoder import Decoder, ProcessDecoder
from tests.support import footage
from tests.support.footage import LIMITS, noise, refused


class BrokenFile(io.BytesIO):
    """A file whose reads fail after ``after`` bytes."""

    def __init__(self, data: bytes, after: int, error: Exception | None = None) -> None:
        super().__init__(data)
        self._left = after
        self._error = error or OSError("the disk is gone")

    def read(self, size: int | None = -1, /) -> bytes:
        if self._left <= 0:
            raise self._error
        data = super().read(size)
        self._left -= len(data)
        return data


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
    picture = footage.picture(footage.grace_hopper(), "JPEG")
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


def test_the_receiver_may_change_frames_of_animations(decoder: Decoder) -> None:
    drawn = [np.full((32, 32, 3), level, np.uint8) for level in (0, 128, 255)]
    data = footage.animation(drawn, "GIF", [100] * 3)
    with decoder.open(io.BytesIO(data)) as media:
        for frame in media.frames([0, 1, 2]):
            assert isinstance(frame, Frame)
            frame.pixels[:] = 7


def test_picture(decoder: Decoder) -> None:
    with decoder.open(io.BytesIO(footage.picture(footage.astronaut(), "PNG"))) as media:
        assert media.facts.kind == "image"
        assert media.times.tolist() == [0.0]
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.pixels, footage.astronaut())


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
        decoder.open(BrokenFile(video, after=0)),
    ):
        pass


@pytest.mark.parametrize("kind", ["video", "picture"])
def test_the_source_fails_on_the_way(decoder: Decoder, kind: str) -> None:
    if kind == "video":
        data = footage.encode(noise(60, 256), gop=5, options={"crf": "5"})
        assert len(data) > 3 * wire.MAX_READ_BYTES
    else:
        data = footage.picture(noise(1, 900)[0], "PNG")
    source = BrokenFile(data, after=200_000)
    with pytest.raises(UnreadableMedia), decoder.open(source) as media:
        list(media.frames(range(len(media.times))))
    with decoder.open(io.BytesIO(data)) as media:
        assert len(list(media.frames([0]))) == 1


def test_other_errors_of_the_source_are_passed_on(decoder: Decoder, video: bytes) -> None:
    class Tampered(Exception):
        pass

    source = BrokenFile(video, after=0, error=Tampered("block 7"))
    with pytest.raises(Tampered, match="block 7"), decoder.open(source):
        pass


def test_short_reads(decoder: Decoder, video: bytes) -> None:
    class Dribble(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size, 777) if size and size > 0 else size)

    with decoder.open(Dribble(video)) as media:
        assert isinstance(next(media.frames([49])), Frame)


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
    refused(decoder, footage.sound_only(container), NoVisualStream)


def test_cover_art_does_not_count_as_video(decoder: Decoder) -> None:
    refused(decoder, footage.sound_only("mp3", cover=footage.astronaut()), NoVisualStream)


def test_one_pixel(decoder: Decoder) -> None:
    data = footage.picture(np.zeros((1, 1, 3), np.uint8), "PNG")
    with decoder.open(io.BytesIO(data)) as media:
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)
        assert frame.pixels.shape == (1, 1, 3)
