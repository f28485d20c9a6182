"""Random augmentation by what pictures and videos undergo before they reach a detector.

A complete chain of steps is drawn first and then applied. ``draw_chain`` sees neither the picture
nor its label, so real and manipulated faces undergo the same distribution of steps, encodings
included, and both halves of a pair undergo the same chain. The five points only keep stickers off
the eyes and the mouth.

Stored crops are larger than the network's view. Rotation, flip, scale and shift are a single
resampling of the stored crop. The other steps are applied in random order: rescaling, JPEG, WebP
and H.264, blur, noise, retouching, tone, screen recording, captions and stickers; often followed by
one more encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import av
import cv2
import numpy as np

from deepfake_training.data import degradations as degrade
from deepfake_training.data.landmarks import Image, Points, transform
from deepfake_training.errors import TrainingError

Step = partial[Image]

SMOOTH: Final = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)
REDUCERS: Final = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)
ENLARGERS: Final = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
LETTERS: Final = "ABCDEFGHIKLMNOPRSTUVWXYZ abcdefghiklmnoprstuvwxyz 0123456789.,:!?@#"


FLIP: Final = 0.5
"""Probability that a view is mirrored."""
ROTATION_DEG: Final = 10.0
SCALE_JITTER: Final = (0.88, 1.14)
SHIFT: Final = 0.04
"""Largest shift along each axis, as a share of the view's side."""
MAX_STEPS: Final = 5
"""Largest number of steps, not counting the final encoding. Further ones are dropped."""
FINAL_ENCODING: Final = 0.3
"""Probability of one more JPEG, H.264 or WebP encoding after all other steps."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The part of the stored crop that becomes the network's view."""

    flip: bool = False
    angle: float = 0.0
    """Radians."""
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    """Shares of the view's side."""
    interpolation: int = cv2.INTER_CUBIC


@dataclass(frozen=True, slots=True)
class Chain:
    """All steps that are applied to a crop, drawn without seeing it."""

    geometry: Geometry
    steps: tuple[Step, ...] = ()


def check_encoder() -> None:
    """Check that this build of PyAV has x264; ``TrainingError`` if it has not."""
    if "libx264" not in av.codec.codecs_available:
        raise TrainingError("Augmentation by H.264 needs a PyAV with libx264. Install one.")


def draw_chain(rng: np.random.Generator) -> Chain:
    """Draw a chain. The number of draws from ``rng`` depends only on ``rng``."""
    steps: list[Step] = []
    for chance, draw in STEPS.values():
        if rng.random() < chance:
            steps.append(draw(rng))
    steps = [steps[i] for i in rng.permutation(len(steps))][:MAX_STEPS]
    if rng.random() < FINAL_ENCODING:
        name = str(rng.choice(("jpeg", "h264", "webp"), p=(0.6, 0.3, 0.1)))
        steps.append(STEPS[name][1](rng))
    x, y = rng.uniform(-SHIFT, SHIFT, 2)
    geometry = Geometry(
        flip=bool(rng.random() < FLIP),
        angle=float(np.deg2rad(rng.uniform(-ROTATION_DEG, ROTATION_DEG))),
        scale=float(rng.uniform(*SCALE_JITTER)),
        shift=(float(x), float(y)),
        interpolation=int(rng.choice(SMOOTH)),
    )
    return Chain(geometry, tuple(steps))


def apply_chain(chain: Chain, crop: Image, points5: Points, out_size: int, share: float) -> Image:
    """Return the augmented view of a stored crop. The same chain and crop give the same bytes.

    Args:
        chain: a result of ``draw_chain``.
        crop: uint8 (S, S, 3) RGB, centred on the face box.
        points5: float32 (5, 2) in crop pixels.
        out_size: side of the result in pixels.
        share: side of the view, before jitter, as a share of the crop's.

    Returns:
        uint8 (out_size, out_size, 3).
    """
    image, points = _view(crop, points5, chain.geometry, out_size, share)
    for step in chain.steps:
        further = (points,) if step.func is degrade.sticker else ()
        image = step(image, *further)
    return image


