"""Cut square crops of faces, and measure faces before they are scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_models.bundle.results import Box, Face, FaceScore, Quality, Reason, ReasonCode
from deepfake_models.bundle.spec import CropSpec, DetectorSpec
from deepfake_models.faces.detection import Detection

_RESAMPLE = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# A crop may not extend beyond the picture by more than this many picture sizes: reflection would
# only repeat the same pixels.
_MAX_PAD_FRACTION = 2.0


def square(box: Box, scale: float) -> tuple[float, float, float]:
    """Return ``(x0, y0, side)`` of the square of ``scale`` times the longer side of ``box``."""
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0) * scale
    return (x0 + x1 - side) / 2.0, (y0 + y1 - side) / 2.0, side


def whole_square(box: Box, scale: float) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the ``square`` at whole pixels. It may extend beyond
    the picture."""
    x0, y0, side = square(box, scale)
    return round(x0), round(y0), round(x0 + side), round(y0 + side)


def visible_share(box: Box, width: int, height: int) -> float:
    """Return the share of the area of ``box``, 0 to 1, inside a ``width`` x ``height`` picture."""
    x0, y0, x1, y1 = box
    inside_x = max(min(x1, width) - max(x0, 0.0), 0.0)
    inside_y = max(min(y1, height) - max(y0, 0.0), 0.0)
    area = (x1 - x0) * (y1 - y0)
    return inside_x * inside_y / area if area > 0.0 else 0.0


def usable(
    faces: Sequence[Detection], picture: NDArray[np.uint8], spec: CropSpec
) -> list[Detection]:
    """Return the detections of ``picture`` that are far enough inside it to be cut."""
    height, width = picture.shape[:2]
    return [f for f in faces if visible_share(f.box, width, height) >= spec.min_visible]


def cut_views(
    picture: NDArray[np.uint8], box: Box, spec: CropSpec, turn: int = 0
) -> NDArray[np.uint8]:
    """Cut what the classifier sees of the face in ``box``: one square for each of its scales.

    The result is (S, S, 3) uint8 RGB, or (V, S, S, 3) with ``spec.further_scales``, the square of
    ``spec.scale`` first. Arguments and errors are those of ``cut``.
    """
    first = cut(picture, box, spec, turn)
    if not spec.further_scales:
        return first
    further = [
        cut(picture, box, spec.model_copy(update={"scale": scale}), turn)
        for scale in spec.further_scales
    ]
    return np.stack([first, *further])


