"""Scaling of pictures, and their resampling by area compared with torch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from deepfake_models.faces.detection import (
    area_crops,
    area_resized,
    integral_image,
    scaled_to_each,
)

torch = pytest.importorskip("torch", reason="resampling is compared with torch's")

Picture = NDArray[np.uint8]


@pytest.mark.parametrize("long_side", [1, 20, 640])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (641, 640), (300, 1201)])
def test_scaled_fits_and_never_enlarges(shape: tuple[int, int], long_side: int) -> None:
    picture = np.full((*shape, 3), 77, np.uint8)
    (small,) = scaled_to_each(picture, [long_side])
    assert max(small.shape[:2]) == min(long_side, max(shape))
    assert min(small.shape) >= 1
    assert (small == 77).all()


def test_sizes_of_one_picture_are_scaled_from_the_picture_itself() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 1201, 3), dtype=np.uint8)
    sides = [640, 2000, 99, 1201]
    for several, side in zip(scaled_to_each(picture, sides), sides, strict=True):
        assert np.array_equal(several, scaled_to_each(picture, [side])[0])


PICTURES = hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


def torch_area(picture: Picture, height: int, width: int) -> NDArray[np.float32]:
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(pixels, size=(height, width), mode="area")
    result: NDArray[np.float32] = ((resized - 127.5) * 0.0078125)[0].numpy()
    return result


@given(picture=PICTURES, height=st.integers(1, 50), width=st.integers(1, 50))
def test_area_resampling_equals_torch(picture: Picture, height: int, width: int) -> None:
    ours = area_resized(integral_image(picture), height, width)
    np.testing.assert_allclose(ours, torch_area(picture, height, width), atol=1e-6)


@given(picture=PICTURES, side=st.sampled_from([24, 48]), draw=st.data())
def test_crops_are_resampled_like_pictures(
    picture: Picture, side: int, draw: st.DataObject
) -> None:
    height, width = picture.shape[:2]
    x0, y0 = draw.draw(st.integers(0, width - 1)), draw.draw(st.integers(0, height - 1))
    x1, y1 = draw.draw(st.integers(x0 + 1, width)), draw.draw(st.integers(y0 + 1, height))
    windows = np.array([[0, 0, width, height], [x0, y0, x1, y1]], np.intp)
    whole, part = area_crops(integral_image(picture), windows, side)
    np.testing.assert_allclose(whole, torch_area(picture, side, side), atol=1e-6)
    np.testing.assert_allclose(part, torch_area(picture[y0:y1, x0:x1], side, side), atol=1e-6)


def test_integral_wraps_around_without_error() -> None:
    """The picture is white and so large that its sum exceeds 32 bits."""
    picture = np.full((4200, 4100, 3), 255, np.uint8)
    assert picture[..., 0].size * 255 > 2**32
    resized = area_resized(integral_image(picture), 3, 5)
    np.testing.assert_allclose(resized, 127.5 / 128, rtol=1e-6)
