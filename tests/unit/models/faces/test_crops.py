"""Cutting and measuring of faces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from deepfake_models.bundle.results import Quality, ReasonCode
from deepfake_models.bundle.spec import CropSpec
from deepfake_models.faces import crops
from deepfake_models.faces.detection import Detection

SPEC = CropSpec()


def ramp(height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture whose red is the column and whose green is the row."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x % 256, y % 256, np.zeros_like(x)], axis=-1).astype(np.uint8)


def face(box: tuple[float, float, float, float]) -> Detection:
    return Detection(box, np.zeros((5, 2), np.float32), 1.0)


def test_square_is_centred_and_scaled() -> None:
    x0, y0, side = crops.square((10.0, 20.0, 30.0, 60.0), 1.5)
    assert side == 60.0
    assert (x0 + side / 2, y0 + side / 2) == (20.0, 40.0)


def test_crop_shows_the_square() -> None:
    spec = CropSpec(scale=1.0, size=100)
    crop = crops.cut(ramp(200, 200), (50.0, 80.0, 150.0, 180.0), spec)
    expected = ramp(200, 200)[80:180, 50:150]
    assert crop.shape == (100, 100, 3)
    assert np.abs(crop.astype(int) - expected.astype(int)).max() <= 1


def test_crop_keeps_the_sub_pixel_position() -> None:
    spec = CropSpec(scale=1.0, size=64, resample="bilinear")
    picture = ramp(110, 110) * 2
    whole = crops.cut(picture, (40.0, 40.0, 104.0, 104.0), spec)
    half = crops.cut(picture, (40.5, 40.0, 104.5, 104.0), spec)
    shift = half[..., 0].astype(float) - whole[..., 0].astype(float)
    assert shift.mean() == pytest.approx(1.0, abs=0.3)


def test_outside_is_reflected_not_black() -> None:
    picture = np.full((100, 100, 3), 200, np.uint8)
    crop = crops.cut(picture, (-20.0, -20.0, 60.0, 60.0), SPEC)
    assert crop.min() >= 199


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 80),
    st.integers(1, 80),
    st.tuples(*[st.floats(-60, 120, width=32)] * 2),
    st.tuples(*[st.floats(1, 120, width=32)] * 2),
)
def test_every_usable_detection_can_be_cut_and_measured(
    height: int, width: int, corner: tuple[float, float], size: tuple[float, float]
) -> None:
    box = (corner[0], corner[1], corner[0] + size[0], corner[1] + size[1])
    picture = ramp(height, width)
    for detection in crops.usable([face(box)], picture, SPEC):
        crop = crops.cut(picture, detection.box, SPEC)
        quality = crops.measure(picture, detection.box, crop)
        assert crop.shape == (SPEC.size, SPEC.size, 3)
        assert all(np.isfinite(v) for v in quality.to_json().values())


def test_detections_mostly_outside_the_picture_are_dropped() -> None:
    picture = ramp(84, 84)
    assert crops.usable([face((-8.8, -162.0, 158.2, 68.4))], picture, SPEC) == []
    assert len(crops.usable([face((-8.0, -8.0, 60.0, 60.0))], picture, SPEC)) == 1


def test_blur_lowers_sharpness() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    soft = np.asarray(Image.fromarray(noise).resize((56, 56)).resize((224, 224)))
    assert crops.sharpness(soft) < crops.sharpness(noise) / 4


@pytest.mark.parametrize("offset", [0, 3])
def test_blockiness_finds_the_grid_wherever_it_starts(offset: int) -> None:
    rng = np.random.default_rng(1)
    blocks = rng.integers(60, 190, (12, 12)).repeat(8, axis=0).repeat(8, axis=1)
    picture = (blocks + rng.integers(-3, 4, blocks.shape)).astype(np.uint8)[..., None].repeat(3, 2)
    assert crops.blockiness(picture[offset:, offset:]) > 5.0
    smooth = rng.integers(100, 140, (96, 96, 3), dtype=np.uint8)
    assert crops.blockiness(smooth) < 1.3


def test_flat_or_tiny_regions_have_no_blockiness() -> None:
    assert crops.blockiness(np.zeros((8, 200, 3), np.uint8)) == 1.0
    assert crops.blockiness(np.full((64, 64, 3), 7, np.uint8)) == 1.0


def test_small_and_blurred_faces_have_a_reason() -> None:
    spec = CropSpec(min_face_px=48, min_sharpness=2.0)
    poor = Quality(face_px=30.0, sharpness=1.0, blockiness=1.0, exposure=0.5)
    assert [r.code for r in crops.quality_reasons(poor, spec)] == [
        ReasonCode.FACE_TOO_SMALL,
        ReasonCode.FACE_TOO_BLURRED,
    ]
    assert "30 px" in crops.quality_reasons(poor, spec)[0].detail
    fine = Quality(face_px=48.0, sharpness=2.0, blockiness=1.0, exposure=0.5)
    assert crops.quality_reasons(fine, spec) == ()


def test_further_squares_follow_the_first() -> None:
    picture = ramp(200, 200)
    box = (80.0, 70.0, 120.0, 120.0)
    one = CropSpec(size=32)
    three = CropSpec(size=32, further_scales=(0.8, 2.0))
    assert (one.views, three.views) == (1, 3)
    assert np.array_equal(crops.cut_views(picture, box, one), crops.cut(picture, box, one))
    for turn in (0, 90):
        views = crops.cut_views(picture, box, three, turn)
        assert views.shape == (3, 32, 32, 3)
        for view, scale in zip(views, (1.3, 0.8, 2.0), strict=True):
            own = CropSpec(size=32, scale=scale)
            assert np.array_equal(view, crops.cut(picture, box, own, turn))
        assert np.array_equal(crops.squares(views)[0], views[0])
    assert np.array_equal(crops.squares(views[0])[0], views[0])
