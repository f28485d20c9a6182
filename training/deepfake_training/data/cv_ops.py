"""Resampling, blurring and toning with OpenCV, typed and in uint8 or float32 throughout."""

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
    """A Gaussian blur of ``sigma`` pixels, at least 0.3; float32."""
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(sigma, 0.3)).astype(
        np.float32, copy=False
    )


def coarse_axes(size: Sequence[int], cells: int) -> tuple[Table, Table]:
    """Pixel centres (x, y) of a coarse picture that cv2.resize would enlarge to ``size``."""
    middle = (np.arange(cells) + 0.5) / cells
    return middle * size[1] - 0.5, middle * size[0] - 0.5


def enlarged(field: NDArray[Any], size: Sequence[int]) -> Field:
    """A coarse (h, w[, c]) field resampled to ``size`` (height, width); float32."""
    return cv2.resize(
        field.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR
    ).astype(np.float32, copy=False)


@lru_cache(maxsize=8)
def grid(size: tuple[int, int]) -> Field:
    """The pixel coordinates (x, y) of a picture of ``size``: (H, W, 2) float32, read-only."""
    points = np.stack(np.meshgrid(np.arange(size[1]), np.arange(size[0])), -1).astype(np.float32)
    points.setflags(write=False)
    return points


def remapped(image: Image, field: Field, interpolation: int) -> Image:
    """``image`` sampled at ``field`` (H, W, 2), reflected at its edges; uint8."""
    return cv2.remap(
        image, field, _NO_SECOND_MAP, interpolation, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.uint8, copy=False)


def toned(image: Image, values: Table) -> Image:
    """Map each channel by its column of (256, 3) values."""
    table = np.rint(np.clip(values, 0.0, 255.0)).astype(np.uint8).reshape(256, 1, 3)
    return cv2.LUT(image, table).astype(np.uint8, copy=False)


def converted(image: Image, code: int) -> Image:
    """``image`` in another of OpenCV's colour spaces; uint8."""
    return cv2.cvtColor(image, code).astype(np.uint8, copy=False)
