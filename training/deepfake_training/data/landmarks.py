"""Dense facial landmarks for training-time synthesis: MediaPipe's face landmark model.

The 468 points (Kartynnik et al. 2019, arXiv:1907.06724) of a face are located once, when data are
prepared, and stored beside the crop. The service does not use them.

Points follow MediaPipe's canonical numbering. As there, "right" and "left" are the *subject's*, so
the right eye is in the left half of an unmirrored picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_models.errors import DeepfakeError

Image = NDArray[np.uint8]
Points = NDArray[np.float32]

N_POINTS: Final = 468
MODEL_PATH: Final = Path(__file__).parent / "assets" / "face_landmark.tflite"
MIN_PRESENCE: Final = 0.5
"""Smallest probability that a face is present, from MediaPipe's graph."""

MAX_DISAGREEMENT: Final = 0.3
"""Largest mean distance between the detector's five points and the model's, relative to that
between eyes (or eyes and mouth). Beyond it the model has located something else: in measured crops,
a neighbour or a mirrored border."""

ROI_SCALE: Final = 1.5
"""Side of the model's view relative to the longer side of the landmarks, as in MediaPipe."""
FACE_OVER_POINTS: Final = 2.3
"""Distance from hairline to chin relative to that between eyes (or eyes and mouth). Only the first
view, from five points, needs it; the second is cut by the landmarks of the first."""

# From MediaPipe's face_mesh_connections, each as a closed or open path in drawing order.
FACE_OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""Clockwise in the picture, from the middle of the hairline (10) over the chin (152)."""
RIGHT_EYE: Final = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
)  # fmt: skip
LEFT_EYE: Final = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466,
)  # fmt: skip
RIGHT_BROW: Final = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
LEFT_BROW: Final = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)
NOSE: Final = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 97, 326, 327, 294, 278, 344, 440, 275,
               45, 220, 115, 48, 64)  # fmt: skip
LIPS: Final = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
)  # fmt: skip
"""The outer contour of the lips."""
JAW: Final = FACE_OVAL[7:30]
"""The oval from the subject's left temple (356) over the chin to the right one (127)."""
LOWER_JAW: Final = FACE_OVAL[9:28]
"""The oval below the cheekbones, 323 over the chin to 93."""
CHEEKS: Final = (50, 280, 205, 425, 117, 346)

HULLS: Final[dict[str, tuple[int, ...]]] = {
    "whole_face": FACE_OVAL,
    "without_forehead": JAW + RIGHT_BROW + LEFT_BROW,
    "inner_face": RIGHT_BROW + LEFT_BROW + RIGHT_EYE + LEFT_EYE + NOSE + LIPS,
    "eyes_to_mouth": RIGHT_EYE + LEFT_EYE + NOSE + LIPS + CHEEKS,
    "lower_face": (*LOWER_JAW, 1, 2, 98, 327),
    "mouth": (*LIPS, 2, 164, 18, 200),
    "eyes": RIGHT_BROW + LEFT_BROW + RIGHT_EYE + LEFT_EYE + (117, 346, 6),
}
"""Point sets whose convex hulls are the regions that manipulation tools replace.

``whole_face``: hairline to chin (whole-head swaps, reenactment); ``without_forehead``: brows to
chin (FaceSwap, DeepFaceLab's masks); ``inner_face``: brows, nose and lips; ``eyes_to_mouth``: the
same without the brows, over the cheeks; ``lower_face`` and ``mouth``: lip synchronisation;
``eyes``: gaze and blink editing.
"""

WARP_POINTS: Final = (
    *FACE_OVAL[::3], 33, 133, 159, 145, 263, 362, 386, 374, 70, 105, 107, 300, 334, 336,
    168, 195, 4, 2, 98, 327, 61, 291, 0, 17, 39, 269, 181, 405, 13, 14,
)  # fmt: skip
"""About forty well-distributed points that determine a warp between two faces."""
RIGID_POINTS: Final = (33, 133, 263, 362, 168, 6, 4, 2, 61, 291, 152)
"""Points that expression moves little, for alignment."""


