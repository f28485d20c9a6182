"""The result of face detection."""

from __future__ import annotations

from dataclasses import dataclass

from deepfake_models.faces.resampling import Floats
from deepfake_models.results import Box


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
