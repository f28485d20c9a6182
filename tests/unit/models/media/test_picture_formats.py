"""Formats of pictures and animations: the right pixels, whatever the mode."""

from __future__ import annotations

import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from deepfake_models.bundle.results import Unexamined
from deepfake_models.media.interface import Frame
from deepfake_models.sandbox.decoder import ProcessDecoder
from tests.support import footage
from tests.support.footage import difference, only, opened


@pytest.mark.parametrize("picture_format", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG", "AVIF"])
def test_picture_formats(picture_format: str) -> None:
    pixels = footage.panning(1, 96, 64)[0]
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}, "AVIF": {"quality": 95}}
    data = footage.picture(pixels, picture_format, **options.get(picture_format, {}))
    lossless = picture_format in ("PNG", "BMP", "TIFF", "WEBP")
    assert difference(only(data), pixels) < (0.001 if lossless else 9)
    with opened(data) as media:
        assert media.facts.kind == "image"
        assert media.times.tolist() == [0.0]
        assert media.facts.duration_s is None


def test_heif() -> None:
    pixels = footage.panning(1, 96, 64)[0]
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(buffer, quality=95)
    assert difference(only(buffer.getvalue()), pixels) < 6


def test_transparency_is_shown_on_white() -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, :4] = (200, 30, 30, 255)
    pixels = only(footage.picture(Image.fromarray(rgba), "PNG"))
    assert pixels[0, 0].tolist() == [200, 30, 30]
    assert pixels[0, 7].tolist() == [255, 255, 255]


def test_palette_with_transparency() -> None:
    palette = Image.fromarray(footage.panning(1, 16, 16)[0]).quantize(4)
    data = footage.picture(palette, "PNG", transparency=bytes([0, 255, 128, 255]))
    assert only(data).shape == (16, 16, 3)


def test_sixteen_bit_grey() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, axis=0)
    for picture_format in ("PNG", "TIFF"):
        pixels = only(footage.picture(Image.fromarray(ramp), picture_format))
        np.testing.assert_array_equal(pixels[0, :, 0], ramp[0] >> 8)


def test_floating_point_grey() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(4, axis=0)
    pixels = only(footage.picture(Image.fromarray(ramp), "TIFF"))
    np.testing.assert_array_equal(pixels[0, :, 0], np.arange(256))


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "YCbCr"])
def test_other_modes(mode: str) -> None:
    pixels = footage.panning(1, 96, 64)[0]
    image = Image.fromarray(pixels).convert(mode)
    shown = only(footage.picture(image, "TIFF"))
    assert difference(shown, np.asarray(image.convert("RGB"))) < 2


def test_a_multi_page_tiff_is_its_first_page() -> None:
    pages = [Image.fromarray(p) for p in footage.panning(3, 32, 32)]
    data = footage.picture(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    with opened(data) as media:
        assert media.facts.kind == "image"
        assert media.facts.unexamined == (Unexamined.FURTHER_PAGE,)
    np.testing.assert_array_equal(only(data), np.asarray(pages[0]))


def test_a_decoder_process_reports_transparency() -> None:
    rgba = np.dstack([footage.astronaut(), np.full((512, 512, 1), 120, np.uint8)])
    decoder = ProcessDecoder(footage.LIMITS, 1)
    try:
        with decoder.open(io.BytesIO(footage.picture(rgba, "PNG"))) as media:
            assert media.facts.unexamined == (Unexamined.TRANSPARENCY,)
    finally:
        decoder.close()


@pytest.mark.parametrize("picture_format", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize(("side", "alpha"), [(0, 0), (4, 0), (16, 0), (64, 120)])
def test_more_than_a_few_transparent_pixels_are_reported(
    picture_format: str, side: int, alpha: int
) -> None:
    rgba = np.full((256, 256, 4), 255, np.uint8)
    rgba[..., :3] = footage.panning(1, 256, 256)[0]
    rgba[:side, :side, 3] = alpha
    with opened(footage.picture(Image.fromarray(rgba), picture_format)) as media:
        assert media.facts.unexamined == ((Unexamined.TRANSPARENCY,) if side > 8 else ())


def test_an_animation_with_one_transparent_frame_is_reported() -> None:
    frames = [np.dstack([p, np.full(p.shape[:2], 255)]) for p in footage.panning(4, 64, 64)]
    opaque = footage.animation([f.astype(np.uint8) for f in frames], "PNG", [100] * 4)
    frames[2][..., 3] = 100
    faint = footage.animation([f.astype(np.uint8) for f in frames], "WEBP", [100] * 4)
    with opened(opaque) as media:
        assert media.facts.unexamined == ()
    with opened(faint) as media:
        assert media.facts.unexamined == (Unexamined.TRANSPARENCY,)


def test_grey_levels_that_are_transparent_are_reported() -> None:
    deep = Image.fromarray(np.full((32, 32), 30_000, np.uint16))
    for options, found in (({}, ()), ({"transparency": 30_000}, (Unexamined.TRANSPARENCY,))):
        with opened(footage.picture(deep, "PNG", **options)) as media:
            assert media.facts.unexamined == found


@pytest.mark.parametrize("picture_format", ["HEIF", "AVIF"])
def test_a_film_in_a_picture_file_is_reported(picture_format: str) -> None:
    still = footage.picture(footage.astronaut(), picture_format)
    film = footage.encode(footage.panning(5))
    moov = film[film.index(b"moov") - 4 :]
    for data, found in (
        (still, ()),
        (still + moov, (Unexamined.FILM,)),
        # Phones keep the moving part of a picture in a box of its own, which players skip.
        (still + (8 + len(film)).to_bytes(4, "big") + b"mpvd" + film, ()),
        (still + 2000 * b"\0\0\0\x08free" + moov, (Unexamined.FILM,)),
    ):
        with opened(data) as media:
            assert (media.facts.kind, media.facts.unexamined) == ("image", found)


def test_a_motion_photo_is_an_image() -> None:
    jpeg = footage.picture(footage.astronaut(), "JPEG")
    with opened(jpeg + footage.encode(footage.panning(5))) as media:
        assert media.facts.kind == "image"
        assert (media.facts.width, media.facts.height) == (512, 512)
        assert media.facts.unexamined == ()


def test_a_multi_picture_jpeg_is_an_image() -> None:
    views = [Image.fromarray(p) for p in footage.panning(2, 64, 64)]
    with opened(footage.picture(views[0], "MPO", save_all=True, append_images=views[1:])) as media:
        assert media.facts.kind == "image"
        assert media.facts.unexamined == ()


@pytest.mark.parametrize("picture_format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_animations_are_videos(picture_format: str) -> None:
    frames = footage.panning(5, 64, 48)
    data = footage.animation(frames, picture_format, [100, 200, 300, 40, 60])
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
    data = footage.animation(footage.panning(3, 32, 32), "GIF", [0, 10, 20])
    with opened(data) as media:
        np.testing.assert_allclose(media.times, [0, 0.1, 0.2])
        assert media.facts.duration_s == pytest.approx(0.22)


def test_an_animation_of_one_frame_is_an_image() -> None:
    with opened(footage.animation(footage.panning(1, 32, 32), "GIF", [100])) as media:
        assert media.facts.kind == "image"


def test_pixels_are_writable_and_independent() -> None:
    with opened(footage.picture(footage.panning(1, 32, 32)[0], "PNG")) as media:
        (first,) = media.frames([0])
        assert isinstance(first, Frame)
        first.pixels[:] = 0
        (second,) = media.frames([0])
        assert isinstance(second, Frame)
        assert second.pixels.any()
