"""Media are shown upright, mirrored and in the shape that they state."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from deepfake_models.media.interface import Frame, Orientation
from tests.support import footage
from tests.support.footage import only, opened, reference


def with_display_matrix(mp4: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """Return ``mp4`` with the upper left (a, b, c, d) of its first display matrix replaced."""
    at = mp4.index(b"tkhd") + 4
    start = at + (52 if mp4[at] == 1 else 40)
    values = [v << 16 for v in matrix]
    words = [values[0], values[1], 0, values[2], values[3], 0, 0, 0, 1 << 30]
    encoded = b"".join(w.to_bytes(4, "big", signed=True) for w in words)
    return mp4[:start] + encoded + mp4[start + 36 :]


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
    upright = footage.panning(3, 96, 64)
    data = footage.encode(upright)
    o = orientation
    turned = with_display_matrix(data, (o.a, o.b, o.c, o.d))
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


@pytest.mark.parametrize("picture_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_exif_orientation(tag: int, picture_format: str) -> None:
    pixels = footage.panning(1, 48, 32)[0]
    exif = Image.Exif()
    exif[0x0112] = tag
    data = footage.picture(pixels, picture_format, exif=exif)
    from PIL import ImageOps

    expected = np.asarray(
        ImageOps.exif_transpose(Image.open(io.BytesIO(footage.picture(pixels, "PNG", exif=exif))))
    )
    np.testing.assert_array_equal(only(data), expected)
    with opened(data) as media:
        assert media.facts.rotation == {3: 180, 4: 180, 5: 270, 6: 90, 7: 90, 8: 270}.get(tag, 0)
        assert (media.facts.height, media.facts.width) == expected.shape[:2]


@pytest.mark.parametrize("matrix", [(0, 0, 0, 0), (1, 1, 1, 1)])
def test_a_degenerate_matrix_is_upright(matrix: tuple[int, int, int, int]) -> None:
    assert Orientation.from_matrix(*matrix) == Orientation()


@pytest.mark.parametrize(
    ("aspect", "width"),
    [(Fraction(2), 192), (Fraction(1, 2), 48), (Fraction(10), 960), (Fraction(100), 96)],
)
def test_pixel_aspect_is_applied_when_sane(aspect: Fraction, width: int) -> None:
    data = footage.encode(footage.panning(2, 96, 64), aspect=aspect)
    with opened(data) as media:
        assert (media.facts.width, media.facts.height) == (width, 64)
        (frame,) = media.frames([0])
        assert isinstance(frame, Frame)
        assert frame.pixels.shape == (64, width, 3)
