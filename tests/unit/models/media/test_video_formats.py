"""Video of each codec and container: the right frames at the right times, without decoding all."""

from __future__ import annotations

import io
import random
import struct
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from deepfake_models.bundle.results import Unexamined
from deepfake_models.bundle.spec import SamplingSpec
from deepfake_models.media.interface import FailedFrame, Frame
from deepfake_models.media.packet_index import h264_disposable
from deepfake_models.media.sampling import longest_gap, sample
from deepfake_models.media.stream import StreamReader
from tests.support import footage
from tests.support.footage import VIDEOS, opened, panning_once, reference


@pytest.fixture(scope="module", params=VIDEOS.values(), ids=VIDEOS.keys())
def video(request: pytest.FixtureRequest) -> bytes:
    return footage.encode(panning_once(60), gop=12, **request.param)


def test_times_are_those_of_a_full_decode(video: bytes) -> None:
    frames = list(footage.decode_all(video))
    with opened(video) as media:
        assert media.facts.frames == len(media.times) == len(frames)
        if frames[0].pts is not None:
            expected = [float((f.pts - frames[0].pts) * f.time_base) for f in frames]
            np.testing.assert_allclose(media.times, expected, atol=1e-9)
        assert media.times[0] == 0
        assert media.facts.duration_s == pytest.approx(
            media.times[-1] + np.median(np.diff(media.times)), abs=0.1
        )


def test_any_frames_in_any_calls_equal_those_of_a_full_decode(video: bytes) -> None:
    frames = reference(video)
    draw = random.Random(1)
    calls = [[0], [59], [30], [7, 8, 9], [0, 20, 40, 59], list(range(60))]
    calls += [sorted(draw.sample(range(60), 5)) for _ in range(8)]
    with opened(video) as media:
        for indices in calls:
            results = list(media.frames(indices))
            assert [r.index for r in results] == indices
            for result in results:
                assert isinstance(result, Frame)
                assert result.time_s == media.times[result.index]
                np.testing.assert_array_equal(result.pixels, frames[result.index])


