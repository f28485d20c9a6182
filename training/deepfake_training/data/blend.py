"""Manipulated faces made from real ones during training: self-blended, swapped and regenerated.

All three generators take a face crop with its dense landmarks (see ``landmarks``) and return the
manipulated crop with a mask of the replaced area and the strength. Outside the mask, the result is
identical to the input: nothing is encoded, resampled or shifted there, so a network cannot
distinguish the classes by the handling of the pictures. ``augment`` adds the degradations of real
material afterwards, to both classes alike.

Sizes are shares of the face, so results do not depend on the size of the crop. All randomness comes
from the given generator, and the same state gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from deepfake_training.data.degradations import clipped, u8
from deepfake_training.data.landmarks import (
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

Mask = NDArray[np.float32]
Field = NDArray[np.float32]
Table = NDArray[np.float64]
Redraw = Callable[[Image, np.random.Generator], Image]
"""Returns a crop as a generator draws it (see ``autoencoder``)."""

BLEND_RATIOS: Final = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
"""Blend ratios of self-blended images, from the paper."""
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
"""Height of the face in the output of swap networks, whose 128 or 256 pixels contain a little more
than the face."""
P_ENHANCED: Final = 0.2
"""Share of swaps at full resolution, as from diffusion or a restoration network."""
P_REDRAWN: Final = 0.3
"""Share of swaps whose donor a generator has redrawn, where there is one."""
P_POISSON: Final = 0.12
"""Share of swaps by gradient-domain cloning, which takes several times as long as the rest."""
_RAMP: Final = np.arange(256.0)
_NO_SECOND_MAP: Any = None
_FAINTEST: Final = 1 / 255
"""Mask values below this cannot change a pixel by one grey level and are set to 0."""


def self_blended_pair(
    crop: Image, landmarks: Points, rng: np.random.Generator
) -> tuple[Image, Image, Mask]:
    """Blend a face with an altered copy of itself (Shiohara & Yamasaki 2022, arXiv:2204.08376).

    The copy differs in colour and sharpness and is slightly shifted and scaled. As in the paper,
    either it is blended into ``crop``, or ``crop`` into it; the altered picture is then the real
    one of the pair.

    Args:
        crop: uint8 (H, W, 3) RGB.
        landmarks: float32 (468, 2), x and y in crop pixels.
        rng: the source of all randomness.

    Returns:
        The real picture and the blended one, both uint8 (H, W, 3), and the mask, float32 (H, W) in
        [0, 1]: the weight of what was blended in.
    """
    altered = _altered(crop, rng)
    source, target = (altered, crop) if rng.random() < 0.5 else (crop, altered)
    return target, *_blend_with_self(source, target, landmarks, rng)


def swapped(
    crop: Image,
    landmarks: Points,
    donor: Image,
    donor_landmarks: Points,
    rng: np.random.Generator,
) -> tuple[Image, Mask]:
    """Replace the face by that of another person, as face-swapping tools do.

    The donor is reduced to the size that swap networks generate and softened, aligned by a
    similarity transform, warped by a thin-plate spline (Bookstein 1989) fully or partly to the
    target's geometry, matched in colour (mean and deviation in LAB, Reinhard et al. 2001; or
    gradients, Perez et al. 2003) and blended. A donor in a similar pose looks best (see
    ``landmarks.shape_distance``).

    Args:
        crop: uint8 (H, W, 3) RGB, the target.
        landmarks: float32 (468, 2) in pixels of ``crop``.
        donor: uint8 (H', W', 3) RGB.
        donor_landmarks: float32 (468, 2) in pixels of ``donor``.
        rng: the source of all randomness.

    Returns:
        The swapped face, uint8 (H, W, 3), and the mask, float32 (H, W): the donor's weight.
    """
    aligned = transform(
        donor_landmarks,
        similarity(donor_landmarks[list(RIGID_POINTS)], landmarks[list(RIGID_POINTS)]),
    )
    # 1 is a graphics-based swap; less preserves the donor's proportions, as identity networks do.
    fit = float(rng.choice((0.5, 0.75, 1.0)))
    shape = aligned + np.float32(fit) * (landmarks - aligned)

    generated, scale = _as_generated(donor, donor_landmarks, rng)
    warp = _warp_between(shape, scale * (donor_landmarks + 0.5) - 0.5, crop.shape[:2])
    face = _remapped(generated, warp, int(rng.choice((cv2.INTER_LINEAR, cv2.INTER_CUBIC))))

    region = _draw(rng, SWAP_REGIONS)
    hull = _region(landmarks, region, crop.shape[:2])
    both = hull & hull_mask(shape, region, crop.shape[:2])
    hull = both if both.any() else hull
    mode = rng.random()
    if mode < P_POISSON:
        face = poisson_cloned(face, crop, hull)
    elif mode < 0.9:
        face = colours_matched(face, crop, hull, strength=float(rng.choice((0.6, 0.9, 1.0, 1.0))))
    if rng.random() < 0.5:
        face = _colour_jitter(face, rng, 0.4)
    mask = _softened(hull, rng) * np.float32(rng.choice((0.85, 1.0, 1.0, 1.0)))
    return _composite(face, crop, mask)


def regenerated(
    crop: Image, landmarks: Points, rng: np.random.Generator, redraw: Redraw
) -> tuple[Image, Mask]:
    """Let a generator redraw a face: the whole crop (the mask is then 1 everywhere), an aligned box
    around the face, or a soft region of it, as in reenactment and inpainting.

    Arguments and results are otherwise those of ``self_blended_pair``.
    """
    size, extent = crop.shape[:2], rng.random()
    face = redraw(crop, rng)
    if extent > 0.5:
        return face, np.ones(size, np.float32)
    if extent > 0.35:
        mask = _softened(box_mask(landmarks, float(rng.uniform(1.1, 1.5)), size), rng)
    else:
        region = _draw(rng, {"whole_face": 0.6, "without_forehead": 0.25, "lower_face": 0.15})
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
    return _composite(u8(moved), target, mask)


def _altered(image: Image, rng: np.random.Generator) -> Image:
    image = _colour_jitter(image, rng, 1.0)
    return _coarser(image, rng) if rng.random() < 0.5 else _sharper(image, rng)


def _colour_jitter(image: Image, rng: np.random.Generator, amount: float) -> Image:
    # RGB shift and brightness-contrast have the paper's ranges. Its limits of 0.3 for hue,
    # saturation and value are below one grey level in 8-bit pictures; these are visible.
    hue, saturation, value = rng.uniform(-1.0, 1.0, 3) * (4.0, 25.0, 20.0) * amount
    # A grey pixel has no hue: more saturation would turn it red.
    hsv = np.stack([(_RAMP + hue) % 180, _RAMP + saturation * (_RAMP > 0), _RAMP + value], axis=1)
    in_hue = _toned(_converted(image, cv2.COLOR_RGB2HSV), hsv)
    contrast = 1.0 + rng.uniform(-0.1, 0.1) * amount
    brightness = rng.uniform(-0.1, 0.1) * amount
    shift = rng.uniform(-20.0, 20.0, 3) * amount * (rng.random() < 0.3)
    rgb = (_RAMP[:, None] - 127.5) * contrast + 127.5 * (1.0 + brightness) + shift
    return _toned(_converted(in_hue, cv2.COLOR_HSV2RGB), rgb)


def _coarser(image: Image, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    ratio = float(np.exp(rng.uniform(np.log(1.5), np.log(4.0))))
    small = (max(int(width / ratio), 1), max(int(height / ratio), 1))
    down = int(rng.choice((cv2.INTER_NEAREST, cv2.INTER_AREA, cv2.INTER_LINEAR)))
    up = int(rng.choice((cv2.INTER_LINEAR, cv2.INTER_CUBIC)))
    reduced = cv2.resize(image, small, interpolation=down)
    return u8(cv2.resize(reduced, (width, height), interpolation=up))


def _sharper(image: Image, rng: np.random.Generator) -> Image:
    alpha, lightness = rng.uniform(0.2, 0.5), rng.uniform(0.5, 1.0)
    kernel = np.full((3, 3), -alpha)
    kernel[1, 1] = 1.0 - alpha + alpha * (8.0 + lightness)
    return u8(cv2.filter2D(image, -1, kernel / kernel.sum()))


def _as_generated(donor: Image, landmarks: Points, rng: np.random.Generator) -> tuple[Image, float]:
    """Return the donor at the resolution of a swap network, and the scale of the resampling."""
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


def _warp_between(shape: Points, source: Points, size: Sequence[int]) -> Field:
    """Return the map for ``cv2.remap`` that moves ``source`` points to those of ``shape``."""
    cells = 32
    index = list(WARP_POINTS)
    middle = (np.arange(cells) + 0.5) / cells
    # A little smoothing, because coinciding points, as in profile, would be singular.
    spline = RBFInterpolator(shape[index], source[index], kernel="thin_plate_spline", smoothing=1.0)
    places = np.meshgrid(middle * size[1] - 0.5, middle * size[0] - 0.5)
    moved = spline(np.stack(places, axis=-1).reshape(-1, 2))
    return _enlarged(moved.reshape(cells, cells, 2), size)


def _region(landmarks: Points, region: str, size: Sequence[int]) -> Image:
    # A region beyond the crop's edge has an empty mask, which cannot be softened.
    mask = hull_mask(landmarks, region, size)
    return mask if mask.any() else hull_mask(landmarks, "whole_face", size)


def _elastic(mask: Image, rng: np.random.Generator) -> Image:
    size = mask.shape[:2]
    amplitude = rng.uniform(0.002, 0.01) * max(size)
    y, x = np.indices(size, np.float32)
    moves = _enlarged(rng.normal(0.0, amplitude, (20, 20, 2)), size)
    return _remapped(mask, np.stack([x, y], axis=-1) + moves, cv2.INTER_LINEAR)


def _softened(hull: Image, rng: np.random.Generator) -> Mask:
    """Erode the hull by a first blur and soften it by a second, by random amounts relative to the
    region."""
    _, _, w, h = cv2.boundingRect(hull)
    side = max(min(w, h), 1)
    mask = _blurred(np.where(hull > 127, 1.0, 0.0), float(rng.uniform(0.01, 0.05)) * side)
    # A Gaussian reaches 1 again about two deviations inside the edge.
    level = 0.98 if mask.max() >= 0.98 else 0.5 * float(mask.max())
    sigma = float(np.exp(rng.uniform(np.log(0.006), np.log(0.07)))) * side
    soft = _blurred(np.where(mask >= level, 1.0, 0.0), max(sigma, 0.5))
    soft /= max(float(soft.max()), _FAINTEST)
    soft[soft < _FAINTEST] = 0.0
    return soft


def _composite(source: Image, target: Image, mask: Mask) -> tuple[Image, Mask]:
    blended = cv2.blendLinear(source, target, mask, np.float32(1.0) - mask)
    return u8(blended), mask


def _draw(rng: np.random.Generator, shares: dict[str, float]) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))


def _blurred(mask: NDArray[Any], sigma: float) -> Mask:
    """Return ``mask`` blurred by a Gaussian of ``sigma`` pixels, at least 0.3; float32."""
    blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(sigma, 0.3))
    return blurred.astype(np.float32, copy=False)


def _enlarged(field: NDArray[Any], size: Sequence[int]) -> Field:
    """Resample a coarse (h, w[, c]) field to ``size`` (height, width); float32."""
    large = cv2.resize(field.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return large.astype(np.float32, copy=False)


def _remapped(image: Image, field: Field, interpolation: int) -> Image:
    """Sample ``image`` at the coordinates ``field`` (H, W, 2), reflected at its edges; uint8."""
    edge = cv2.BORDER_REFLECT_101
    return u8(cv2.remap(image, field, _NO_SECOND_MAP, interpolation, borderMode=edge))


def _toned(image: Image, values: Table) -> Image:
    """Map each channel of ``image`` by its column of ``values`` (256, 3); uint8."""
    return u8(cv2.LUT(image, clipped(values).reshape(256, 1, 3)))


def _converted(image: Image, code: int) -> Image:
    """Convert ``image`` to another colour space by one of OpenCV's codes; uint8."""
    return u8(cv2.cvtColor(image, code))


