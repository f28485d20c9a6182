"""Turned views of a picture show to the last bit what a picture with turned pixels shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from deepfake_models.faces.detection import View

SIDES = st.integers(1, 40)


def picture_of(height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(height * 41 + width)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def turned_pixels(picture: NDArray[np.uint8], quarters: int) -> View:
    return View.of(np.rot90(picture, -quarters))


@given(SIDES, SIDES, st.integers(1, 30), st.integers(1, 30))
def test_turned_views_are_resampled_like_turned_pictures(
    height: int, width: int, rows: int, columns: int
) -> None:
    picture = picture_of(height, width)
    upright = View.of(picture)
    for quarters in range(4):
        view, expected = upright.turned(quarters), turned_pixels(picture, quarters)
        assert view.size == expected.size
        # Twice: the second time, what another view resampled may be used again.
        for _ in range(2):
            assert np.array_equal(view.resized(rows, columns), expected.resized(rows, columns))
            assert np.array_equal(view.resized(columns, rows), expected.resized(columns, rows))


@given(SIDES, SIDES, st.integers(0, 3), st.sampled_from([5, 24]), st.data())
def test_crops_of_turned_views_are_those_of_turned_pictures(
    height: int, width: int, quarters: int, side: int, draw: st.DataObject
) -> None:
    picture = picture_of(height, width)
    view, expected = View.of(picture).turned(quarters), turned_pixels(picture, quarters)
    high, wide = expected.size
    x0, y0 = draw.draw(st.integers(0, wide - 1)), draw.draw(st.integers(0, high - 1))
    x1, y1 = draw.draw(st.integers(x0 + 1, wide)), draw.draw(st.integers(y0 + 1, high))
    windows = np.array([[0, 0, wide, high], [x0, y0, x1, y1]], np.intp)
    assert np.array_equal(view.crops(windows, side), expected.crops(windows, side))


@pytest.mark.parametrize("quarters", range(4))
def test_turns_add_up(quarters: int) -> None:
    view = View.of(picture_of(3, 5)).turned(3).turned(quarters)
    assert view.quarters == (3 + quarters) % 4
    assert np.array_equal(
        view.resized(2, 2), turned_pixels(picture_of(3, 5), 3 + quarters).resized(2, 2)
    )
