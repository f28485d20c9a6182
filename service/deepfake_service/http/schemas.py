"""The published form of requests and answers; OpenAPI is made from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from deepfake_models.results import Face, ReasonCode, Verdict, VerdictCode, rounded

Score = Annotated[
    float | None,
    Field(
        ge=0.0,
        le=1.0,
        description="Higher = more probably manipulated, calibrated at the bundle's prior. "
        "Null where nothing was judged.",
    ),
]
LogLikelihoodRatio = Annotated[
    float | None, Field(description="Base 10, free of the prior. Null where nothing was judged.")
]


class Published(BaseModel):
    """Base of what is answered: a field that is not declared is a fault."""

    model_config = ConfigDict(extra="forbid")


class ReasonOut(Published):
    """Why a verdict is undecided, or what limits a decided one."""

    code: ReasonCode
    detail: str


class QualityOut(Published):
    """What was measured on a face before it was judged."""

    face_px: float = Field(description="Width of the face box in pixels of the picture.")
    sharpness: float = Field(
        description="Standard deviation of the Laplacian of the crop's luma, in 8-bit levels."
    )
    blockiness: float = Field(description="1.0 = no visible compression blocks; higher = more.")
    exposure: float = Field(description="Mean luma of the crop, 0 (black) to 1 (white).")


class FaceOut(Published):
    """One face of a picture."""

    box: tuple[float, float, float, float] = Field(
        description="Half-open pixel rectangle x0, y0, x1, y1 in the displayed (rotated) picture."
    )
    confidence: float = Field(description="The face detector's, 0 to 1.")
    score: Score
    log_likelihood_ratio: LogLikelihoodRatio
    verdict: VerdictCode
    quality: QualityOut
    reasons: list[ReasonOut]


class FrameOut(Published):
    """The answer for one picture."""

    name: str = Field(description="The uploaded file's base name, printable characters only.")
    sha256: str = Field(description="Of the uploaded bytes.")
    verdict: VerdictCode
    score: Score
    log_likelihood_ratio: LogLikelihoodRatio
    reasons: list[ReasonOut]
    faces: list[FaceOut]
    job_id: str | None = Field(
        default=None, description="The job of this picture, where the request named a case."
    )


class ModelOut(Published):
    """Which model judged, and on what terms it may be used."""

    bundle: str
    version: str
    sha256: str = Field(description="Of the bundle's bundle.json: its identity.")
    terms: str


class FramesOut(Published):
    """The answer for all pictures of a request, in the order they were sent."""

    frames: list[FrameOut]
    model: ModelOut


class HealthOut(Published):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadyOut(Published):
    """The model is loaded and requests are taken."""

    status: Literal["ready"] = "ready"
    model: ModelOut


def frame_out(name: str, sha256: str, verdict: Verdict) -> FrameOut:
    """The published form of one picture's verdict."""
    return FrameOut.model_validate(
        {
            "name": name,
            "sha256": sha256,
            "verdict": verdict.verdict,
            "score": rounded(verdict.score),
            "log_likelihood_ratio": rounded(verdict.log_likelihood_ratio),
            "reasons": [r.to_json() for r in verdict.reasons],
            "faces": [_face(f) for f in verdict.faces],
        }
    )


def _face(face: Face) -> dict[str, Any]:
    published = face.to_json()
    return {name: published[name] for name in FaceOut.model_fields}
