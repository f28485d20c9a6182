"""Typed wrappers of OpenCV for resampling, blurring, toning and cloning, in uint8 or float32."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_training.data.landmarks import Image

Mask = NDArray[np.float32]
Field = NDArray[np.float32]
Table = NDArray[np.float64]

_NO_SECOND_MAP: Any = None


def blurred(mask: NDArray[Any], sigma: float) -> Mask:
    """Return ``mask`` blurred by a Gaussian of ``sigma`` pixels, at least 0.3; float32."""
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(sigma, 0.3)).astype(
        np.float32, copy=False
    )


def coarse_axes(size: Sequence[int], cells: int) -> tuple[Table, Table]:
    """Return the pixel centres (x, y) of a coarse grid that ``enlarged`` resamples to ``size``."""
    middle = (np.arange(cells) + 0.5) / cells
    return middle * size[1] - 0.5, middle * size[0] - 0.5


def enlarged(field: NDArray[Any], size: Sequence[int]) -> Field:
    """Resample a coarse (h, w[, c]) field to ``size`` (height, width); float32."""
    return cv2.resize(
        field.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR
    ).astype(np.float32, copy=False)


@lru_cache(maxsize=8)
def grid(size: tuple[int, int]) -> Field:
    """Return the pixel coordinates (x, y) of a picture of ``size`` (H, W): (H, W, 2) float32,
    read-only."""
    points = np.stack(np.meshgrid(np.arange(size[1]), np.arange(size[0])), -1).astype(np.float32)
    points.setflags(write=False)
    return points


def remapped(image: Image, field: Field, interpolation: int) -> Image:
    """Sample ``image`` at the coordinates ``field`` (H, W, 2), reflected at its edges; uint8."""
    return cv2.remap(
        image, field, _NO_SECOND_MAP, interpolation, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.uint8, copy=False)


def toned(image: Image, values: Table) -> Image:
    """Map each channel of ``image`` by its column of ``values`` (256, 3); uint8."""
    table = np.rint(np.clip(values, 0.0, 255.0)).astype(np.uint8).reshape(256, 1, 3)
    return cv2.LUT(image, table).astype(np.uint8, copy=False)


def converted(image: Image, code: int) -> Image:
    """Convert ``image`` to another colour space by one of OpenCV's codes; uint8."""
    return cv2.cvtColor(image, code).astype(np.uint8, copy=False)


def colours_matched(face: Image, target: Image, hull: Image, strength: float) -> Image:
    """Move mean and deviation of ``face`` in LAB to those of ``target`` inside the mask ``hull``
    (Reinhard et al. 2001); uint8. ``strength`` is in [0, 1]."""
    lab = converted(face, cv2.COLOR_RGB2LAB)
    mean, deviation = (v.ravel() for v in cv2.meanStdDev(lab, mask=hull))
    goal = cv2.meanStdDev(converted(target, cv2.COLOR_RGB2LAB), mask=hull)
    to_mean, to_deviation = (v.ravel() for v in goal)
    gain = np.clip(to_deviation / np.maximum(deviation, 1.0), 0.5, 2.0)
    ramp = np.arange(256.0)[:, None]
    matched = (ramp - mean) * gain + to_mean
    return converted(toned(lab, ramp + strength * (matched - ramp)), cv2.COLOR_LAB2RGB)


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
    return cv2.seamlessClone(face, target, inside, centre, cv2.NORMAL_CLONE).astype(
        np.uint8, copy=False
    )