def test_variable_rate_times() -> None:
    stamps = VIDEOS["variable rate"]["pts"]
    data = footage.encode(panning_once(60), gop=12, **VIDEOS["variable rate"])
    with opened(data) as media:
        np.testing.assert_allclose(media.times, np.array(stamps) / 1000, atol=1e-4)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list with the number of frames that each decoded packet gave."""
    counts: list[int] = []
    original = StreamReader.decode

    def counting(self: StreamReader, packet: Any) -> list[Any]:
        frames = original(self, packet)
        counts.append(len(frames))
        return frames

    monkeypatch.setattr(StreamReader, "decode", counting)
    return counts


@pytest.mark.parametrize("name", ["h264 open", "hevc open", "vp9 hidden", "av1", "mpeg4"])
def test_seeking_saves_decoding(name: str, decoded: list[int]) -> None:
    data = footage.encode(panning_once(240), gop=12, **VIDEOS[name])
    with opened(data) as media:
        list(media.frames([0, 80, 160, 239]))
    assert sum(decoded) < 240 / 4


def test_neighbours_are_decoded_without_seeking_back(decoded: list[int]) -> None:
    data = footage.encode(panning_once(60), gop=60, **{"options": {"bf": "0"}})
    with opened(data) as media:
        list(media.frames([10, 20, 30, 40, 50]))
    assert sum(decoded) <= 55


def test_disposable_frames_are_not_decoded(decoded: list[int]) -> None:
    params = "bframes=3:b-pyramid=0:b-adapt=0:keyint=60:scenecut=0"
    data = footage.encode(panning_once(60), gop=60, options={"x264-params": params})
    with opened(data) as media:
        list(media.frames([59]))
    assert sum(decoded) < 60 / 2


def test_disposable_in_both_packagings() -> None:
    reference_slice, other_slice = b"\x65abc", b"\x01abc"
    assert not h264_disposable(b"\0\0\0\x04" + reference_slice, 4)
    assert h264_disposable(b"\0\x02\x06x\0\x04" + other_slice, 2)
    assert h264_disposable(b"\0\0\0\x01\x09\x10\0\0\x01" + other_slice, 0)
    assert not h264_disposable(b"\0\0\x01" + reference_slice, 0)
    for junk in (b"", b"\0\0\0", b"\xff" * 9, b"\0" * 64):
        assert not h264_disposable(junk, 0)
        assert not h264_disposable(junk, 4)


def test_a_wrong_index_is_detected() -> None:
    """Without an ``stss`` box every sample counts as a keyframe, and a seek may find any."""
    data = footage.encode(panning_once(60), gop=60, options={"x264-params": "bframes=3"})
    lying = data.replace(b"stss", b"free")
    assert lying != data
    frames = reference(data)
    with opened(lying) as media:
        for indices in ([40], [13, 50], list(range(60))):
            for result in media.frames(indices):
                assert isinstance(result, Frame)
                np.testing.assert_array_equal(result.pixels, frames[result.index])


def test_an_edit_list_hides_frames() -> None:
    """Frames before the start of an edit are decoded for reference and never displayed."""
    data = footage.encode(
        panning_once(40),
        options={"x264-params": "bframes=0:keyint=40"},
        pts=[40 * k for k in range(40)],
    )
    at = data.index(b"elst") + 4
    entries = int.from_bytes(data[at + 4 : at + 8], "big")
    assert entries == 1
    media_time = int.from_bytes(data[at + 12 : at + 16], "big")
    scale = int.from_bytes(data[data.index(b"mdhd") + 16 : data.index(b"mdhd") + 20], "big")
    moved = media_time + 10 * scale * 40 // 1000
    cut = data[: at + 12] + moved.to_bytes(4, "big") + data[at + 16 :]
    frames = reference(cut)
    assert len(frames) == 30
    with opened(cut) as media:
        assert len(media.times) == 30
        for indices in ([0], [5, 29], list(range(30))):
            for result in media.frames(indices):
                assert isinstance(result, Frame)
                np.testing.assert_array_equal(result.pixels, frames[result.index])


def test_indices_are_checked() -> None:
    with opened(footage.encode(footage.panning(5))) as media:
        for wrong in ([1, 0], [2, 2], [-1], [5]):
            with pytest.raises(ValueError, match="indices"):
                media.frames(wrong)
        assert list(media.frames([])) == []


def test_a_later_iteration_ends_the_one_before() -> None:
    with opened(footage.encode(panning_once(20))) as media:
        first = media.frames([0, 5, 10])
        next(first)
        assert [r.index for r in media.frames([2, 3])] == [2, 3]
        with pytest.raises(ValueError, match="another iteration"):
            next(first)
        last = media.frames([1, 2])
        next(last)
    with pytest.raises(ValueError, match="closed"):
        next(last)


def test_cover_art_beside_a_video_is_ignored() -> None:
    frames = footage.panning(10)
    data = footage.encode(frames, sound=True)
    with opened(data) as media:
        assert len(media.times) == 10


@pytest.mark.parametrize("container", ["mp4", "mov", "matroska"])
@pytest.mark.parametrize(("default", "shown"), [(0, 60), (1, 200), (None, 60)])
def test_of_several_tracks_the_one_that_players_show_is_examined(
    container: str, default: int | None, shown: int
) -> None:
    with opened(_two_tracks(container, (60, 200), default)) as media:
        (frame,) = media.frames([2])
        assert isinstance(frame, Frame)
        assert abs(int(frame.pixels.mean()) - shown) < 10
        assert media.facts.unexamined == (Unexamined.FURTHER_STREAM,)


@pytest.mark.parametrize("picture_format", ["HEIF", "AVIF"])
def test_a_picture_item_beside_the_film_does_not_hide_it(picture_format: str) -> None:
    film = footage.encode(footage.panning(5))
    item = footage.picture(footage.panning(1, 64, 64)[0], picture_format)
    old, length = (int.from_bytes(data[:4], "big") for data in (film, item))
    brands = (length - 16) // 4 * b"isom"
    start = struct.pack(">I", length) + b"ftypisom" + bytes(4) + brands
    both = start + item[length:] + _moved(film, len(item) - old)[old:]
    with opened(both) as media:
        assert media.facts.unexamined == (Unexamined.FURTHER_STREAM,)


def _moved(film: bytes, shift: int) -> bytes:
    """Return an MP4 whose chunks are at offsets that are higher by ``shift``."""
    data, at = bytearray(film), film.index(b"stco") + 8
    (count,) = struct.unpack_from(">I", data, at)
    for place in range(at + 4, at + 4 + 4 * count, 4):
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + shift)
    return bytes(data)


@pytest.mark.parametrize(
    ("disposition", "count", "found"),
    [
        (Disposition.attached_pic, 1, ()),
        (Disposition(0), 1, ()),
        (Disposition(0), 2, (Unexamined.FURTHER_STREAM,)),
    ],
)
def test_cover_art_and_thumbnails_are_nothing_that_was_left_out(
    disposition: Disposition, count: int, found: tuple[Unexamined, ...]
) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        film = output.add_stream("libx264", rate=25)
        cover = output.add_stream("mjpeg", rate=25)
        cover.pix_fmt = "yuvj420p"
        film.disposition, cover.disposition = Disposition.default, disposition
        film.width = film.height = cover.width = cover.height = 64
        for stream, frames in ((film, 10), (cover, count)):
            for pixels in footage.panning(frames, 64, 64):
                output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            output.mux(stream.encode(None))
    assert len(av.open(io.BytesIO(file.getvalue())).streams.video) == 2
    with opened(file.getvalue()) as media:
        assert (len(media.times), media.facts.unexamined) == (10, found)


def _recording(start_ms: int, count: int, grey: int) -> bytes:
    """Return a transport stream of ``count`` frames at 25 a second."""
    frames = [np.full((64, 64, 3), grey, np.uint8)] * count
    return footage.encode(
        frames,
        container="mpegts",
        pts=[start_ms + 40 * k for k in range(count)],
        options={"bf": "0"},
        container_options={"mpegts_copyts": "1"},
    )


@pytest.mark.parametrize(("first_ms", "second_ms"), [(59_000, 0), (0, 2020)])
def test_recordings_that_were_joined_are_examined_to_the_end(first_ms: int, second_ms: int) -> None:
    """The timestamps fall back at the seam, below all earlier ones or between two of them."""
    joined = _recording(first_ms, 100, 60) + _recording(second_ms, 600, 200)
    with opened(joined) as media:
        assert (np.diff(media.times) > 0).all()
        assert media.times[-1] == pytest.approx(699 * 0.04, abs=0.1)
        indices = sample(media.times, SamplingSpec())
        examined = [f for f in media.frames(indices) if isinstance(f, Frame)]
        light = [f.index for f in examined if f.pixels.mean() > 130]
        assert len(light) > 0.7 * len(indices)
        assert max(light) > 650
        assert longest_gap(media.times, [f.index for f in examined]) < 4


def _with_edit(frames: int, shown_s: int) -> bytes:
    """Return an MP4 at 25 frames a second of which an edit list shows the start."""
    data = bytearray(footage.encode([np.zeros((64, 64, 3), np.uint8)] * frames))
    struct.pack_into(">I", data, data.index(b"elst") + 12, 1000 * shown_s)
    return bytes(data)


def test_frames_that_an_edit_list_hides_are_reported() -> None:
    with opened(_with_edit(400, 2)) as media:
        assert media.facts.frames == 50
        assert media.facts.unexamined == (Unexamined.HIDDEN_FRAMES,)


def test_a_trimmed_video_hides_less_than_is_reported() -> None:
    with opened(_with_edit(100, 2)) as media:
        assert (media.facts.frames, media.facts.unexamined) == (50, ())


@pytest.mark.parametrize(
    ("codec", "container", "pix_fmt"),
    [("prores_ks", "mov", "yuva444p10le"), ("libvpx-vp9", "webm", "yuva420p")],
)
def test_a_video_that_may_be_transparent_is_reported(
    codec: str, container: str, pix_fmt: str
) -> None:
    frames = footage.panning(3)
    with opened(footage.encode(frames, codec=codec, container=container, pix_fmt=pix_fmt)) as media:
        assert media.facts.unexamined == (Unexamined.TRANSPARENCY,)


def test_frames_that_may_be_transparent_after_an_opaque_first_one_fail() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as output:
        stream = output.add_stream("png", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "rgb24"
        for number, pixels in enumerate(footage.panning(40, 64, 64)):
            alpha = np.full((64, 64, 1), 255, np.uint8)
            shown = np.dstack([pixels, alpha]) if number else pixels
            packet = av.Packet(footage.picture(shown, "PNG"))
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base, packet.is_keyframe = Fraction(1, 25), True
            output.mux(packet)
    with opened(file.getvalue()) as media:
        assert media.facts.unexamined == ()
        first, *others = media.frames([0, 10, 20])
        assert isinstance(first, Frame)
        assert all(isinstance(other, FailedFrame) for other in others)


def _changing(*sizes: tuple[int, int]) -> bytes:
    """Return a film of ten frames of each size."""
    file, number = io.BytesIO(), 0
    with av.open(file, "w", format="webm") as output:
        stream = output.add_stream("libvpx", rate=10)
        (stream.width, stream.height), stream.pix_fmt = sizes[0], "yuv420p"
        for size in sizes:
            encoder = av.CodecContext.create("libvpx", "w")
            (encoder.width, encoder.height), encoder.pix_fmt = size, "yuv420p"
            encoder.time_base, encoder.thread_count = Fraction(1, 10), 1
            encoder.options = {"lag-in-frames": "0"}
            for pixels in footage.panning(10, *size):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base, number = number, encoder.time_base, number + 1
                for packet in encoder.encode(frame):
                    packet.stream = stream
                    output.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize("size", [(320, 240), (80, 60), (120, 160)])
def test_a_first_frame_of_another_size_does_not_decide_what_is_seen_of_the_others(
    size: tuple[int, int],
) -> None:
    with opened(_changing((160, 120), size)) as media:
        assert (media.facts.width, media.facts.height, len(media.times)) == (160, 120, 20)
        results = list(media.frames(range(20)))
    assert [isinstance(r, Frame) for r in results] == [True] * 10 + [False] * 10


def _two_tracks(container: str, grey: tuple[int, int], default: int | None) -> bytes:
    """Return two video tracks of the given grey values, of which one is marked as default."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        streams = []
        for number in range(2):
            stream = output.add_stream("libx264", rate=10)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            stream.disposition = Disposition.default if number == default else Disposition(0)
            streams.append(stream)
        for stream, value in zip(streams, grey, strict=True):
            for number in range(5):
                pixels = np.full((64, 64, 3), value, np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts = number
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    return file.getvalue()