def squares(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return all squares of a result of ``cut_views``, (V, S, S, 3), that of ``CropSpec.scale``
    first."""
    return crop if crop.ndim == 4 else crop[np.newaxis]


def cut(picture: NDArray[np.uint8], box: Box, spec: CropSpec, turn: int = 0) -> NDArray[np.uint8]:
    """Cut the square around ``box`` and resample it to ``(spec.size, spec.size, 3)`` uint8 RGB.

    ``picture`` is ``(H, W, 3)`` uint8 RGB. The square keeps its sub-pixel position, is antialiased
    when it is scaled down, and is filled by reflection outside the picture. It is then turned
    clockwise by ``turn`` degrees: 0, 90, 180 or 270. ``ValueError`` if the box is too far outside
    the picture; ``usable`` excludes such boxes.
    """
    height, width = picture.shape[:2]
    x0, y0, side = square(box, spec.scale)
    left, top = math.floor(x0) - 1, math.floor(y0) - 1
    right, bottom = math.ceil(x0 + side) + 1, math.ceil(y0 + side) + 1
    limit = _MAX_PAD_FRACTION * max(height, width)
    if min(left, top) < -limit or right > width + limit or bottom > height + limit:
        raise ValueError(f"the box {box} is too far outside a picture of {width}x{height}")
    inner = picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    pad = (
        (max(-top, 0), max(bottom - height, 0)),
        (max(-left, 0), max(right - width, 0)),
        (0, 0),
    )
    if inner.size == 0:
        raise ValueError(f"the box {box} is outside a picture of {width}x{height}")
    if any(p for side_pad in pad for p in side_pad):
        inner = np.pad(inner, pad, mode="reflect")
    region = (x0 - left, y0 - top, x0 - left + side, y0 - top + side)
    resized = Image.fromarray(np.ascontiguousarray(inner)).resize(
        (spec.size, spec.size), _RESAMPLE[spec.resample], box=region
    )
    return turned(np.asarray(resized), turn)


def outside(
    box: Box, frame: tuple[int, int], scale: float, size: int, turn: int = 0
) -> NDArray[np.bool_]:
    """Return which pixels of the square that ``cut`` returns lie outside the picture, if only in
    part, so that ``cut`` filled them by reflection: (``size``, ``size``) bool. ``frame`` is the
    picture's width and height."""
    x0, y0, side = square(box, scale)
    edges = np.arange(size + 1) * (side / size)
    across, down = (x0 + edges, y0 + edges)
    beside = (across[:-1] < 0) | (across[1:] > frame[0])
    above_or_below = (down[:-1] < 0) | (down[1:] > frame[1])
    return np.rot90(beside | above_or_below[:, np.newaxis], -turn // 90)


def turned(pixels: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Return ``pixels``, (H, W, 3), turned clockwise by ``turn`` degrees: 0, 90, 180 or 270."""
    return np.ascontiguousarray(np.rot90(pixels, -turn // 90)) if turn else pixels


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the luma of ``(H, W, 3)`` uint8 RGB by ITU-R BT.601: (H, W) float32 in [0, 255]."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return rgb.astype(np.float32) @ weights


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Return the standard deviation of the 4-neighbour Laplacian of the crop's luma.

    The measure is that of Pech-Pacheco et al. (ICPR 2000), in 8-bit levels. It is taken on the
    resampled crop, so a small face that was enlarged counts as blurred.
    """
    y = luma(crop)
    laplacian = y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:] - 4.0 * y[1:-1, 1:-1]
    return float(laplacian.std())


def blockiness(region: NDArray[np.uint8]) -> float:
    """Return the ratio of luma steps on the strongest 8-pixel grid to those elsewhere; 1.0 = none.

    ``region`` is ``(H, W, 3)`` uint8 RGB at the resolution at which it was decoded, because
    resampling removes coding blocks. The measure follows Wang, Bovik and Evans (ICIP 2000); all
    eight phases of the grid are tried, since cropping and rotation move it. Regions under 24 pixels
    a side give 1.0.
    """
    if min(region.shape[:2]) < 24:
        return 1.0
    y = luma(region)
    ratios = []
    for steps in (np.abs(np.diff(y, axis=0)).mean(axis=1), np.abs(np.diff(y, axis=1)).mean(axis=0)):
        phases = np.array([steps[p::8].mean() for p in range(8)])
        best = int(phases.argmax())
        others = float(np.delete(phases, best).mean())
        ratios.append(float(phases[best]) / others if others > 1e-3 else 1.0)
    return float(np.mean(ratios))


def measure(picture: NDArray[np.uint8], box: Box, crop: NDArray[np.uint8]) -> Quality:
    """Measure the face in ``box`` of ``picture``, as decoded, and on the ``crop`` cut from it."""
    height, width = picture.shape[:2]
    x0, y0 = max(math.floor(box[0]), 0), max(math.floor(box[1]), 0)
    x1, y1 = min(math.ceil(box[2]), width), min(math.ceil(box[3]), height)
    return Quality(
        face_px=float(box[2] - box[0]),
        sharpness=sharpness(crop),
        blockiness=blockiness(picture[y0:y1, x0:x1]),
        exposure=float(luma(crop).mean()) / 255.0,
    )


def quality_reasons(
    quality: Quality, spec: CropSpec, *, rotated: bool = False
) -> tuple[Reason, ...]:
    """Return why a face is not fit to be scored; empty where it is. ``rotated`` says that it was to
    be turned upright, and could not be."""
    reasons = []
    if rotated:
        detail = "the face is turned in the picture, and its landmarks do not say which way is up"
        reasons.append(Reason(ReasonCode.ROTATED, detail))
    if quality.face_px < spec.min_face_px:
        reasons.append(
            Reason(
                ReasonCode.FACE_TOO_SMALL,
                f"the face is {quality.face_px:.0f} px wide; "
                f"at least {spec.min_face_px} px are needed",
            )
        )
    if quality.sharpness < spec.min_sharpness:
        reasons.append(
            Reason(
                ReasonCode.FACE_TOO_BLURRED,
                f"the face's sharpness is {quality.sharpness:.1f}; "
                f"at least {spec.min_sharpness:.1f} is needed",
            )
        )
    return tuple(reasons)


@dataclass(frozen=True, slots=True)
class CroppedFace:
    """A face that is measured but not scored yet, and its crop. ``crop`` is a result of
    ``cut_views``, and ``None`` where ``face.reasons`` say why the face may not be scored."""

    face: Face
    crop: NDArray[np.uint8] | None

    def scored(self, score: FaceScore | None) -> Face:
        """Return the face with the classifier's ``score``, which is ``None`` without a crop."""
        if score is None:
            return self.face
        return replace(self.face, logit=score.logit, kind_logits=score.kind_logits)


def crop_faces(
    picture: NDArray[np.uint8],
    time_s: float,
    detections: Sequence[Detection],
    detector: DetectorSpec,
    spec: CropSpec,
) -> list[CroppedFace]:
    """Crop and measure the ``detections`` of ``picture``, (H, W, 3) uint8 RGB at ``time_s``."""
    faces = usable(detections, picture, spec)
    widest = sorted(faces, key=lambda f: f.box[0] - f.box[2])
    surplus = {id(f) for f in widest[detector.max_faces :]}
    cropped = []
    for face in faces:
        turn = face.turn or 0
        crop = cut_views(picture, face.box, spec, turn)
        quality = measure(picture, face.box, squares(crop)[0])
        reasons = quality_reasons(quality, spec, rotated=face.turn is None)
        if id(face) in surplus and not reasons:
            detail = f"only the widest {detector.max_faces} faces of a frame are judged"
            reasons = (Reason(ReasonCode.TOO_MANY_FACES, detail),)
        measured = Face(
            time_s=time_s,
            box=face.box,
            confidence=face.confidence,
            quality=quality,
            reasons=reasons,
            turn=turn,
        )
        cropped.append(CroppedFace(measured, None if reasons else crop))
    return cropped
