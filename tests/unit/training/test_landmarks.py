"""Dense landmarks: the pinned model, its view, and the geometry around it."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import cv2
import matplotlib.cbook
import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from deepfake_training.data import landmarks as lm

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"

# By hand, in pixels of the pictures: eyes, nose, mouth corners.
ASTRONAUT = np.float32([[205, 102], [247, 104], [225, 129], [202, 139], [245, 142]])
HOPPER = np.float32([[222, 192], [310, 186], [269, 239], [233, 280], [307, 276]])


def astronaut() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    return np.ascontiguousarray(data.astronaut()), ASTRONAUT


def hopper() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return np.ascontiguousarray(matplotlib.image.imread(file, format="jpg")), HOPPER


@pytest.fixture(scope="module")
def dense() -> lm.DenseLandmarks:
    return lm.DenseLandmarks()


@pytest.mark.parametrize("face", [astronaut, hopper])
def test_finds_the_features_where_they_are(face: Any, dense: lm.DenseLandmarks) -> None:
    image, five = face()
    found = dense(image, five)
    assert found is not None
    assert found.shape == (lm.N_POINTS, 2)
    assert found.dtype == np.float32
    eyes = float(np.linalg.norm(five[1] - five[0]))
    assert np.linalg.norm(lm.five_points(found) - five, axis=1).max() < 0.15 * eyes
    oval = cv2.convexHull(found[list(lm.FACE_OVAL)])
    assert all(cv2.pointPolygonTest(oval, tuple(map(float, p)), False) > 0 for p in five)
    assert found[list(lm.RIGHT_EYE), 0].max() < found[list(lm.LEFT_EYE), 0].min()
    assert found[list(lm.RIGHT_BROW), 1].mean() < found[list(lm.RIGHT_EYE), 1].mean()


@pytest.mark.parametrize(("degrees", "zoom"), [(35.0, 1.0), (-60.0, 1.5), (180.0, 0.6)])
def test_follows_rotation_and_scale(degrees: float, zoom: float, dense: lm.DenseLandmarks) -> None:
    image, five = hopper()
    upright = dense(image, five)
    move = cv2.getRotationMatrix2D((270.0, 240.0), degrees, zoom).astype(np.float64)
    moved = dense(cv2.warpAffine(image, move, image.shape[1::-1]), lm.transform(five, move))
    assert upright is not None
    assert moved is not None
    off = np.linalg.norm(moved - lm.transform(upright, move), axis=1) / zoom
    assert np.median(off) < 0.03 * lm.face_height(upright)


def test_a_coarse_guess_converges(dense: lm.DenseLandmarks) -> None:
    image, five = hopper()
    exact, rough = dense(image, five), dense(image, five + np.float32([18, -14]))
    assert exact is not None
    assert rough is not None
    # A single pass is twice as far off.
    assert np.linalg.norm(exact - rough, axis=1).mean() < 0.0045 * lm.face_height(exact)


@pytest.mark.parametrize(
    "five",
    [
        HOPPER + np.float32([0, 280]),
        HOPPER + np.float32([40, 0]),
        np.full((5, 2), np.nan, np.float32),
        np.zeros((5, 2), np.float32),
        HOPPER * np.float32(1e6),
    ],
    ids=["on the uniform", "beside the features", "nan", "one place", "far away"],
)
def test_no_face_no_landmarks(five: NDArray[np.float32], dense: lm.DenseLandmarks) -> None:
    assert dense(hopper()[0], five) is None


def test_no_landmarks_in_noise(dense: lm.DenseLandmarks) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    five = np.float32([[120, 130], [200, 130], [160, 170], [125, 215], [195, 215]])
    assert dense(noise, five) is None


def test_the_model_is_the_pinned_one() -> None:
    digest = hashlib.sha256(lm.MODEL_PATH.read_bytes()).hexdigest()
    assert digest == "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"
    assert digest in (lm.MODEL_PATH.parent / "README.md").read_text()
    assert "Apache License" in (lm.MODEL_PATH.parent / "LICENSE.face_landmark.txt").read_text()


def test_regions_nest(dense: lm.DenseLandmarks) -> None:
    image, five = hopper()
    found = dense(image, five)
    assert found is not None
    area = {name: int((lm.hull_mask(found, name, image.shape) > 0).sum()) for name in lm.HULLS}
    assert area["whole_face"] > area["without_forehead"] > area["inner_face"]
    assert area["inner_face"] > area["mouth"] > 0
    whole = lm.hull_mask(found, "whole_face", image.shape)
    for name, indices in lm.HULLS.items():
        assert len(set(indices)) == len(indices), name
        # The mesh ends at the oval, so no region reaches beyond it.
        assert not (lm.hull_mask(found, name, image.shape) & ~cv2.dilate(whole, None)).any(), name
    mouth = lm.hull_mask(found, "mouth", image.shape)
    assert not mouth[: round(float(found[4, 1]))].any()


def test_box_is_aligned_with_the_eyes(dense: lm.DenseLandmarks) -> None:
    image, five = hopper()
    found = dense(image, five)
    assert found is not None
    box = lm.box_mask(found, 1.2, image.shape)
    (_, _), (w, h), angle = cv2.minAreaRect(np.argwhere(box > 0)[:, ::-1].astype(np.float32))
    across = found[263] - found[33]
    tilt = np.degrees(np.arctan2(across[1], across[0]))
    assert abs((angle - tilt + 45) % 90 - 45) < 2.0
    assert w == pytest.approx(h, abs=3)


def test_similarity_recovers_a_known_one() -> None:
    points = np.random.default_rng(1).uniform(0, 300, (40, 2)).astype(np.float32)
    move = cv2.getRotationMatrix2D((100.0, 50.0), 25.0, 0.7).astype(np.float64)
    np.testing.assert_allclose(
        lm.similarity(points, lm.transform(points, move)), move, rtol=1e-3, atol=1e-3
    )


def test_shape_distance_ignores_place_and_size_only(dense: lm.DenseLandmarks) -> None:
    first, second = dense(*astronaut()), dense(*hopper())
    assert first is not None
    assert second is not None
    move = cv2.getRotationMatrix2D((100.0, 50.0), 25.0, 0.7).astype(np.float64)
    mirrored = first * np.float32([-1, 1])
    same, other, flipped = lm.shape_distance(
        first, np.stack([lm.transform(first, move), second, mirrored])
    )
    assert same < 1e-3
    assert 0.02 < other < 0.3
    assert flipped > 3 * same


@pytest.mark.data
def test_agrees_with_mtcnn_on_portraits(dense: lm.DenseLandmarks) -> None:
    if not (DATA / "manifest.csv").is_file():
        pytest.skip("the research data set is not beside the checkout")
    mtcnn = pytest.importorskip("facenet_pytorch").MTCNN()
    with (DATA / "manifest.csv").open() as file:
        rows = [row["media"] for row in csv.DictReader(file) if "/ffhq/" in row["media"]]
    found, tried = 0, 0
    for media in sorted(rows)[:12]:
        image = cv2.cvtColor(cv2.imread(str(DATA / media)), cv2.COLOR_BGR2RGB)
        _, confidence, points = mtcnn.detect(image, landmarks=True)
        if points is None or confidence[0] < 0.99:
            continue
        tried += 1
        five = np.asarray(points[0], np.float32)
        dense_points = dense(image, five)
        if dense_points is None:
            continue
        off = np.linalg.norm(lm.five_points(dense_points) - five, axis=1).mean()
        found += bool(off < 0.1 * lm.face_height(dense_points))
    assert tried >= 8
    assert found >= 0.9 * tried
