"""Formats of pictures and animations: the right pixels, whatever the mode."""

from __future__ import annotations

import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from deepfake_models.media.interface import Frame
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
    np.testing.assert_array_equal(only(data), np.asarray(pages[0]))


def test_a_motion_photo_is_an_image() -> None:
    jpeg = footage.picture(footage.astronaut(), "JPEG")
    with opened(jpeg + footage.encode(footage.panning(5))) as media:
        assert media.facts.kind == "image"
        assert (media.facts.width, media.facts.height) == (512, 512)


def test_a_multi_picture_jpeg_is_an_image() -> None:
    views = [Image.fromarray(p) for p in footage.panning(2, 64, 64)]
    with opened(footage.picture(views[0], "MPO", save_all=True, append_images=views[1:])) as media:
        assert media.facts.kind == "image"


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