def five_points(landmarks: Points) -> Points:
    """Return the points of MTCNN from dense landmarks (468, 2): float32 (5, 2), the centres of the
    eyes (left in the picture first), the tip of the nose, and the corners of the mouth."""
    right, left = (landmarks[list(eye)].mean(axis=0) for eye in (RIGHT_EYE, LEFT_EYE))
    return np.stack([right, left, landmarks[4], landmarks[61], landmarks[291]]).astype(np.float32)


def similarity(source: Points, target: Points) -> NDArray[np.float64]:
    """Return the least-squares similarity that maps one point set onto another (Umeyama 1991).

    Args:
        source: (n, 2), n >= 2, not all the same point.
        target: (n, 2).

    Returns:
        The float64 (2, 3) matrix ``[A | b]``, where A is a rotation and scale without reflection.
    """
    s = source[:, 0].astype(np.float64) + 1j * source[:, 1]
    t = target[:, 0].astype(np.float64) + 1j * target[:, 1]
    centred = s - s.mean()
    a = np.vdot(centred, t - t.mean()) / np.vdot(centred, centred).real
    b = t.mean() - a * s.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def transform(points: Points, matrix: NDArray[np.float64]) -> Points:
    """Map points (n, 2) by an affine matrix (2, 3); return float32 (n, 2)."""
    mapped: Points = (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return mapped


def shape_distance(landmarks: Points, others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much other faces differ in pose and shape after alignment by a similarity.

    Used to choose suitable donors, as Face X-ray does (Li et al. 2020, arXiv:1912.13458).

    Args:
        landmarks: (468, 2).
        others: (n, 468, 2).

    Returns:
        float32 (n,): the root mean square distance relative to the spread of ``landmarks``. 0 is
        the same shape, about 0.1 the same pose, from 0.3 another pose.
    """
    index = list(WARP_POINTS)
    target = landmarks[index].astype(np.float64) @ np.array([1.0, 1j])
    source = others[:, index].astype(np.float64) @ np.array([1.0, 1j])
    target = target - target.mean()
    source = source - source.mean(axis=1, keepdims=True)
    gain = (source.conj() @ target) / np.maximum((np.abs(source) ** 2).sum(axis=1), 1e-9)
    residual = np.abs(gain[:, None] * source - target) ** 2
    spread = max(float((np.abs(target) ** 2).mean()), 1e-9)
    distance: NDArray[np.float32] = np.sqrt(residual.mean(axis=1) / spread).astype(np.float32)
    return distance


def face_height(landmarks: Points) -> float:
    """Return the distance from hairline to chin in pixels, at least 1."""
    return max(float(np.linalg.norm(landmarks[152] - landmarks[10])), 1.0)


def hull_mask(landmarks: Points, region: str, size: Sequence[int]) -> Image:
    """Return a mask of the convex hull of a region of ``HULLS``: uint8 of ``size`` (H, W), 255
    inside."""
    mask = np.zeros((size[0], size[1]), np.uint8)
    corners = cv2.convexHull(landmarks[list(HULLS[region])])
    cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), 255)
    return mask


def box_mask(landmarks: Points, scale: float, size: Sequence[int]) -> Image:
    """Return a mask, as ``hull_mask``, of the square aligned with the eyes, as alignment templates
    cut it. Its side is ``scale`` times the longer extent of the face."""
    centre, side, angle = _view_from_landmarks(landmarks)
    half = 0.5 * scale * side / ROI_SCALE
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    mask = np.zeros((size[0], size[1]), np.uint8)
    corners = corners @ _rotation(angle).T + centre
    cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), 255)
    return mask


class DenseLandmarks:
    """MediaPipe's 468-point face landmark model, in one thread.

    An instance can neither be pickled nor shared between threads: create one per worker.

    ``DeepfakeError`` if ``ai-edge-litert``, which runs the model, is not installed: the extra
    ``training`` installs it on Linux only.
    """

    def __init__(self) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise DeepfakeError("Dense landmarks need ai-edge-litert. Install it.") from error
        self._model: Any = Interpreter(str(MODEL_PATH), num_threads=1)
        self._model.allocate_tensors()
        entry = self._model.get_input_details()[0]
        self._input: int = entry["index"]
        self._side: int = int(entry["shape"][1])
        outputs = {int(np.prod(d["shape"])): d["index"] for d in self._model.get_output_details()}
        self._points: int = outputs[N_POINTS * 3]
        self._presence: int = outputs[1]

    def __call__(self, crop: Image, points5: Points) -> Points | None:
        """Locate the landmarks of the face with the given five points.

        Args:
            crop: uint8 (H, W, 3) RGB.
            points5: float32 (5, 2), x and y in crop pixels: eyes (left in the picture first),
                nose, mouth corners.

        Returns:
            float32 (468, 2), x and y in crop pixels, possibly outside the crop; or None if there is
            no face at these points, or the model locates another one.
        """
        rough = self._locate(crop, *_view_from_five(points5))
        if rough is None:
            return None
        located = self._locate(crop, *_view_from_landmarks(rough))
        if located is None:
            return None
        distance = float(np.linalg.norm(five_points(located) - points5, axis=1).mean())
        return located if distance <= MAX_DISAGREEMENT * _unit(points5) else None

    def _locate(self, crop: Image, centre: Points, side: float, angle: float) -> Points | None:
        if not 4.0 <= side <= 8.0 * max(crop.shape[:2]):
            return None
        # OpenCV has pixel centres at integers, hence the half pixels.
        to_crop = _rotation(angle) * (side / self._side)
        offset = centre - to_crop @ np.full(2, (self._side - 1) / 2)
        matrix = np.column_stack([to_crop, offset])
        reduced = crop
        reduction = side / self._side
        if reduction > 2.0:
            # Beyond this factor, bilinear sampling without a low-pass filter aliases.
            reduced = cv2.GaussianBlur(crop, (0, 0), 0.4 * reduction).astype(np.uint8)
        view = cv2.warpAffine(
            reduced,
            matrix,
            (self._side, self._side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        self._model.set_tensor(self._input, view[None].astype(np.float32) / np.float32(255))
        self._model.invoke()
        logit = float(self._model.get_tensor(self._presence).reshape(()))
        if 1.0 / (1.0 + np.exp(-np.clip(logit, -60.0, 60.0))) < MIN_PRESENCE:
            return None
        raw: Points = self._model.get_tensor(self._points).reshape(N_POINTS, 3)[:, :2]
        located = transform(raw, matrix)
        return located if bool(np.isfinite(located).all()) else None


def _rotation(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def _view_from_five(points: Points) -> tuple[Points, float, float]:
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    centre = eyes + 0.4 * (mouth - eyes)
    return centre, ROI_SCALE * FACE_OVER_POINTS * _unit(points), _level(points[1] - points[0])


def _unit(points: Points) -> float:
    # In profile the distance between the eyes vanishes, but not that between eyes and mouth.
    across, down = points[1] - points[0], points[3:].mean(axis=0) - points[:2].mean(axis=0)
    return max(float(np.hypot(*across)), float(np.hypot(*down)))


def _view_from_landmarks(points: Points) -> tuple[Points, float, float]:
    angle = _level(points[263] - points[33])
    level = points @ _rotation(angle)
    low, high = level.min(axis=0), level.max(axis=0)
    centre = (_rotation(angle) @ ((low + high) / 2)).astype(np.float32)
    return centre, ROI_SCALE * float((high - low).max()), angle


def _level(across: Points) -> float:
    return float(np.arctan2(across[1], across[0]))
