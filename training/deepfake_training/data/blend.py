"""Manipulated faces made from real ones while training: self-blended, swapped, regenerated.

Three generators of one form: they take a face crop with its dense landmarks (see ``landmarks``)
and return the manipulated crop with a mask of what was replaced and how strongly. Outside the mask
the result is the input, bit for bit: nothing is encoded, resampled or shifted there, so a network
cannot tell the classes by how the pictures were handled. What a real video goes through is added
afterwards, to both classes alike, by ``augment``.

Sizes below are stated as shares of the face, so that results do not depend on the crop's size.
All randomness comes from the generator given; the same state gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from deepfake_training.data.cv_ops import (
    Field,
    Mask,
    blurred,
    coarse_axes,
    converted,
    enlarged,
    grid,
    remapped,
    toned,
)
from deepfake_training.data.landmarks import (
    LEFT_EYE,
    LIPS,
    N_POINTS,
    RIGHT_EYE,
    RIGID_POINTS,
    WARP_POINTS,
    Image,
    Points,
    box_mask,
    face_height,
    hull_mask,
    similarity,
    transform,
)

BLEND_RATIOS: Final = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
"""Of self-blended images, from the paper."""
SELF_BLEND_REGIONS: Final = {
    "whole_face": 0.25,
    "without_forehead": 0.2,
    "inner_face": 0.2,
    "eyes_to_mouth": 0.1,
    "lower_face": 0.13,
    "mouth": 0.07,
    "eyes": 0.05,
}
SWAP_REGIONS: Final = {
    "whole_face": 0.35,
    "without_forehead": 0.4,
    "inner_face": 0.15,
    "eyes_to_mouth": 0.1,
}
GENERATED_FACE_PX: Final = (64.0, 160.0)
"""Height of the face in what swap networks put out: those of 128 and 256 pixels show a little
more than the face."""
P_ENHANCED: Final = 0.2
"""Swaps not reduced in resolution: diffusion, or a restorer behind the swap network."""
P_POISSON: Final = 0.12
"""Gradient-domain cloning costs several times all else here."""
_RAMP: Final = np.arange(256.0)
_FAINTEST: Final = 1 / 255
"""Mask values below this cannot change a pixel by a grey level and are made 0."""


def self_blended(crop: Image, landmarks: Points, rng: np.random.Generator) -> tuple[Image, Mask]:
    """A face blended with an altered copy of itself (Shiohara & Yamasaki 2022, arXiv:2204.08376).

    The copy (source) differs in colour and in sharpness and is shifted and scaled a little; the
    picture it is put into (target) stays as it is. ``self_blended_pair`` alters either, as the
    paper does.

    Args:
        crop: uint8 (H, W, 3) RGB.
        landmarks: float32 (468, 2), x and y in crop pixels.
        rng: the source of all randomness.

    Returns:
        uint8 (H, W, 3) and the float32 (H, W) mask in [0, 1]: the source's weight.

    Raises:
        ValueError: wrong shape or type, or landmarks outside the crop.
    """
    _check(crop, landmarks)
    return _blend_with_self(_altered(crop, rng), crop, landmarks, rng)


def self_blended_pair(
    crop: Image, landmarks: Points, rng: np.random.Generator
) -> tuple[Image, Image, Mask]:
    """The paper's pair: with equal chance the source or the target is altered.

    Where the target is altered its blend is as well, so the altered target, not ``crop``, is the
    real picture that belongs to it.

    Returns:
        The real picture, the blended one (both uint8 (H, W, 3)) and the mask, as
        ``self_blended``; raises as that does.
    """
    _check(crop, landmarks)
    altered = _altered(crop, rng)
    source, target = (altered, crop) if rng.random() < 0.5 else (crop, altered)
    blended, mask = _blend_with_self(source, target, landmarks, rng)
    return target, blended, mask


def swapped(
    crop: Image,
    landmarks: Points,
    donor: Image,
    donor_landmarks: Points,
    rng: np.random.Generator,
) -> tuple[Image, Mask]:
    """Another person's face put onto this one, as face-swapping tools do.

    The donor is reduced to the size that swap networks generate and softened, aligned by a
    similarity, warped by a thin-plate spline (Bookstein 1989) wholly or partly to the target's
    geometry, matched in colour (mean and deviation in LAB, Reinhard et al. 2001; or gradients,
    Perez et al. 2003) and blended. A donor of similar pose looks best: see
    ``landmarks.shape_distance``.

    Args:
        crop: uint8 (H, W, 3) RGB, the target.
        landmarks: float32 (468, 2) in pixels of ``crop``.
        donor: uint8 (H', W', 3) RGB.
        donor_landmarks: float32 (468, 2) in pixels of ``donor``.
        rng: the source of all randomness.

    Returns:
        The swapped face and the mask, as ``self_blended``; raises as that does.
    """
    _check(crop, landmarks)
    _check(donor, donor_landmarks)
    aligned = transform(
        donor_landmarks,
        similarity(donor_landmarks[list(RIGID_POINTS)], landmarks[list(RIGID_POINTS)]),
    )
    # 1 is a graphics-based swap; less keeps the donor's proportions, as identity networks do.
    fit = float(rng.choice((0.5, 0.75, 1.0)))
    shape = aligned + np.float32(fit) * (landmarks - aligned)

    generated, scale = _as_generated(donor, donor_landmarks, rng)
    warp = _warp_between(shape, scale * (donor_landmarks + 0.5) - 0.5, crop.shape[:2])
    face = remapped(generated, warp, _pick(rng, cv2.INTER_LINEAR, cv2.INTER_CUBIC))

    region = _draw(rng, SWAP_REGIONS)
    hull = _region(landmarks, region, crop.shape[:2])
    both = hull & hull_mask(shape, region, crop.shape[:2])
    hull = both if both.any() else hull
    mode = rng.random()
    if mode < P_POISSON:
        face = _poisson(face, crop, hull)
    elif mode < 0.9:
        face = _matched(face, crop, hull, strength=float(rng.choice((0.6, 0.9, 1.0, 1.0))))
    if rng.random() < 0.5:
        face = _colour_jitter(face, rng, 0.4)
    mask = _softened(hull, rng) * np.float32(rng.choice((0.85, 1.0, 1.0, 1.0)))
    return _composite(face, crop, mask)


def smoothed_regeneration(
    crop: Image, landmarks: Points, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """The same person's face as if it had passed through a generator. A heuristic, from no paper.

    For reenactment, lip-sync and diffusion video, whose faces have no seam: mouth and eyes are
    warped locally; then detail is lost in a down-up pass with edge-preserving smoothing, and
    gained back from upsampling, sometimes by an uneven transposed convolution, whose periodic
    traces are those of arXiv:1907.06515 (Zhang et al. 2019). It replaces a soft region of the
    face, an aligned box around it, or, seldom, the whole crop (then the mask is 1 throughout).

    ``augment`` smooths and rescales real pictures too, so much of this is a weak cue by intent;
    it should be a small share of the manipulated samples beside real generators' output.

    Args and returns: as ``self_blended``, which see for what is raised.
    """
    _check(crop, landmarks)
    size = crop.shape[:2]
    extent = rng.random()
    moved = grid((size[0], size[1])) + _expression_shift(landmarks, size, rng)
    face = remapped(crop, moved, cv2.INTER_CUBIC)
    face = _regenerated(face, landmarks, rng, traces=extent > 0.9 or rng.random() < 0.4)
    face = toned(face, _RAMP[:, None] + rng.normal(0.0, 3.0, 3))
    if extent > 0.9:
        return face, np.ones(size, np.float32)
    if extent > 0.6:
        mask = _softened(box_mask(landmarks, float(rng.uniform(1.1, 1.5)), size), rng)
    else:
        region = _draw(rng, {"whole_face": 0.5, "without_forehead": 0.3, "lower_face": 0.2})
        mask = _softened(_region(landmarks, region, size), rng)
    return _composite(face, crop, mask)


def _blend_with_self(
    source: Image, target: Image, landmarks: Points, rng: np.random.Generator
) -> tuple[Image, Mask]:
    height, width = size = target.shape[:2]
    gain = rng.uniform(0.95, 1 / 0.95)
    shift = rng.uniform((-0.03, -0.015), (0.03, 0.015)) * (width, height)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    move = np.column_stack([gain * np.eye(2), (1 - gain) * centre + shift])
    moved = cv2.warpAffine(
        source, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    hull = _region(transform(landmarks, move), _draw(rng, SELF_BLEND_REGIONS), size)
    mask = _softened(_elastic(hull, rng), rng) * np.float32(rng.choice(BLEND_RATIOS))
    return _composite(moved.astype(np.uint8, copy=False), target, mask)


def _altered(image: Image, rng: np.random.Generator) -> Image:
    image = _colour_jitter(image, rng, 1.0)
    return _coarser(image, rng) if rng.random() < 0.5 else _sharper(image, rng)


def _colour_jitter(image: Image, rng: np.random.Generator, amount: float) -> Image:
    # RGB shift and brightness-contrast have the paper's ranges. Its hue-saturation-value limits
    # of 0.3 are below one grey level in the 8-bit pictures they are given to; these are visible.
    hue, saturation, value = rng.uniform(-1.0, 1.0, 3) * (4.0, 25.0, 20.0) * amount
    # A grey pixel has no hue: raising its saturation would paint it red.
    hsv = np.stack([(_RAMP + hue) % 180, _RAMP + saturation * (_RAMP > 0), _RAMP + value], axis=1)
    in_hue = toned(converted(image, cv2.COLOR_RGB2HSV), hsv)
    contrast = 1.0 + rng.uniform(-0.1, 0.1) * amount
    brightness = rng.uniform(-0.1, 0.1) * amount
    shift = rng.uniform(-20.0, 20.0, 3) * amount * (rng.random() < 0.3)
    rgb = (_RAMP[:, None] - 127.5) * contrast + 127.5 * (1.0 + brightness) + shift
    return toned(converted(in_hue, cv2.COLOR_HSV2RGB), rgb)


def _coarser(image: Image, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    ratio = float(np.exp(rng.uniform(np.log(1.5), np.log(4.0))))
    small = (max(int(width / ratio), 1), max(int(height / ratio), 1))
    down = _pick(rng, cv2.INTER_NEAREST, cv2.INTER_AREA, cv2.INTER_LINEAR)
    up = _pick(rng, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
    return cv2.resize(
        cv2.resize(image, small, interpolation=down), (width, height), interpolation=up
    ).astype(np.uint8, copy=False)


def _sharper(image: Image, rng: np.random.Generator) -> Image:
    alpha, lightness = rng.uniform(0.2, 0.5), rng.uniform(0.5, 1.0)
    kernel = np.full((3, 3), -alpha)
    kernel[1, 1] = 1.0 - alpha + alpha * (8.0 + lightness)
    return cv2.filter2D(image, -1, kernel / kernel.sum()).astype(np.uint8, copy=False)


def _as_generated(donor: Image, landmarks: Points, rng: np.random.Generator) -> tuple[Image, float]:
    """The donor at the resolution of a swap network, and the scale from donor pixels to its."""
    if rng.random() < P_ENHANCED:
        return (_sharper(donor, rng) if rng.random() < 0.5 else donor), 1.0
    height, width = donor.shape[:2]
    scale = min(float(rng.uniform(*GENERATED_FACE_PX)) / face_height(landmarks), 1.0)
    small = (max(round(width * scale), 2), max(round(height * scale), 2))
    out = cv2.resize(donor, small, interpolation=cv2.INTER_AREA)
    blur = rng.uniform(0.0, 0.9)
    if blur > 0.3:
        out = cv2.GaussianBlur(out, (0, 0), blur)
    return out.astype(np.uint8), small[0] / width


def _regenerated(
    image: Image, landmarks: Points, rng: np.random.Generator, *, traces: bool
) -> Image:
    height, width = image.shape[:2]
    wanted = float(np.exp(rng.uniform(*np.log(GENERATED_FACE_PX))))
    scale = min(wanted / face_height(landmarks), 1.0)
    small = (max(round(width * scale), 4), max(round(height * scale), 4))
    work = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    spread = rng.uniform(8.0, 35.0)
    work = cv2.bilateralFilter(work, 5, spread, 2.0)
    if traces:
        # Transposed convolution: zeros between the pixels, then an imperfect 4 x 4 kernel.
        half = cv2.resize(work, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
        sparse = np.zeros((2 * half.shape[0], 2 * half.shape[1], 3), np.uint8)
        sparse[::2, ::2] = half
        kernel = np.outer((1, 3, 3, 1), (1, 3, 3, 1)) * (1 + rng.normal(0.0, 0.04, (4, 4)))
        work = cv2.filter2D(sparse, -1, 4 * kernel / kernel.sum())
    first, second = (
        cv2.resize(work, (width, height), interpolation=i)
        for i in (cv2.INTER_LINEAR, _pick(rng, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4))
    )
    share = float(rng.uniform(0.0, 1.0))
    return cv2.addWeighted(first, share, second, 1.0 - share, 0.0).astype(np.uint8, copy=False)


def _expression_shift(landmarks: Points, size: Sequence[int], rng: np.random.Generator) -> Field:
    """Where each pixel is taken from, relative to itself, when mouth and eyes move a little."""
    cells = 64
    x, y = coarse_axes(size, cells)
    field = np.zeros((cells, cells, 2))
    blink = rng.uniform(-0.2, 0.2)
    for part, stretch in ((LIPS, rng.uniform(-0.2, 0.2)), (RIGHT_EYE, blink), (LEFT_EYE, blink)):
        points = landmarks[list(part)]
        reach = max(0.5 * float(np.ptp(points, axis=0).max()), 1.0)
        dx, dy = x[None, :] - points[:, 0].mean(), y[:, None] - points[:, 1].mean()
        near = np.exp(-(dx**2 + dy**2) / (2 * reach**2))
        drift = rng.normal(0.0, 0.03, 2) * reach
        field[..., 0] += near * (0.3 * stretch * dx + drift[0])
        field[..., 1] += near * (stretch * dy + drift[1])
    return enlarged(field, size)


def _warp_between(shape: Points, source: Points, size: Sequence[int]) -> Field:
    """The map, for ``cv2.remap``, that brings ``source`` points to where ``shape`` has them."""
    cells = 32
    index = list(WARP_POINTS)
    x, y = coarse_axes(size, cells)
    # A trace of smoothing keeps coinciding points, as in profile, from being singular.
    spline = RBFInterpolator(shape[index], source[index], kernel="thin_plate_spline", smoothing=1.0)
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return enlarged(spline(places).reshape(cells, cells, 2), size)


def _matched(face: Image, target: Image, hull: Image, strength: float) -> Image:
    lab = converted(face, cv2.COLOR_RGB2LAB)
    mean, deviation = (v.ravel() for v in cv2.meanStdDev(lab, mask=hull))
    goal = cv2.meanStdDev(converted(target, cv2.COLOR_RGB2LAB), mask=hull)
    to_mean, to_deviation = (v.ravel() for v in goal)
    gain = np.clip(to_deviation / np.maximum(deviation, 1.0), 0.5, 2.0)
    ramp = _RAMP[:, None]
    wanted = (ramp - mean) * gain + to_mean
    return converted(toned(lab, ramp + strength * (wanted - ramp)), cv2.COLOR_LAB2RGB)


def _poisson(face: Image, target: Image, hull: Image) -> Image:
    inside = hull.copy()
    # seamlessClone reads one pixel around the mask and refuses one that touches the border.
    inside[:2], inside[-2:], inside[:, :2], inside[:, -2:] = 0, 0, 0, 0
    x, y, w, h = cv2.boundingRect(inside)
    if min(w, h) < 8:
        return face
    centre = (x + w // 2, y + h // 2)
    return cv2.seamlessClone(face, target, inside, centre, cv2.NORMAL_CLONE).astype(
        np.uint8, copy=False
    )


def _region(landmarks: Points, region: str, size: Sequence[int]) -> Image:
    # A region beyond the crop's edge has no mask to soften.
    mask = hull_mask(landmarks, region, size)
    return mask if mask.any() else hull_mask(landmarks, "whole_face", size)


def _elastic(mask: Image, rng: np.random.Generator) -> Image:
    height, width = mask.shape[:2]
    amplitude = rng.uniform(0.002, 0.01) * max(height, width)
    field = enlarged(rng.normal(0.0, amplitude, (20, 20, 2)), (height, width))
    return remapped(mask, grid((height, width)) + field, cv2.INTER_LINEAR)


def _softened(hull: Image, rng: np.random.Generator) -> Mask:
    """Erode by a first blur, then blur again, by random amounts in proportion to the region."""
    _, _, w, h = cv2.boundingRect(hull)
    side = max(min(w, h), 1)
    mask = blurred(np.where(hull > 127, 1.0, 0.0), float(rng.uniform(0.01, 0.05)) * side)
    # A Gaussian reaches 1 again about two deviations inside the edge.
    level = 0.98 if mask.max() >= 0.98 else 0.5 * float(mask.max())
    sigma = float(np.exp(rng.uniform(np.log(0.006), np.log(0.07)))) * side
    soft = blurred(np.where(mask >= level, 1.0, 0.0), max(sigma, 0.5))
    soft /= max(float(soft.max()), _FAINTEST)
    soft[soft < _FAINTEST] = 0.0
    return soft


def _composite(source: Image, target: Image, mask: Mask) -> tuple[Image, Mask]:
    blended = cv2.blendLinear(source, target, mask, np.float32(1.0) - mask)
    return blended.astype(np.uint8, copy=False), mask


def _pick(rng: np.random.Generator, *choices: int) -> int:
    return choices[int(rng.integers(len(choices)))]


def _draw(rng: np.random.Generator, shares: dict[str, float]) -> str:
    names = list(shares)
    bounds = np.cumsum(list(shares.values()))
    place = int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))
    return names[min(place, len(names) - 1)]


def _check(crop: Image, landmarks: Points) -> None:
    if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3 or min(crop.shape[:2]) < 16:
        raise ValueError("a crop is uint8 (H, W, 3) of at least 16 pixels a side")
    if landmarks.shape != (N_POINTS, 2) or not np.isfinite(landmarks).all():
        raise ValueError("dense landmarks are (468, 2) and finite")
    inside = ((landmarks >= 0) & (landmarks < (crop.shape[1], crop.shape[0]))).all(axis=1)
    if inside.mean() < 0.5:
        raise ValueError("the landmarks lie outside the crop")
