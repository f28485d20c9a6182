"""How much a face, its edge and its surroundings change from frame to frame once motion is taken
out. Nothing here scores a face: peaks are places for a person to look at.

Both frames are seen through one square around the face. Each block of the later one is compared
with the best-matching place near it in the earlier one (exhaustive block matching), so that what
moves or is moved by the camera changes little, and what flickers changes a lot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from deepfake_models.bundle.results import Box
from deepfake_models.faces.crops import whole_square
from deepfake_service.platform.answers import Published

SCALE = 2.0
"""Side of the square, in longer sides of the face."""
SIDE = 96
"""Side of the square in pixels, in which changes are measured: the face is 48 pixels wide."""
BLOCK = 6
REACH = 3
"""Pixels by which a block is moved to find its match: a sixteenth of the face from one frame to the
next."""


def patch(pixels: NDArray[np.uint8], box: Box) -> NDArray[np.int16]:
    """Return the square of ``SCALE`` around ``box`` of a frame, (H, W, 3) uint8 RGB, resampled to
    (``SIDE``, ``SIDE``, 3). Outside the frame it is black."""
    inner = Image.fromarray(pixels).crop(whole_square(box, SCALE))
    return np.asarray(inner.resize((SIDE, SIDE), Image.Resampling.BOX), np.int16)


def unmatched(before: NDArray[np.int16], after: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return how far each block of ``after`` is from its best match in ``before``, two results of
    ``patch``: the mean absolute difference of 8-bit RGB, (SIDE / BLOCK, SIDE / BLOCK)."""
    count = SIDE // BLOCK
    padded = np.pad(before, ((REACH, REACH), (REACH, REACH), (0, 0)), mode="edge")
    best = np.full((count, count), np.inf, np.float32)
    for down in range(2 * REACH + 1):
        for across in range(2 * REACH + 1):
            moved = padded[down : down + SIDE, across : across + SIDE]
            apart = np.abs(after - moved).reshape(count, BLOCK, count, BLOCK * 3)
            np.minimum(best, apart.mean(axis=(1, 3), dtype=np.float32), out=best)
    return best


_CENTRE = (np.arange(SIDE // BLOCK) + 0.5) * BLOCK - SIDE / 2
_OFF_CENTRE = np.hypot(_CENTRE[:, np.newaxis], _CENTRE) / (SIDE / SCALE / 2)
"""How far the centre of each block is from that of the face, in half sides of the face's box."""
_REGIONS = (_OFF_CENTRE < 0.8, (_OFF_CENTRE >= 0.8) & (_OFF_CENTRE < 1.3), _OFF_CENTRE >= 1.3)
"""The inside of a face, its edge, and what is around it."""
Region = Literal["inside", "edge"]
UNUSUAL = 6.0
"""Deviations from the median, by the median absolute deviation, from which a change is a peak."""
RISES_ALONE = 1.5
"""How much further it has risen above what is usual than the change of the surroundings has."""
SMALLEST_SPREAD, SMALLEST_USUAL = 0.15, 0.5
"""In levels of 8-bit RGB: below them, changes are rounding of the coding."""
MAX_PEAKS = 8


class Peak(Published):
    """A moment at which a face changed and its surroundings did not."""

    time_s: float = Field(description="When the changed frame is shown, in seconds.")
    region: Region = Field(description="Where it changed: inside the face, or along its edge.")


def region_changes(apart: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return the change of the inside of a face, of its edge and of what is around it, from a
    result of ``unmatched``: in each, the mean of the tenth of blocks that changed most."""
    inside, edge, around = (
        float(np.sort(apart[region])[-(int(region.sum()) // 10) :].mean()) for region in _REGIONS
    )
    return inside, edge, around


def peaks_of(times: Sequence[float], changes: NDArray[np.float64]) -> list[Peak]:
    """Return the moments at which the face or its edge changed far more than it usually does and
    its surroundings did not, largest first. ``changes`` are those of the inside, the edge and the
    surroundings at ``times``, (3, n).

    A cut and a key frame of the coding change all three. Peaks are no sign of manipulation by
    themselves: docs/research/changes-over-time.csv has how often they are in authentic clips.
    """
    usual = np.median(changes, axis=1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(changes - usual), axis=1, keepdims=True)  # as a deviation
    unusual = (changes - usual) / np.maximum(spread, SMALLEST_SPREAD)
    risen = changes / np.maximum(usual, SMALLEST_USUAL)
    alone = risen[:2] > RISES_ALONE * np.maximum(risen[2], 1.0)
    heights = np.where(alone & (unusual[:2] > UNUSUAL), unusual[:2], 0.0)
    highest = np.argsort(-heights.max(axis=0))[:MAX_PEAKS]
    return [
        Peak(time_s=times[n], region="inside" if heights[0, n] >= heights[1, n] else "edge")
        for n in highest.tolist()
        if heights[:, n].max() > 0.0
    ]