def _view(
    crop: Image, points: Points, geometry: Geometry, out_size: int, share: float
) -> tuple[Image, Points]:
    """Resample the view, ``share`` of the crop's side before jitter; return it and its points."""
    side = crop.shape[0] * share * geometry.scale
    zoom = side / out_size
    c, s = np.cos(geometry.angle) * zoom, np.sin(geometry.angle) * zoom
    turn = np.array([[-c if geometry.flip else c, -s], [-s if geometry.flip else s, c]])
    middle = (np.array(crop.shape[1::-1]) - 1) / 2 + np.array(geometry.shift) * side
    matrix = np.column_stack([turn, middle - turn @ np.full(2, (out_size - 1) / 2)])
    if zoom > 1.6:
        # Beyond this factor, cubic sampling without a low-pass filter aliases.
        crop = degrade.blur(0.35 * zoom, crop)
    view = cv2.warpAffine(
        crop,
        matrix,
        (out_size, out_size),
        flags=geometry.interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return view.astype(np.uint8, copy=False), transform(
        points, cv2.invertAffineTransform(matrix).astype(np.float64)
    )


def _draw_rescale(rng: np.random.Generator) -> Step:
    factor = float(np.exp(rng.uniform(*np.log((0.25, 1.0)))))
    return partial(degrade.rescale, factor, int(rng.choice(REDUCERS)), int(rng.choice(ENLARGERS)))


def _draw_screen(rng: np.random.Generator) -> Step:
    # A recorded screen: enlarged by a fractional factor, then reduced again.
    return partial(
        degrade.rescale,
        float(rng.uniform(1.1, 1.9)),
        int(rng.choice(ENLARGERS)),
        int(rng.choice(REDUCERS)),
    )


def _draw_jpeg(rng: np.random.Generator) -> Step:
    quality = int(rng.integers(20, 101))
    return partial(degrade.encode, ".jpg", quality, bool(rng.random() < 0.3), _offset(8, rng))


def _draw_webp(rng: np.random.Generator) -> Step:
    return partial(degrade.encode, ".webp", int(rng.integers(20, 96)), False, _offset(16, rng))


def _draw_h264(rng: np.random.Generator) -> Step:
    y, x = (int(v) for v in rng.integers(-2, 3, 2))
    return partial(
        degrade.h264, int(rng.integers(18, 41)), int(rng.integers(2, 4)), (y, x), _offset(16, rng)
    )


def _draw_blur(rng: np.random.Generator) -> Step:
    # The square makes weak blur, and below weak noise, the most frequent.
    return partial(degrade.blur, max(3.0 * float(rng.random()) ** 2, 0.2))


def _draw_motion_blur(rng: np.random.Generator) -> Step:
    return partial(degrade.motion_blur, int(rng.integers(3, 12)), float(rng.uniform(0.0, np.pi)))


def _draw_noise(rng: np.random.Generator) -> Step:
    sigma = max(12.0 * float(rng.random()) ** 2, 0.5)
    shot, coloured = (bool(v) for v in rng.random(2) < 0.5)
    return partial(degrade.noise, sigma, shot, coloured, int(rng.integers(2**32)))


def _draw_retouch(rng: np.random.Generator) -> Step:
    spread, share, lift = rng.uniform((12.0, 0.5, 0.0), (45.0, 1.0, 20.0))
    return partial(degrade.retouch, float(spread), float(share), float(lift))


def _draw_tone(rng: np.random.Generator) -> Step:
    b, c, g, s, *rest = (float(v) for v in 0.2 * rng.uniform(-1.0, 1.0, 7))
    red, green, blue = (1.0 + 0.5 * v for v in rest)
    return partial(degrade.tone, 0.5 * b, 1.0 + c, float(np.exp(g)), (red, green, blue), 1.0 + s)


def _draw_overlay(rng: np.random.Generator) -> Step:
    if rng.random() < 0.5:
        text = "".join(LETTERS[i] for i in rng.integers(len(LETTERS), size=rng.integers(6, 28)))
        depth, opacity = rng.uniform((0.06, 0.3), (0.14, 1.0))
        ink = int(rng.choice((0, 255)))
        return partial(
            degrade.caption, text, bool(rng.random() < 0.3), float(depth), float(opacity), ink
        )
    angle, reach, radius = rng.uniform((0.0, 0.38, 0.04), (2 * np.pi, 0.55, 0.16))
    x, y = 0.5 + reach * np.cos(angle), 0.5 + reach * np.sin(angle)
    red, green, blue = (int(v) for v in rng.integers(0, 256, 3))
    disc = bool(rng.random() < 0.6)
    return partial(degrade.sticker, (float(x), float(y)), float(radius), (red, green, blue), disc)


def _draw_grayscale(_rng: np.random.Generator) -> Step:
    return partial(degrade.tone, 0.0, 1.0, 1.0, (1.0, 1.0, 1.0), 0.0)


STEPS: Final[dict[str, tuple[float, Callable[[np.random.Generator], Step]]]] = {
    "rescale": (0.4, _draw_rescale),
    "screen": (0.06, _draw_screen),
    "jpeg": (0.45, _draw_jpeg),
    "webp": (0.05, _draw_webp),
    "h264": (0.12, _draw_h264),
    "blur": (0.2, _draw_blur),
    "motion_blur": (0.08, _draw_motion_blur),
    "noise": (0.2, _draw_noise),
    "retouch": (0.1, _draw_retouch),
    "tone": (0.6, _draw_tone),
    "overlay": (0.06, _draw_overlay),
    "grayscale": (0.04, _draw_grayscale),
}
"""Every step with its probability, independent of the others, and what draws it."""


def _offset(block: int, rng: np.random.Generator) -> tuple[int, int]:
    y, x = (int(v) for v in rng.integers(block, size=2))
    return y, x
