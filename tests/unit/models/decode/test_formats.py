"""Formats of pictures and video: the right frames with the right colours and orientation."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np
import pillow_heif
import pytest
from av.stream import Disposition
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from deepfake_models.decode import color
from deepfake_models.decode.base import FailedFrame, Frame, OpenMedia, Orientation
from deepfake_models.decode.decoder import InProcessDecoder
from deepfake_models.decode.packet_index import h264_disposable
from deepfake_models.decode.stream import StreamReader
from deepfake_models.errors import MediaError, UndecodableMedia
from tests.support import mediakit


@cache
def panning(count: int) -> list[mediakit.Pixels]:
    """Return the frames of ``mediakit.panning``, which cost more than most encoders take."""
    frames = mediakit.panning(count)
    for frame in frames:
        frame.flags.writeable = False
    return frames


@contextmanager
def opened(data: bytes) -> Iterator[OpenMedia]:
    with InProcessDecoder().open(io.BytesIO(data)) as media:
        yield media


def only(data: bytes) -> np.ndarray:
    with opened(data) as media:
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)
        return frame.pixels


def reference(data: bytes) -> list[np.ndarray]:
    return [color.to_rgb(f, f.width, f.height) for f in mediakit.decode_all(data)]


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


# -- exact frames ----------------------------------------------------------------------------

X264 = "bframes=3:keyint=12:scenecut=0"
X265 = "bframes=3:keyint=12:log-level=none"
VIDEOS: dict[str, dict[str, Any]] = {
    "h264 closed": {"options": {"x264-params": X264}},
    "h264 open": {"options": {"x264-params": X264 + ":open-gop=1"}},
    "h264 open mkv": {"container": "matroska", "options": {"x264-params": X264 + ":open-gop=1"}},
    "h264 open ts": {"container": "mpegts", "options": {"x264-params": X264 + ":open-gop=1"}},
    "h264 flv": {"container": "flv", "options": {"x264-params": X264}},
    "h264 fragmented": {
        "options": {"x264-params": X264},
        "container_options": {"movflags": "frag_keyframe+empty_moov"},
    },
    "h264 refresh": {
        "container": "matroska",
        "options": {"x264-params": "bframes=0:intra-refresh=1:keyint=12"},
    },
    "h264 raw": {"container": "h264", "options": {"x264-params": X264}},
    "hevc closed": {"codec": "libx265", "options": {"x265-params": X265 + ":open-gop=0"}},
    "hevc open": {"codec": "libx265", "options": {"x265-params": X265 + ":open-gop=1"}},
    "hevc layers": {
        "codec": "libx265",
        "options": {"x265-params": X265 + ":temporal-layers=3:b-adapt=0"},
    },
    "vp8 hidden": {
        "codec": "libvpx",
        "container": "webm",
        "options": {"lag-in-frames": "16", "auto-alt-ref": "1"},
    },
    "vp9 hidden": {
        "codec": "libvpx-vp9",
        "container": "webm",
        "options": {"lag-in-frames": "16", "auto-alt-ref": "1", "cpu-used": "8"},
    },
    "av1": {"codec": "libsvtav1", "options": {"preset": "10", "svtav1-params": "lp=1"}},
    "mpeg4": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg4 avi": {"codec": "mpeg4", "container": "avi", "options": {"bf": "2"}},
    "mpeg2 ps": {"codec": "mpeg2video", "container": "mpeg", "options": {"bf": "2"}},
    "mjpeg avi": {"codec": "mjpeg", "container": "avi", "pix_fmt": "yuvj420p"},
    "variable rate": {
        "options": {"x264-params": X264},
        "pts": np.cumsum([0, *([17, 40, 80, 5] * 15)])[:60].tolist(),
    },
}


@pytest.fixture(scope="module", params=VIDEOS.values(), ids=VIDEOS.keys())
def video(request: pytest.FixtureRequest) -> bytes:
    return mediakit.encode(panning(60), gop=12, **request.param)


def test_times_are_those_of_a_full_decode(video: bytes) -> None:
    frames = list(mediakit.decode_all(video))
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
    data = mediakit.encode(panning(60), gop=12, **VIDEOS["variable rate"])
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
    data = mediakit.encode(panning(240), gop=12, **VIDEOS[name])
    with opened(data) as media:
        list(media.frames([0, 80, 160, 239]))
    assert sum(decoded) < 240 / 4


def test_neighbours_are_decoded_without_seeking_back(decoded: list[int]) -> None:
    data = mediakit.encode(panning(60), gop=60, **{"options": {"bf": "0"}})
    with opened(data) as media:
        list(media.frames([10, 20, 30, 40, 50]))
    assert sum(decoded) <= 55


def test_disposable_frames_are_not_decoded(decoded: list[int]) -> None:
    params = "bframes=3:b-pyramid=0:b-adapt=0:keyint=60:scenecut=0"
    data = mediakit.encode(panning(60), gop=60, options={"x264-params": params})
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
    data = mediakit.encode(panning(60), gop=60, options={"x264-params": "bframes=3"})
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
    data = mediakit.encode(
        panning(40),
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


# -- damage ----------------------------------------------------------------------------------


def packets(data: bytes) -> list[Any]:
    with av.open(io.BytesIO(data)) as container:
        return [p for p in container.demux(video=0) if p.size]


def blanked(data: bytes, packet: Any) -> bytes:
    """Return ``data`` with one packet overwritten except for its first bytes."""
    start, end = packet.pos + 6, packet.pos + packet.size
    return data[:start] + bytes(end - start) + data[end:]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_damage_fails_exactly_the_frames_that_depend_on_it(codec: str) -> None:
    options = {"x265-params": X265 + ":open-gop=0"} if codec == "libx265" else {"bf": "0"}
    data = mediakit.encode(panning(60), codec=codec, gop=12, options=options)
    victim = next(p for p in packets(data)[24:] if p.is_keyframe)
    first = round(float(victim.pts * victim.time_base) * 25)
    frames = reference(data)
    with opened(blanked(data, victim)) as media:
        assert len(media.times) == 60
        for indices in (list(range(60)), [0, first + 3, 59]):
            results = list(media.frames(indices))
            failed = {r.index for r in results if isinstance(r, FailedFrame)}
            assert failed == set(indices) & set(range(first, first + 12))
            for result in results:
                if isinstance(result, Frame):
                    np.testing.assert_array_equal(result.pixels, frames[result.index])


@pytest.mark.parametrize("wanted", [[30], [29, 30, 31]])
def test_damage_to_a_reference_is_not_hidden_by_skipping(wanted: list[int]) -> None:
    data = mediakit.encode(panning(60), gop=60, options={"x264-params": "bframes=3"})
    reference_frame = max(
        (p for p in packets(data) if p.pts < 30 * 512 and not h264_disposable(bytes(p), 4)),
        key=lambda p: p.pts,
    )
    with opened(blanked(data, reference_frame)) as media:
        assert all(isinstance(r, FailedFrame) for r in media.frames(wanted))


def test_truncated_with_the_index_first() -> None:
    data = mediakit.encode(panning(60), gop=12, container_options={"movflags": "faststart"})
    frames = reference(data)
    with opened(data[: len(data) * 2 // 3]) as media:
        assert len(media.times) == 60
        assert media.facts.duration_s == pytest.approx(2.4, abs=0.1)
        assert (np.diff(media.times) > 0).all()
        results = list(media.frames(range(60)))
    alive = [r for r in results if isinstance(r, Frame)]
    assert 25 <= len(alive) <= 50
    assert [r.index for r in alive] == list(range(len(alive)))
    for result in alive:
        np.testing.assert_array_equal(result.pixels, frames[result.index])


def test_truncated_with_the_index_lost() -> None:
    data = mediakit.encode(panning(30))
    with pytest.raises(UndecodableMedia), opened(data[: len(data) * 2 // 3]):
        pass


@pytest.mark.parametrize("name", ["h264 open", "h264 open ts", "hevc open", "vp9 hidden", "mpeg4"])
def test_random_damage_gives_frames_or_domain_errors(name: str) -> None:
    data = mediakit.encode(panning(30), gop=6, **VIDEOS[name])
    draw = random.Random(7)
    for _ in range(25):
        broken = bytearray(data)
        for _ in range(draw.choice([1, 4, 16])):
            at = draw.randrange(len(broken))
            broken[at : at + 8] = draw.randbytes(min(8, len(broken) - at))
        try:
            with opened(bytes(broken)) as media:
                step = max(1, len(media.times) // 8)
                indices = list(range(0, len(media.times), step))
                results = list(media.frames(indices))
        except MediaError:
            continue
        assert [r.index for r in results] == indices


# -- shape and colour ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("orientation", "rotation", "mirrored"),
    [
        (Orientation(1, 0, 0, 1), 0, False),
        (Orientation(0, 1, -1, 0), 90, False),
        (Orientation(-1, 0, 0, -1), 180, False),
        (Orientation(0, -1, 1, 0), 270, False),
        (Orientation(-1, 0, 0, 1), 0, True),
        (Orientation(0, 1, 1, 0), 270, True),
    ],
)
def test_display_matrix(orientation: Orientation, rotation: int, mirrored: bool) -> None:
    upright = mediakit.panning(3, 96, 64)
    data = mediakit.encode(upright)
    o = orientation
    turned = mediakit.with_display_matrix(data, (o.a, o.b, o.c, o.d))
    image = Image.fromarray(reference(data)[1])
    if mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    expected = np.asarray(image.rotate(-rotation, expand=True))
    with opened(turned) as media:
        assert media.facts.rotation == rotation
        (frame,) = media.frames([1])
        assert isinstance(frame, Frame)
        assert frame.pixels.shape == (media.facts.height, media.facts.width, 3)
        np.testing.assert_array_equal(frame.pixels, expected)


@pytest.mark.parametrize("tag", range(1, 9))
def test_exif_orientation(tag: int) -> None:
    pixels = mediakit.panning(1, 48, 32)[0]
    exif = Image.Exif()
    exif[0x0112] = tag
    data = mediakit.picture(pixels, "PNG", exif=exif)
    from PIL import ImageOps

    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(only(data), expected)
    with opened(data) as media:
        assert media.facts.rotation == {3: 180, 4: 180, 5: 270, 6: 90, 7: 90, 8: 270}.get(tag, 0)
        assert (media.facts.height, media.facts.width) == expected.shape[:2]


@pytest.mark.parametrize("matrix", [(0, 0, 0, 0), (1, 1, 1, 1)])
def test_a_degenerate_matrix_is_upright(matrix: tuple[int, int, int, int]) -> None:
    assert Orientation.from_matrix(*matrix) == Orientation()


@pytest.mark.parametrize(
    ("aspect", "width"), [(Fraction(2), 192), (Fraction(1, 2), 48), (Fraction(100), 96)]
)
def test_pixel_aspect_is_applied_when_sane(aspect: Fraction, width: int) -> None:
    data = mediakit.encode(mediakit.panning(2, 96, 64), aspect=aspect)
    with opened(data) as media:
        assert (media.facts.width, media.facts.height) == (width, 64)
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)
        assert frame.pixels.shape == (64, width, 3)


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (1, 1, 1, 2), (6, 6, 6, 1), (9, 14, 9, 1)], ids=str)
def test_colour_follows_the_tags(tags: tuple[int, int, int, int]) -> None:
    """Colours are restored for every matrix and range that a video may state."""
    chart = np.zeros((64, 96, 3), np.uint8)
    for k, shade in enumerate([(220, 40, 40), (40, 200, 60), (50, 60, 210), (205, 160, 135)]):
        chart[:, 24 * k : 24 * k + 24] = shade
    data = mediakit.encode([chart] * 2, color=tags, options={"crf": "1"})
    pixels = only_video(data)
    assert difference(pixels[:, 4:-4], chart[:, 4:-4]) < 4


def only_video(data: bytes) -> np.ndarray:
    with opened(data) as media:
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)
        return frame.pixels


def test_an_untagged_high_definition_video_is_bt709() -> None:
    chart = np.full((720, 128, 3), (220, 40, 40), np.uint8)
    tagged = mediakit.encode([chart] * 2, color=(1, 1, 1, 1), options={"crf": "1"})
    frame = next(mediakit.decode_all(tagged))
    frame.colorspace = color.MATRIX_UNSPECIFIED
    assert difference(color.to_rgb(frame, 128, 720), chart) < 4


def pq(nits: float) -> float:
    """Return the inverse EOTF of SMPTE ST 2084."""
    y = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(scene: float) -> float:
    if scene <= 1 / 12:
        return float(np.sqrt(3 * scene))
    return float(0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073)


def mapped(signal: float, transfer: int) -> int:
    code = np.full((1, 1, 3), round(signal * 65535), np.uint16)
    return int(color.tone_map(code, transfer, wide=True)[0, 0, 1])


@pytest.mark.parametrize("reflectance", [0.05, 0.18, 0.35, 0.6])
def test_hdr_below_the_knee_shows_as_in_sdr(reflectance: float) -> None:
    """A surface lit to the reference white of BT.2408 is shown with its SDR code (BT.1886)."""
    expected = 255 * reflectance ** (1 / 2.4)
    assert mapped(pq(203 * reflectance), color.TRANSFER_PQ) == pytest.approx(expected, abs=2)
    # On the nominal HLG display, light is 1000 cd/m2 times scene light to the power of 1.2.
    scene = (203 * reflectance / 1000) ** (1 / 1.2)
    assert mapped(hlg(scene), color.TRANSFER_HLG) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize("transfer", [color.TRANSFER_PQ, color.TRANSFER_HLG])
def test_hdr_highlights_keep_their_order_and_stay_in_range(transfer: int) -> None:
    levels = [mapped(s, transfer) for s in np.linspace(0, 1, 40)]
    assert levels == sorted(levels)
    assert levels[0] == 0
    assert 250 <= levels[-1] <= 255


def test_an_hdr_video_has_natural_brightness() -> None:
    """A grey card lit to reference white in 10-bit HEVC with PQ does not show as raw PQ code."""
    code = round(pq(203 * 0.18) * 255)
    card = np.full((64, 64, 3), code, np.uint8)
    data = mediakit.encode(
        [card] * 2,
        codec="libx265",
        pix_fmt="yuv420p10le",
        color=(9, 16, 9, 1),
        options={"x265-params": "log-level=none", "crf": "4"},
    )
    assert only_video(data).mean() == pytest.approx(255 * 0.18 ** (1 / 2.4), abs=6)


# -- pictures --------------------------------------------------------------------------------


@pytest.mark.parametrize("picture_format", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG", "AVIF"])
def test_picture_formats(picture_format: str) -> None:
    pixels = mediakit.panning(1, 96, 64)[0]
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}, "AVIF": {"quality": 95}}
    data = mediakit.picture(pixels, picture_format, **options.get(picture_format, {}))
    lossless = picture_format in ("PNG", "BMP", "TIFF", "WEBP")
    assert difference(only(data), pixels) < (0.001 if lossless else 9)
    with opened(data) as media:
        assert media.facts.kind == "image"
        assert media.times.tolist() == [0.0]
        assert media.facts.duration_s is None


def test_heif() -> None:
    pixels = mediakit.panning(1, 96, 64)[0]
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(buffer, quality=95)
    assert difference(only(buffer.getvalue()), pixels) < 6


def test_transparency_is_shown_on_white() -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, :4] = (200, 30, 30, 255)
    pixels = only(mediakit.picture(Image.fromarray(rgba), "PNG"))
    assert pixels[0, 0].tolist() == [200, 30, 30]
    assert pixels[0, 7].tolist() == [255, 255, 255]


def test_palette_with_transparency() -> None:
    palette = Image.fromarray(mediakit.panning(1, 16, 16)[0]).quantize(4)
    data = mediakit.picture(palette, "PNG", transparency=bytes([0, 255, 128, 255]))
    assert only(data).shape == (16, 16, 3)


def test_sixteen_bit_grey() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, axis=0)
    for picture_format in ("PNG", "TIFF"):
        pixels = only(mediakit.picture(Image.fromarray(ramp), picture_format))
        np.testing.assert_array_equal(pixels[0, :, 0], ramp[0] >> 8)


def test_floating_point_grey() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(4, axis=0)
    pixels = only(mediakit.picture(Image.fromarray(ramp), "TIFF"))
    np.testing.assert_array_equal(pixels[0, :, 0], np.arange(256))


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "YCbCr"])
def test_other_modes(mode: str) -> None:
    pixels = mediakit.panning(1, 96, 64)[0]
    image = Image.fromarray(pixels).convert(mode)
    shown = only(mediakit.picture(image, "TIFF"))
    assert difference(shown, np.asarray(image.convert("RGB"))) < 2


def test_a_multi_page_tiff_is_its_first_page() -> None:
    pages = [Image.fromarray(p) for p in mediakit.panning(3, 32, 32)]
    data = mediakit.picture(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    with opened(data) as media:
        assert media.facts.kind == "image"
    np.testing.assert_array_equal(only(data), np.asarray(pages[0]))


def test_a_motion_photo_is_an_image() -> None:
    jpeg = mediakit.picture(mediakit.astronaut(), "JPEG")
    with opened(jpeg + mediakit.encode(mediakit.panning(5))) as media:
        assert media.facts.kind == "image"
        assert (media.facts.width, media.facts.height) == (512, 512)


def test_a_multi_picture_jpeg_is_an_image() -> None:
    views = [Image.fromarray(p) for p in mediakit.panning(2, 64, 64)]
    with opened(mediakit.picture(views[0], "MPO", save_all=True, append_images=views[1:])) as media:
        assert media.facts.kind == "image"


@pytest.mark.parametrize("picture_format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_animations_are_videos(picture_format: str) -> None:
    frames = mediakit.panning(5, 64, 48)
    data = mediakit.animation(frames, picture_format, [100, 200, 300, 40, 60])
    with opened(data) as media:
        assert media.facts.kind == "video"
        np.testing.assert_allclose(media.times, [0, 0.1, 0.3, 0.6, 0.64], atol=1e-6)
        assert media.facts.duration_s == pytest.approx(0.7, abs=1e-6)
        for indices in ([0, 1, 2, 3, 4], [3], [1, 4]):
            for result in media.frames(indices):
                assert isinstance(result, Frame)
                assert difference(result.pixels, frames[result.index]) < 12
                if picture_format in ("PNG", "WEBP"):
                    np.testing.assert_array_equal(result.pixels, frames[result.index])


def test_unset_durations_count_as_a_tenth_of_a_second() -> None:
    data = mediakit.animation(mediakit.panning(3, 32, 32), "GIF", [0, 10, 20])
    with opened(data) as media:
        np.testing.assert_allclose(media.times, [0, 0.1, 0.2])
        assert media.facts.duration_s == pytest.approx(0.22)


def test_an_animation_of_one_frame_is_an_image() -> None:
    with opened(mediakit.animation(mediakit.panning(1, 32, 32), "GIF", [100])) as media:
        assert media.facts.kind == "image"


def test_a_truncated_animation_gives_its_intact_frames() -> None:
    frames = mediakit.panning(6, 64, 48)
    data = mediakit.animation(frames, "GIF", [100] * 6)
    with opened(data[: len(data) * 2 // 3]) as media:
        results = list(media.frames(range(len(media.times))))
        alive = [r for r in results if isinstance(r, Frame)]
        assert 3 <= len(alive) <= 5
        assert all(difference(r.pixels, frames[r.index]) < 12 for r in alive)


def test_a_truncated_picture_is_undecodable() -> None:
    data = mediakit.picture(mediakit.astronaut(), "JPEG")
    with pytest.raises(UndecodableMedia):
        only(data[: len(data) // 2])


def test_broken_metadata_are_ignored() -> None:
    data = mediakit.picture(
        mediakit.panning(1, 32, 32)[0], "JPEG", exif=b"Exif\0\0MM\0*" + b"\xff" * 40
    )
    assert only(data).shape == (32, 32, 3)
    info = PngInfo()
    info.add_text("note", "x" * 1000)
    assert only(mediakit.picture(mediakit.panning(1, 32, 32)[0], "PNG", pnginfo=info)).any()


# -- the interface ---------------------------------------------------------------------------


def test_indices_are_checked() -> None:
    with opened(mediakit.encode(mediakit.panning(5))) as media:
        for wrong in ([1, 0], [2, 2], [-1], [5]):
            with pytest.raises(ValueError, match="indices"):
                media.frames(wrong)
        assert list(media.frames([])) == []


def test_a_later_iteration_ends_the_one_before() -> None:
    with opened(mediakit.encode(panning(20))) as media:
        first = media.frames([0, 5, 10])
        next(first)
        assert [r.index for r in media.frames([2, 3])] == [2, 3]
        with pytest.raises(ValueError, match="another iteration"):
            next(first)
        last = media.frames([1, 2])
        next(last)
    with pytest.raises(ValueError, match="closed"):
        next(last)


def test_pixels_are_writable_and_independent() -> None:
    with opened(mediakit.picture(mediakit.panning(1, 32, 32)[0], "PNG")) as media:
        (first,) = media.frames([0])
        assert isinstance(first, Frame)
        first.pixels[:] = 0
        (second,) = media.frames([0])
        assert isinstance(second, Frame)
        assert second.pixels.any()


def test_cover_art_beside_a_video_is_ignored() -> None:
    frames = mediakit.panning(10)
    data = mediakit.encode(frames, sound=True)
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
