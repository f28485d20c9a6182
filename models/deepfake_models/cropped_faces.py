"""Crop and measure the detected faces of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepfake_models.classifier import FaceScore
from deepfake_models.faces.crops import cut_views, first_view, measure, quality_reasons, usable
from deepfake_models.faces.detection import Detection
from deepfake_models.results import Face, Reason, ReasonCode
from deepfake_models.spec import CropSpec, DetectorSpec


@dataclass(frozen=True, slots=True)
class CroppedFace:
    """A face that is measured but not scored yet, and its crop.

    ``crop`` is a result of ``cut_views``, and ``None`` where ``face.reasons`` say why the face may
    not be scored.
    """

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
        quality = measure(picture, face.box, first_view(crop))
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