def colours_matched(face: Image, target: Image, hull: Image, strength: float) -> Image:
    """Move mean and deviation of ``face`` in LAB to those of ``target`` inside the mask ``hull``
    (Reinhard et al. 2001); uint8. ``strength`` is in [0, 1]."""
    lab = _converted(face, cv2.COLOR_RGB2LAB)
    mean, deviation = (v.ravel() for v in cv2.meanStdDev(lab, mask=hull))
    goal = cv2.meanStdDev(_converted(target, cv2.COLOR_RGB2LAB), mask=hull)
    to_mean, to_deviation = (v.ravel() for v in goal)
    gain = np.clip(to_deviation / np.maximum(deviation, 1.0), 0.5, 2.0)
    ramp = _RAMP[:, None]
    matched = (ramp - mean) * gain + to_mean
    return _converted(_toned(lab, ramp + strength * (matched - ramp)), cv2.COLOR_LAB2RGB)


def poisson_cloned(face: Image, target: Image, hull: Image) -> Image:
    """Clone the gradients of ``face`` into ``target`` inside the mask ``hull`` (Perez et al. 2003);
    uint8. Masks of less than 8 pixels are too small and leave ``face`` unchanged."""
    inside = hull.copy()
    # seamlessClone reads one pixel around the mask and rejects masks that touch the border.
    inside[:2], inside[-2:], inside[:, :2], inside[:, -2:] = 0, 0, 0, 0
    x, y, w, h = cv2.boundingRect(inside)
    if min(w, h) < 8:
        return face
    centre = (x + w // 2, y + h // 2)
    return u8(cv2.seamlessClone(face, target, inside, centre, cv2.NORMAL_CLONE))
