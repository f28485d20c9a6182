"""What a face detector is given and what it returns: views of pictures, and detections.

Pictures are scaled and resampled by area, as the networks of the detector expect it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_models.bundle.results import Box

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Detection:
    """One detected face, in pixels of the picture that was given to the detector."""

    box: Box
    """``(x0, y0, x1, y1)``, never empty; may extend beyond the picture's edges."""
    landmarks: Floats
    """(5, 2) float32: x and y of left eye, right eye, nose, left and right corner of the mouth,
    where left is the picture's left."""
    confidence: float
    """The third network's probability of a face, in [0, 1]."""
    turn: int | None = 0
    """Degrees by which its crop is to be turned clockwise: 0, 90, 180 or 270. ``None``: the
    specification asks for upright faces, but which way is up could not be determined."""


def scaled_to_each(
    picture: NDArray[np.uint8], long_sides: Sequence[int]
) -> list[NDArray[np.uint8]]:
    """Return ``picture`` (HWC RGB) scaled down so that its longer side is at most each of
    ``long_sides``.

    The results are antialiased (Pillow's bilinear filter, with a support scaled to the reduction)
    and never larger than ``picture``. No side becomes shorter than one pixel. A large picture is
    converted for Pillow once, which takes as long as scaling it.
    """
    height, width = picture.shape[:2]
    image: Image.Image | None = None
    results = []
    for long_side in long_sides:
        ratio = long_side / max(height, width)
        if ratio >= 1:
            results.append(picture)
            continue
        image = image or Image.fromarray(np.ascontiguousarray(picture))
        size = max(1, round(width * ratio)), max(1, round(height * ratio))
        # With a gap Pillow averages whole blocks first: several times faster on large frames.
        small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        results.append(np.asarray(small))
    return results


def integral_image(picture: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the summed-area table (Crow 1984) of ``picture`` (H, W, 3) as (3, H + 1, W + 1). Sums
    wrap around at 2**32; differences over any rectangle under 16 megapixels are exact."""
    height, width, channels = picture.shape
    table = np.zeros((channels, height + 1, width + 1), np.uint32)
    inner = table[:, 1:, 1:]
    inner[:] = picture.transpose(2, 0, 1)
    # Adding whole rows takes a third of the time of np.cumsum along the columns.
    for row in range(1, height):
        inner[:, row] += inner[:, row - 1]
    np.cumsum(inner, axis=2, out=inner)
    return table


def area_resized(integral: NDArray[np.uint32], height: int, width: int) -> Floats:
    """Resample a whole picture to (3, height, width) float32 by area, and normalise it.

    Each output pixel is the unweighted mean of all input pixels that it touches (the "area"
    interpolation of torch, which is adaptive average pooling), then ``(x - 127.5) / 128``.
    """
    top, bottom = _spans(np.array(0), np.array(integral.shape[1] - 1), height)
    left, right = _spans(np.array(0), np.array(integral.shape[2] - 1), width)
    bands = integral.take(bottom, axis=1) - integral.take(top, axis=1)
    sums = bands.take(right, axis=2) - bands.take(left, axis=2)
    return _normalised(sums, (bottom - top)[:, None] * (right - left))


def area_crops(integral: NDArray[np.uint32], windows: Indices, side: int) -> Floats:
    """Resample ``windows`` of one picture to (N, 3, side, side) as ``area_resized`` does.
    ``windows`` is (N, 4): half-open ``x0, y0, x1, y1`` inside the picture, none of them empty."""
    x0, y0, x1, y1 = windows.T
    top, bottom = (rows[:, :, None] * integral.shape[2] for rows in _spans(y0, y1, side))
    left, right = (columns[:, None, :] for columns in _spans(x0, x1, side))
    flat = integral.reshape(len(integral), -1)
    sums = flat.take(bottom + right, axis=1)
    sums -= flat.take(top + right, axis=1)
    sums -= flat.take(bottom + left, axis=1)
    sums += flat.take(top + left, axis=1)
    counts = (bottom - top) // integral.shape[2] * (right - left)
    return _normalised(sums, counts).swapaxes(0, 1)


def _spans(start: Indices, stop: Indices, count: int) -> tuple[Indices, Indices]:
    """Return the half-open spans of pixels in ``start:stop`` that ``count`` output pixels touch.

    Both arrays are (..., count). Neighbouring spans overlap by one pixel where the division leaves
    a remainder.
    """
    step = np.arange(count)
    length = (stop - start)[..., None]
    first = start[..., None] + step * length // count
    last = start[..., None] - (-(step + 1) * length // count)
    return first, last


def _normalised(sums: NDArray[np.uint32], counts: Indices) -> Floats:
    pixels = sums.astype(np.float32)
    pixels *= (1 / (counts * 128.0)).astype(np.float32)
    pixels -= np.float32(127.5 / 128)
    return pixels


@dataclass(frozen=True, slots=True)
class View:
    """A picture of the cascade, seen upright or by quarter turns.

    Turned views of one picture share its summed-area table. Resampling by area commutes with
    quarter turns to the last bit, so what a turned view shows is turned after it is resampled,
    where it is small.
    """

    integral: NDArray[np.uint32]
    """Summed-area table of the upright picture, (3, H + 1, W + 1)."""
    quarters: int = 0
    """Quarter turns by which the picture is seen turned clockwise, 0 to 3."""
    _resized: dict[tuple[int, int], Floats] = field(default_factory=dict)
    """What views of this picture resampled, by height and width."""

    @classmethod
    def of(cls, picture: NDArray[np.uint8]) -> Self:
        """Return the upright view of ``picture``, (H, W, 3) uint8 RGB with at least one pixel."""
        return cls(integral_image(picture))

    def turned(self, quarters: int) -> Self:
        """Return the view of the picture by that many quarter turns clockwise of this one."""
        return replace(self, quarters=(self.quarters + quarters) % 4)

    @property
    def size(self) -> tuple[int, int]:
        height, width = (side - 1 for side in self.integral.shape[1:])
        return (width, height) if self.quarters % 2 else (height, width)

    def resized(self, height: int, width: int) -> Floats:
        """Resample all of it to (3, height, width) as ``area_resized`` does."""
        size = (width, height) if self.quarters % 2 else (height, width)
        if size not in self._resized:
            self._resized[size] = area_resized(self.integral, *size)
        return np.rot90(self._resized[size], -self.quarters, (1, 2))

    def crops(self, windows: Indices, side: int) -> Floats:
        """Resample ``windows`` to (N, 3, side, side) as ``area_crops`` does. ``windows`` is (N, 4):
        half-open ``x0, y0, x1, y1`` as seen, inside the picture, none of them empty."""
        x0, y0, x1, y1 = windows.T
        height, width = self.size
        upright = (
            (x0, y0, x1, y1),
            (y0, width - x1, y1, width - x0),
            (width - x1, height - y1, width - x0, height - y0),
            (height - y1, x0, height - y0, x1),
        )[self.quarters]
        pixels = area_crops(self.integral, np.stack(upright, axis=1), side)
        return np.rot90(pixels, -self.quarters, (2, 3))
