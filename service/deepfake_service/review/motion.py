"""A face with its small motions magnified.

This is linear Eulerian magnification (Wu et al., "Eulerian video magnification", ACM TOG 31(4),
2012).

People find far more manipulated videos when what flickers and trembles is exaggerated (Fosco et
al., arXiv:2206.00535). The magnification knows nothing of manipulation: authentic faces are
distorted as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_models.bundle.results import Box
from deepfake_models.faces.crops import whole_square

SIDE = 224
"""Pixels of each of the two faces."""
SCALE = 1.5
COARSE = SIDE // 4
"""Motions are magnified at this side: finer ones are noise of the coding."""
FAST_S, SLOW_S = 0.08, 0.6
"""Time constants in seconds between which changes are magnified."""
GAIN = 10.0


def aligned(pixels: NDArray[np.uint8], box: Box) -> Image.Image:
    """Return the square around a face of a frame, (H, W, 3) uint8 RGB, at ``SIDE``."""
    inner = Image.fromarray(pixels).crop(whole_square(box, SCALE))
    return inner.resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def magnified(faces: Sequence[Image.Image], times: Sequence[float]) -> list[Image.Image]:
    """Return each of the ``faces``, results of ``aligned``, beside itself with its motions
    magnified. ``times`` are in seconds."""
    shown = []
    fast = slow = np.asarray(_coarse(faces[0]), np.float32)
    before = times[0]
    for face, at in zip(faces, times, strict=True):
        now = np.asarray(_coarse(face), np.float32)
        # First-order low passes; what lies between them is the band that is magnified.
        fast = fast + (now - fast) * (1 - np.exp((before - at) / FAST_S))
        slow = slow + (now - slow) * (1 - np.exp((before - at) / SLOW_S))
        before = at
        band = np.clip((fast - slow) * GAIN + 128, 0, 255).astype(np.uint8)
        grown = Image.fromarray(band).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        moved = np.asarray(face, np.int32) + np.asarray(grown, np.int32) - 128
        pair = Image.new("RGB", (2 * SIDE, SIDE))
        pair.paste(face, (0, 0))
        pair.paste(Image.fromarray(np.clip(moved, 0, 255).astype(np.uint8)), (SIDE, 0))
        shown.append(pair)
    return shown


def _coarse(face: Image.Image) -> Image.Image:
    return face.resize((COARSE, COARSE), Image.Resampling.BOX)
