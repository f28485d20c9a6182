"""Pictures as the detector's networks see them: upright or turned, resampled by area."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from deepfake_models.faces.resampling import (
    Floats,
    Indices,
    area_crops,
    area_resized,
    integral_image,
)


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
        """Return height and width as seen, in pixels."""
        height, width = (side - 1 for side in self.integral.shape[1:])
        return (width, height) if self.quarters % 2 else (height, width)

    def resized(self, height: int, width: int) -> Floats:
        """Resample all of it to (3, height, width) as ``area_resized`` does."""
        size = (width, height) if self.quarters % 2 else (height, width)
        if size not in self._resized:
            self._resized[size] = area_resized(self.integral, *size)
        return np.rot90(self._resized[size], -self.quarters, (1, 2))

    def crops(self, windows: Indices, side: int) -> Floats:
        """Resample ``windows`` to (N, 3, side, side) as ``area_crops`` does.

        ``windows`` is (N, 4): half-open ``x0, y0, x1, y1`` as seen, inside the picture, none of
        them empty.
        """
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
