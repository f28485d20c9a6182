"""A ``Part`` of an examination as JSON, to be kept while the rest is still to come."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from deepfake_models.decision.decide import ExaminedFrame, JudgedFace
from deepfake_models.errors import DeepfakeError
from deepfake_models.results import Quality, Reason, ReasonCode
from deepfake_models.scorer import Part


class UnreadablePart(DeepfakeError):
    """A kept part of an examination cannot be read."""


def dump_part(part: Part) -> bytes:
    """The part as JSON. Floats keep every digit: judging it again gives the same verdict."""
    content = {
        "failed": part.failed,
        "frames": [
            {
                "time_s": frame.time_s,
                "signature": [float(v) for v in frame.signature],
                "faces": [_face(face) for face in frame.faces],
            }
            for frame in part.examined
        ],
    }
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def _face(face: JudgedFace) -> dict[str, Any]:
    quality = face.quality
    return {
        "time_s": face.time_s,
        "box": list(face.box),
        "confidence": face.confidence,
        "quality": [quality.face_px, quality.sharpness, quality.blockiness, quality.exposure],
        "logit": face.logit,
        "reasons": [[str(r.code), r.detail] for r in face.reasons],
    }


def load_part(raw: bytes) -> Part:
    """The part that ``dump_part`` wrote.

    Raises:
        UnreadablePart: it did not write this.
    """
    try:
        content = json.loads(raw)
        frames = tuple(
            ExaminedFrame(
                float(frame["time_s"]),
                tuple(_loaded(face) for face in frame["faces"]),
                np.array(frame["signature"], np.float32),
            )
            for frame in content["frames"]
        )
        return Part(frames, int(content["failed"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UnreadablePart from error


def _loaded(face: dict[str, Any]) -> JudgedFace:
    x0, y0, x1, y1 = (float(v) for v in face["box"])
    return JudgedFace(
        time_s=float(face["time_s"]),
        box=(x0, y0, x1, y1),
        confidence=float(face["confidence"]),
        quality=Quality(*(float(v) for v in face["quality"])),
        logit=None if face["logit"] is None else float(face["logit"]),
        reasons=tuple(Reason(ReasonCode(code), detail) for code, detail in face["reasons"]),
    )
