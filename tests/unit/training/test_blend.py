"""Blended faces: the changed area, the unchanged rest, and reproducibility."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import matplotlib.cbook
import matplotlib.image
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from deepfake_training.data import blend
from deepfake_training.data.augment import Chain, Geometry, apply_chain, draw_chain
from deepfake_training.data.blend import colours_matched, poisson_cloned
from deepfake_training.data.landmarks import DenseLandmarks, five_points, hull_mask, transform

Face = tuple[NDArray[np.uint8], NDArray[np.float32]]
Maker = Callable[[Face, Face, np.random.Generator], tuple[NDArray[np.uint8], NDArray[np.float32]]]

SEEDS = range(40)


def self_blended(
    crop: NDArray[np.uint8], landmarks: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Blend an altered copy of a face into the untouched one, the first half of the pairs."""
    return blend._blend_with_self(blend._altered(crop, rng), crop, landmarks, rng)


def coarser(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Redraw a crop with less detail, as an autoencoder does."""
    small = cv2.resize(crop, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    redrawn = cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return cv2.add(redrawn, int(rng.integers(2, 5))).astype(np.uint8)


MAKERS: dict[str, Maker] = {
    "self_blended": lambda face, _, rng: self_blended(*face, rng),
    "swapped": lambda face, donor, rng: blend.swapped(*face, *donor, rng),
    "regenerated": lambda face, _, rng: blend.regenerated(*face, rng, coarser),
}


def stored_crop(image: NDArray[np.uint8], box: tuple[int, int, int, int], five: list[int]) -> Face:
    """A 320 px crop of 1.6 boxes, and its dense landmarks."""
    x0, y0, x1, y1 = box
    zoom = 1.6 * max(x1 - x0, y1 - y0) / 320
    corner = (np.array([x0 + x1, y0 + y1]) / 2) - 160 * zoom
    move = np.column_stack([zoom * np.eye(2), corner])
    crop = cv2.warpAffine(
        image, move, (320, 320), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    points = (np.float32(five).reshape(5, 2) - corner) / zoom
    found = DenseLandmarks()(crop, points.astype(np.float32))
    assert found is not None
    return crop, found


@pytest.fixture(scope="module")
def astronaut() -> Face:
    five = [205, 102, 247, 104, 225, 129, 202, 139, 245, 142]
    return stored_crop(np.ascontiguousarray(data.astronaut()), (181, 62, 267, 172), five)


@pytest.fixture(scope="module")
def hopper() -> Face:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        image = np.ascontiguousarray(matplotlib.image.imread(file, format="jpg"))
    five = [222, 192, 310, 186, 269, 239, 233, 280, 307, 276]
    return stored_crop(image, (174, 119, 355, 340), five)


@pytest.mark.parametrize("kind", MAKERS)
def test_changes_the_masked_part_and_nothing_else(kind: str, astronaut: Face, hopper: Face) -> None:
    crop, points = hopper
    before = crop.copy(), points.copy()
    changes = []
    for seed in SEEDS:
        out, mask = MAKERS[kind](hopper, astronaut, np.random.default_rng(seed))
        assert out.shape == crop.shape
        assert out.dtype == np.uint8
        assert mask.shape == crop.shape[:2]
        assert mask.dtype == np.float32
        assert 0.2 < mask.max() <= 1.0
        assert mask.min() >= 0.0
        np.testing.assert_array_equal(out[mask == 0], crop[mask == 0])
        difference = np.abs(out.astype(int) - crop)[mask > 0.5 * mask.max()]
        assert difference.any()
        changes.append(difference.mean() / mask.max())
    np.testing.assert_array_equal(crop, before[0])
    np.testing.assert_array_equal(points, before[1])
    # An invisible manipulation would be a wrong label.
    assert np.median(changes) > 2.0


@pytest.mark.parametrize("kind", MAKERS)
def test_only_the_generator_decides(kind: str, astronaut: Face, hopper: Face) -> None:
    for seed in range(12):
        cv2.setRNGSeed(seed)
        first, first_mask = MAKERS[kind](hopper, astronaut, np.random.default_rng(seed))
        cv2.setRNGSeed(99)
        again, again_mask = MAKERS[kind](hopper, astronaut, np.random.default_rng(seed))
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(first_mask, again_mask)
    other, _ = MAKERS[kind](hopper, astronaut, np.random.default_rng(100))
    assert (other != again).any()


def test_masks_vary_in_region_softness_and_weight(hopper: Face) -> None:
    masks = [self_blended(*hopper, np.random.default_rng(s))[1] for s in range(80)]
    weights = {round(float(m.max()), 2) for m in masks}
    assert weights == {0.25, 0.5, 0.75, 1.0}
    areas = np.array([(m > 0.5 * m.max()).mean() for m in masks])
    assert areas.min() < 0.06
    assert areas.max() > 0.2
    edges = np.array([((m > 0.05 * m.max()) & (m < 0.95 * m.max())).sum() for m in masks])
    assert edges.max() > 4 * edges.min()
    # Lower-face masks, as for lip synchronisation, do not include the eyes.
    eye = np.rint(five_points(hopper[1])[0]).astype(int)
    assert 0.1 < np.mean([m[eye[1], eye[0]] == 0 for m in masks]) < 0.5


def test_pair_differs_inside_the_mask_only_even_where_the_target_is_altered(hopper: Face) -> None:
    altered = 0
    for seed in range(20):
        real, fake, mask = blend.self_blended_pair(*hopper, np.random.default_rng(seed))
        np.testing.assert_array_equal(real[mask == 0], fake[mask == 0])
        altered += bool((real != hopper[0]).any())
    assert 4 <= altered <= 16


@pytest.mark.parametrize("side", [160, 640])
def test_swap_aligns_the_donor(side: int, hopper: Face) -> None:
    """A face swapped with a resized copy of itself must align with itself."""
    crop, points = hopper
    copy = cv2.resize(crop, (side, side), interpolation=cv2.INTER_LINEAR)
    exact = (points + np.float32(0.5)) * np.float32(side / 320) - np.float32(0.5)
    aligned, shifted = [], []
    for seed in range(20):
        for moved, errors in ((0.0, aligned), (side / 27, shifted)):
            rng = np.random.default_rng(seed)
            out, mask = blend.swapped(crop, points, copy, exact + np.float32(moved), rng)
            errors.append(np.abs(out.astype(int) - crop)[mask > 0.9 * mask.max()].mean())
    assert np.median(aligned) < 10.0
    assert np.median(shifted) > 1.5 * np.median(aligned)


def test_swap_matches_colour(astronaut: Face, hopper: Face) -> None:
    blue = cv2.LUT(astronaut[0], np.stack([np.arange(256) // 3] * 2 + [np.arange(256)], -1)
                   .astype(np.uint8).reshape(256, 1, 3))  # fmt: skip
    hull = np.zeros(hopper[0].shape[:2], np.uint8)
    hull[120:220, 110:210] = 255

    def cast(image: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.ravel(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), mask=hull))[1:3]

    matched = colours_matched(blue, hopper[0], hull, 1.0)
    poisson = poisson_cloned(blue, hopper[0], hull)
    far = np.linalg.norm(cast(blue) - cast(hopper[0]))
    assert np.linalg.norm(cast(matched) - cast(hopper[0])) < 0.15 * far
    assert np.linalg.norm(cast(poisson) - cast(hopper[0])) < 0.7 * far


def test_the_whole_crop_or_a_part_of_the_face_is_redrawn(hopper: Face) -> None:
    crop, points = hopper
    whole, areas = 0, []
    for seed in range(60):
        out, mask = blend.regenerated(crop, points, np.random.default_rng(seed), coarser)
        areas.append((mask > 0.5).mean())
        difference = np.abs(out.astype(int) - crop)
        if (mask == 1).all():
            whole += 1
        else:
            assert difference[mask > 0.9].mean() > difference[mask < 0.1].mean()
    assert 20 <= whole <= 40
    assert min(areas) < 0.15


@pytest.mark.parametrize("kind", MAKERS)
def test_takes_awkward_faces(kind: str, astronaut: Face, hopper: Face) -> None:
    crop, points = hopper
    move = np.array([[1.0, 0.0, 85.0], [0.0, 1.0, -60.0]])
    cut = cv2.warpAffine(crop, move, (320, 320)), transform(points, move)
    down = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 150.0]])
    half = cv2.warpAffine(crop, down, (320, 320)), transform(points, down)
    profile = crop, (points - np.float32([160, 0])) * np.float32([0.02, 1]) + np.float32([160, 0])
    small = cv2.resize(crop, (64, 48)), points * np.float32([64 / 320, 48 / 320])
    grey = np.full_like(crop, 128), points
    for seed in range(15):
        for face in (cut, half, profile, small, grey):
            out, mask = MAKERS[kind](face, astronaut, np.random.default_rng(seed))
            assert out.shape == face[0].shape
            assert mask.max() > 0.2
            np.testing.assert_array_equal(out[mask == 0], face[0][mask == 0])


def test_a_region_beyond_the_edge_is_replaced_by_the_face(hopper: Face) -> None:
    """Otherwise nothing, or the whole picture, would be blended."""
    down = hopper[1] + np.float32([0, 140])
    assert not hull_mask(down, "mouth", (320, 320)).any()
    for seed in range(60):
        out, mask = self_blended(hopper[0], down, np.random.default_rng(seed))
        assert (out != hopper[0]).any()
        assert 0.0 < (mask > 0).mean() < 0.6


@pytest.mark.parametrize("kind", MAKERS)
def test_real_and_fake_pass_through_one_chain(kind: str, astronaut: Face, hopper: Face) -> None:
    """No label shortcut: a chain is drawn without the picture, and changes both alike."""
    crop, points = hopper
    five = five_points(points)

    def view(chain: Chain, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return apply_chain(chain, picture, five, 224, 1.3 / 1.6)

    for seed in range(16):
        fake, mask = MAKERS[kind](hopper, astronaut, np.random.default_rng(seed))
        drawn = draw_chain(np.random.default_rng([seed, 1]))
        assert view(drawn, crop).shape == view(drawn, fake).shape
        # Where nothing was manipulated and no step looks beyond a pixel, the classes are equal.
        chain = Chain(Geometry(interpolation=cv2.INTER_LINEAR))
        plain_real, plain_fake = (view(chain, i) for i in (crop, fake))
        near_mask = np.repeat((mask > 0)[..., None], 3, 2).astype(np.uint8) * 255
        near_mask = cv2.dilate(near_mask, np.ones((7, 7))).astype(np.uint8)
        touched = view(Chain(Geometry()), near_mask)
        np.testing.assert_array_equal(plain_real[touched == 0], plain_fake[touched == 0])
