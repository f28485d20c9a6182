"""Augmentation: the same chain for both classes, the geometry, and every step."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from functools import partial

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from deepfake_training.data import augment
from deepfake_training.data import degradations as degrade
from deepfake_training.data.augment import STEPS as DRAWN
from deepfake_training.data.augment import Chain, Geometry, apply_chain, check_encoder, draw_chain
from deepfake_training.errors import TrainingError

Image = NDArray[np.uint8]
FIVE = np.float32([[133, 127], [193, 130], [162, 165], [129, 180], [191, 184]])
STEPS: list[partial[Image]] = [
    partial(degrade.rescale, 0.4, cv2.INTER_AREA, cv2.INTER_LINEAR),
    partial(degrade.rescale, 1.37, cv2.INTER_CUBIC, cv2.INTER_AREA),
    partial(degrade.encode, ".jpg", 50, False, (0, 0)),
    partial(degrade.encode, ".jpg", 50, True, (3, 5)),
    partial(degrade.encode, ".webp", 50, False, (7, 2)),
    partial(degrade.h264, 30, 2, (1, -1), (5, 0)),
    partial(degrade.h264, 30, 3, (-2, 2), (0, 3)),
    partial(degrade.blur, 1.5),
    partial(degrade.motion_blur, 7, 0.6),
    partial(degrade.noise, 6.0, False, False, 3),
    partial(degrade.noise, 6.0, True, True, 4),
    partial(degrade.retouch, 30.0, 0.8, 10.0),
    partial(degrade.tone, 0.1, 1.2, 0.9, (1.1, 1.0, 0.9), 0.7),
    partial(degrade.caption, "caption 12", False, 0.1, 0.8, 255),
    partial(degrade.sticker, (0.1, 0.9), 0.08, (200, 30, 90), True, points=FIVE),
    partial(degrade.sticker, (0.9, 0.1), 0.08, (200, 30, 90), False, points=FIVE),
]


@pytest.fixture(scope="module")
def crop() -> Image:
    return cv2.resize(
        np.ascontiguousarray(data.astronaut()[29:205, 136:312]), (320, 320),
        interpolation=cv2.INTER_CUBIC,
    )  # fmt: skip


def view_of(chain: Chain, crop: Image, out_size: int = 224) -> Image:
    return apply_chain(chain, crop, FIVE, out_size, 1.3 / 1.6)


def error(one: Image, two: Image) -> float:
    return float(np.abs(one.astype(int) - two).mean())


@pytest.mark.parametrize("out_size", [112, 224, 299])
def test_shape_type_and_determinism(out_size: int, crop: Image) -> None:
    before = crop.copy()
    outs = []
    for seed in range(25):
        cv2.setRNGSeed(seed)
        out = view_of(draw_chain(np.random.default_rng(seed)), crop, out_size)
        cv2.setRNGSeed(seed + 1)
        again = view_of(draw_chain(np.random.default_rng(seed)), crop, out_size)
        assert out.shape == (out_size, out_size, 3)
        assert out.dtype == np.uint8
        np.testing.assert_array_equal(out, again)
        outs.append(out)
    np.testing.assert_array_equal(crop, before)
    assert len({o.tobytes() for o in outs}) == len(outs)


def test_chains_are_drawn_blind(crop: Image) -> None:
    """A chain cannot depend on the picture, because drawing takes only the generator."""
    assert list(inspect.signature(draw_chain).parameters) == ["rng"]
    for seed in range(30):
        chain = draw_chain(np.random.default_rng(seed))
        # Applying has no randomness of its own, in whichever process.
        same = pickle.loads(pickle.dumps(chain))
        np.testing.assert_array_equal(view_of(chain, crop), view_of(same, crop))


def chances(patch: pytest.MonkeyPatch, **of: float) -> None:
    """Give the steps in ``of`` these probabilities, and others none."""
    patch.setattr(augment, "STEPS", {n: (of.get(n, 0.0), draw) for n, (_, draw) in DRAWN.items()})


def test_every_step_occurs_as_often_as_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "MAX_STEPS", 20)
    monkeypatch.setattr(augment, "FINAL_ENCODING", 0.0)
    rng, n = np.random.default_rng(0), 4000
    counts: dict[str, int] = {}
    for _ in range(n):
        for step in draw_chain(rng).steps:
            name = step.args[0] if step.func is degrade.encode else step.func.__name__
            counts[name] = counts.get(name, 0) + 1
    stated = {name: chance for name, (chance, _) in DRAWN.items()}
    expected = {
        "rescale": stated["rescale"] + stated["screen"], ".jpg": stated["jpeg"],
        ".webp": stated["webp"], "h264": stated["h264"], "blur": stated["blur"],
        "motion_blur": stated["motion_blur"], "noise": stated["noise"],
        "retouch": stated["retouch"], "tone": stated["tone"] + stated["grayscale"],
    }  # fmt: skip
    counts["overlay"] = counts.pop("caption") + counts.pop("sticker")
    expected["overlay"] = stated["overlay"]
    assert counts.keys() == expected.keys()
    for name, chance in expected.items():
        assert counts[name] / n == pytest.approx(chance, abs=0.035), name


def test_final_encoding_comes_last_and_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    chances(monkeypatch, **dict.fromkeys(DRAWN, 1.0))
    monkeypatch.setattr(augment, "MAX_STEPS", 2)
    monkeypatch.setattr(augment, "FINAL_ENCODING", 1.0)
    rng = np.random.default_rng(0)
    last = set()
    for _ in range(200):
        steps = draw_chain(rng).steps
        assert len(steps) == 3
        last.add(steps[-1].args[0] if steps[-1].func is degrade.encode else steps[-1].func.__name__)
    assert last == {".jpg", ".webp", "h264"}


def test_the_order_of_steps_varies(monkeypatch: pytest.MonkeyPatch) -> None:
    chances(monkeypatch, blur=1.0, jpeg=1.0)
    rng = np.random.default_rng(0)
    first = [draw_chain(rng).steps[0].func for _ in range(200)]
    assert 60 < first.count(degrade.blur) < 140


def test_without_variation_the_view_is_the_centred_one(
    crop: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    chances(monkeypatch)
    none = {"FLIP": 0.0, "ROTATION_DEG": 0.0, "SCALE_JITTER": (1.0, 1.0), "SHIFT": 0.0}
    for name, value in {**none, "FINAL_ENCODING": 0.0}.items():
        monkeypatch.setattr(augment, name, value)
    chains = [draw_chain(np.random.default_rng(seed)) for seed in range(20)]
    outs = {view_of(chain, crop).tobytes() for chain in chains}
    # Two interpolations are drawn from, of which the plain geometry has one.
    assert len(outs) == 2
    assert view_of(Chain(Geometry()), crop).tobytes() in outs


@pytest.mark.parametrize(
    ("size", "store_scale", "out_size", "scale"),
    [(320, 1.6, 224, 1.3), (400, 2.0, 224, 1.3), (320, 1.6, 260, 1.0)],
)
def test_the_box_has_the_promised_size(
    size: int, store_scale: float, out_size: int, scale: float
) -> None:
    box = round(size / store_scale)
    start = (size - box) // 2
    crop = np.zeros((size, size, 3), np.uint8)
    crop[start : start + box, start : start + box] = 255
    view = apply_chain(Chain(Geometry()), crop, FIVE, out_size, scale / store_scale)
    inside = (view[..., 0] > 127).sum(axis=1).max()
    assert inside == pytest.approx(out_size / scale, abs=1.5)
    # Centred to the pixel.
    np.testing.assert_allclose(view, view[::-1, ::-1], atol=2)


def test_flip_is_a_mirror(crop: Image) -> None:
    plain, flipped = (view_of(Chain(Geometry(flip=flip)), crop) for flip in (False, True))
    assert error(flipped[:, ::-1], plain) < 0.5


def test_points_follow_the_view() -> None:
    rng = np.random.default_rng(5)
    for _ in range(30):
        geometry = draw_chain(rng).geometry
        crop = np.zeros((320, 320, 3), np.uint8)
        x, y = (int(v) for v in rng.integers(120, 200, 2))
        cv2.circle(crop, (x, y), 4, (255, 255, 255), -1)
        points = np.tile(np.float32([[x, y]]), (5, 1))
        view, moved = augment._view(crop, points, geometry, 224, 1.3 / 1.6)
        weight = view[..., 0].astype(float)
        where = [(weight.sum(axis=a) * np.arange(224)).sum() / weight.sum() for a in (0, 1)]
        np.testing.assert_allclose(moved[0], where, atol=0.3)


def test_views_stay_near_the_stored_crop() -> None:
    """The jitter must rarely exceed the stored crop, or borders become a cue."""
    rng, beyond = np.random.default_rng(0), []
    inside = np.full((320, 320, 3), 255, np.uint8)
    padded = cv2.copyMakeBorder(inside, 160, 160, 160, 160, cv2.BORDER_CONSTANT)
    for _ in range(200):
        geometry = draw_chain(rng).geometry
        view, _ = augment._view(padded, FIVE, geometry, 224, 0.5 * 1.3 / 1.6)
        beyond.append((view < 128).mean())
    assert np.mean(beyond) < 0.02


@pytest.mark.parametrize("step", STEPS, ids=lambda s: s.func.__name__)
@pytest.mark.parametrize("size", [(224, 224), (97, 131)])
def test_each_step_keeps_the_shape_and_does_something(
    step: partial[Image], size: tuple[int, int], crop: Image
) -> None:
    image = cv2.resize(crop, size[::-1], interpolation=cv2.INTER_AREA)
    before = image.copy()
    out = step(image)
    assert out.shape == image.shape
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(out, step(image))
    # Visible, and still the same picture.
    assert 0.05 < error(out, image) < 40.0


@pytest.mark.parametrize("step", STEPS, ids=lambda s: s.func.__name__)
@pytest.mark.parametrize("value", [0, 255])
def test_each_step_takes_flat_pictures(step: partial[Image], value: int) -> None:
    out = step(np.full((64, 64, 3), value, np.uint8))
    assert out.shape == (64, 64, 3)


@pytest.mark.parametrize("offset", [(0, 0), (9, 6)])
@pytest.mark.parametrize("drift", [(0, 0), (2, -1), (-1, 2)])
def test_h264_keeps_the_picture_in_place(
    offset: tuple[int, int], drift: tuple[int, int], crop: Image
) -> None:
    out = degrade.h264(18, 3, drift, offset, crop)
    in_place = error(out[4:-4, 4:-4], crop[4:-4, 4:-4])
    for y, x in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        assert in_place < error(out[4:-4, 4:-4], np.roll(crop, (y, x), (0, 1))[4:-4, 4:-4])
    assert in_place < 4.0


def test_worse_settings_lose_more(crop: Image) -> None:
    def losses(make: Callable[[int], Image], values: list[int]) -> list[float]:
        return [error(make(v), crop) for v in values]

    for made in (
        losses(lambda v: degrade.h264(v, 2, (1, 0), (0, 0), crop), [18, 28, 40]),
        losses(lambda v: degrade.encode(".jpg", v, False, (0, 0), crop), [95, 60, 20]),
        losses(lambda v: degrade.encode(".webp", v, False, (0, 0), crop), [95, 60, 20]),
    ):
        assert made[0] < made[1] < made[2]


@pytest.mark.parametrize("left", [0, 3, 5])
def test_jpeg_blocks_lie_where_the_offset_puts_them(left: int, crop: Image) -> None:
    out = degrade.encode(".jpg", 20, True, (0, left), crop).astype(int)
    steps = np.abs(np.diff(out, axis=1)).mean(axis=(0, 2)) - np.abs(
        np.diff(crop.astype(int), axis=1)
    ).mean(axis=(0, 2))
    by_phase = [steps[phase::8].mean() for phase in range(8)]
    # The step between columns c and c + 1 crosses a block's edge where c + 1 + left is 8n.
    assert int(np.argmax(by_phase)) == (7 - left) % 8


def test_noise_has_the_stated_size() -> None:
    grey = np.full((224, 224, 3), 128, np.uint8)
    for coloured in (False, True):
        grain = degrade.noise(8.0, True, coloured, 1, grey).astype(float) - 128
        assert grain.std() == pytest.approx(8.0, rel=0.05)
        assert bool(np.allclose(grain[..., 0], grain[..., 1])) is not coloured


def test_grey_is_grey_and_colour_is_kept(crop: Image) -> None:
    grey = degrade.tone(0.0, 1.0, 1.0, (1.0, 1.0, 1.0), 0.0, crop)
    assert (np.ptp(grey, axis=2) == 0).all()
    np.testing.assert_array_equal(degrade.tone(0.0, 1.0, 1.0, (1.0, 1.0, 1.0), 1.0, crop), crop)
    # Channels are not swapped on the way through the codecs, which have BGR and YUV inside.
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 200
    for step in STEPS[2:7]:
        assert np.abs(step(red).mean(axis=(0, 1)) - (200, 0, 0)).max() < 12


def test_stickers_stay_off_the_features() -> None:
    rng = np.random.default_rng(0)
    blank = np.zeros((224, 224, 3), np.uint8)
    _, points = augment._view(np.zeros((320, 320, 3), np.uint8), FIVE, Geometry(), 224, 1.3 / 1.6)
    seen = 0
    for _ in range(400):
        step = augment._draw_overlay(rng)
        if step.func is degrade.sticker:
            out = step(blank, points)
            seen += bool(out.any())
            for x, y in np.rint(points).astype(int):
                assert not out[y, x].any()
    assert seen > 50


def test_missing_encoder_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    without = frozenset(av.codec.codecs_available) - {"libx264"}
    monkeypatch.setattr(av.codec, "codecs_available", without)
    with pytest.raises(TrainingError, match="libx264"):
        check_encoder()
