"""A verdict's faces with every digit, so that whoever has the model's specs can judge them again.

The published form of a verdict is rounded. This one is what it was computed from: the logits, boxes
and measurements of all faces, and which track each is of.
"""

from __future__ import annotations

from typing import Any

from deepfake_models.bundle import BundleSpec
from deepfake_models.decision.decide import judge_again
from deepfake_models.errors import DeepfakeError
from deepfake_models.results import (
    FaceScore,
    FrameCounts,
    MediaFacts,
    Quality,
    Reason,
    ReasonCode,
    Verdict,
    VerdictCode,
)


class UnreadableRecord(DeepfakeError):
    """What should state a verdict's faces cannot be read."""


def dump_exact(verdict: Verdict) -> dict[str, Any]:
    """``media``, ``frames`` and ``faces`` of a verdict as JSON data that loses nothing."""
    facts, counts = verdict.media, verdict.frames
    return {
        "media": facts and {name: getattr(facts, name) for name in MediaFacts.__slots__},
        "frames": {name: getattr(counts, name) for name in FrameCounts.__slots__},
        "faces": [_face(face) for face in verdict.faces],
    }


def _face(face: FaceScore) -> dict[str, Any]:
    q = face.quality
    return {
        "time_s": face.time_s,
        "track": face.track,
        "box": list(face.box),
        "confidence": face.confidence,
        "quality": {
            "face_px": q.face_px,
            "sharpness": q.sharpness,
            "blockiness": q.blockiness,
            "exposure": q.exposure,
        },
        "logit": face.logit,
        # Of a face that was judged, every reason follows from judging it.
        "reasons": [r.to_json() for r in face.reasons] if face.logit is None else [],
    }


def load_exact(record: dict[str, Any]) -> Verdict:
    """What ``dump_exact`` stated, not judged yet.

    Raises:
        UnreadableRecord: it did not state this.
    """
    try:
        return Verdict(
            VerdictCode.NOT_APPLICABLE,
            media=MediaFacts(**record["media"]) if record["media"] else None,
            frames=FrameCounts(**record["frames"]),
            faces=tuple(_loaded(face) for face in record["faces"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableRecord from error


def _loaded(face: dict[str, Any]) -> FaceScore:
    x0, y0, x1, y1 = (float(v) for v in face["box"])
    logit = face["logit"]
    return FaceScore(
        time_s=float(face["time_s"]),
        track=int(face["track"]),
        box=(x0, y0, x1, y1),
        confidence=float(face["confidence"]),
        quality=Quality(**{name: float(value) for name, value in face["quality"].items()}),
        verdict=VerdictCode.UNABLE_TO_EVALUATE,
        logit=None if logit is None else float(logit),
        reasons=tuple(Reason(ReasonCode(r["code"]), r["detail"]) for r in face["reasons"]),
    )


def judged_exact(record: dict[str, Any], spec: BundleSpec) -> Verdict | None:
    """The verdict that follows from the faces of ``record`` by ``spec``.

    ``None`` where there is no face to judge: the verdict then rests on decoding alone.

    Raises:
        UnreadableRecord: see ``load_exact``.
    """
    stated = load_exact(record)
    if stated.media is None or not stated.faces:
        return None
    return judge_again(stated, spec)
