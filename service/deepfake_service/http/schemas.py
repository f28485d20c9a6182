"""Published forms that several resources share. OpenAPI is generated from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from deepfake_models.decode.confinement import Layer
from deepfake_models.results import Face, Leaning, ReasonCode, Verdict, VerdictCode
from deepfake_models.spec import is_none

NO_STORE = {"Cache-Control": "no-store"}
"""Header of answers with content that no cache may keep."""

Id = Annotated[str, Path(max_length=26)]
Language = Literal["ko", "en"]

Score = Annotated[
    float | None,
    Field(
        ge=0.0,
        le=1.0,
        description="Higher = more probably manipulated, calibrated at the bundle's prior. "
        "Null if nothing was scored.",
    ),
]
LogLikelihoodRatio = Annotated[
    float | None,
    Field(description="Base 10, independent of the prior. Null if nothing was scored."),
]


LeaningOut = Annotated[
    Leaning | None,
    Field(
        exclude_if=is_none,
        description="Which way the value leans, by edges whose error rates are in the model bundle "
        "and in the evidence. It ranks a queue and never proves anything: more authentic media "
        "lean towards manipulated than are called so. Left out if nothing was scored, or the "
        "model bundle has no such edges.",
    ),
]
Kinds = Annotated[
    dict[str, float] | None,
    Field(
        exclude_if=is_none,
        description="Which kinds of manipulation the face resembles, as shares that sum to 1: "
        "`swap`, `reenactment`, `synthesis`, `retouching`. It does not say whether the face is "
        "manipulated. Given only where the verdict is `likely_manipulated` or the value leans "
        "towards manipulated, by a model bundle that tells kinds apart.",
    ),
]


class Published(BaseModel):
    """Base of responses. A field that is not declared is a programming error."""

    model_config = ConfigDict(extra="forbid")


class Stored(Published):
    """Base of what is stored with a result, perhaps by a newer version: it may have more fields."""

    model_config = ConfigDict(extra="ignore")


class ReasonOut(Stored):
    """Why a verdict is not a decision, or what limits it."""

    code: ReasonCode | str = Field(description="A newer version may give further codes.")
    detail: str


class QualityOut(Stored):
    """Measurements of a face, taken before it was scored."""

    face_px: float = Field(description="Width of the face box in pixels of the picture.")
    sharpness: float = Field(
        description="Standard deviation of the Laplacian of the crop's luma, in 8-bit levels."
    )
    blockiness: float = Field(description="1.0 = no visible compression blocks; higher = more.")
    exposure: float = Field(description="Mean luma of the crop, 0 (black) to 1 (white).")


class FaceOut(Stored):
    """One face of a picture."""

    box: tuple[float, float, float, float] = Field(
        description="Half-open pixel rectangle x0, y0, x1, y1 in the displayed (rotated) picture."
    )
    confidence: float = Field(description="The face detector's confidence, 0 to 1.")
    score: Score
    log_likelihood_ratio: LogLikelihoodRatio
    verdict: VerdictCode
    quality: QualityOut
    reasons: list[ReasonOut]
    leaning: LeaningOut = None


class FrameOut(Published):
    """The result of one picture."""

    name: str = Field(description="Base name of the uploaded file, printable characters only.")
    sha256: str = Field(description="SHA-256 of the uploaded bytes.")
    verdict: VerdictCode
    score: Score
    log_likelihood_ratio: LogLikelihoodRatio
    reasons: list[ReasonOut]
    faces: list[FaceOut]
    leaning: LeaningOut = None
    kinds: Kinds = None
    job_id: str | None = Field(
        default=None, description="The job of this picture, if the request named a case."
    )


class MediaOut(Stored):
    """What the container of a medium says, after rotation."""

    kind: str = Field(description="`image` or `video`.")
    width: int = Field(description="Displayed width in pixels.")
    height: int = Field(description="Displayed height in pixels.")
    duration_s: float | None
    frames: int | None
    rotation: int = Field(description="Degrees by which players rotate it.")


class MomentOut(Stored):
    """A span of time in which the faces of a track look manipulated. It decides nothing."""

    start_s: float
    end_s: float
    peak_s: float
    peak_score: float


class TrackOut(Stored):
    """One person's face over time."""

    track: int
    verdict: VerdictCode
    score: Score
    log_likelihood_ratio: LogLikelihoodRatio
    first_s: float
    last_s: float
    faces: int = Field(description="Faces found.")
    judged: int = Field(description="Faces scored.")
    moments: list[MomentOut]
    reasons: list[ReasonOut]
    leaning: LeaningOut = None
    kinds: Kinds = None


class FrameCountsOut(Stored):
    """How many frames were examined, and how many could not be."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    sampled: int = 0
    with_face: int = 0
    failed: int = 0
    longest_gap_s: float = 0.0


class TrackedFaceOut(FaceOut):
    """One face in one frame of a video or picture."""

    time_s: float
    track: int


class ResultOut(Stored):
    """The result of a job: that of `deepfake score --json --faces`, without the name of the file
    and the model."""

    # Fields that a result of an older version lacks have defaults.
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    media: MediaOut | None = None
    verdict: VerdictCode
    score: Score = None
    log_likelihood_ratio: LogLikelihoodRatio = None
    reasons: list[ReasonOut] = []
    tracks: list[TrackOut] = []
    frames: FrameCountsOut = FrameCountsOut()
    faces: list[TrackedFaceOut] = []
    leaning: LeaningOut = None
    kinds: Kinds = None


class ModelOut(Published):
    """The model that scored, and the terms of its use."""

    bundle: str
    version: str
    sha256: str = Field(description="SHA-256 of bundle.json, which identifies the bundle.")
    terms: str


class FramesOut(Published):
    """The results of all pictures of a request, in the order in which they were sent."""

    frames: list[FrameOut]
    model: ModelOut


class HealthOut(Published):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class SandboxOut(Published):
    """The sandbox in which untrusted files are parsed."""

    missing: list[Layer] = Field(
        description="Layers that the kernel or the container does not grant; empty if complete."
    )


class ReadyOut(Published):
    """The model is loaded, and requests are accepted."""

    status: Literal["ready"] = "ready"
    model: ModelOut
    sandbox: SandboxOut | None = Field(
        description="`null` if files are parsed in the process of the service itself."
    )


def frame_out(name: str, sha256: str, verdict: Verdict) -> FrameOut:
    """Return the published form of one picture's verdict."""
    published = verdict.to_json()
    result = {field: published.get(field) for field in _OF_RESULT}
    return FrameOut.model_validate(
        {"name": name, "sha256": sha256, **result, "faces": [_face(f) for f in verdict.faces]}
    )


_OF_RESULT = ("verdict", "score", "log_likelihood_ratio", "reasons", "leaning", "kinds")


def _face(face: Face) -> dict[str, Any]:
    published = face.to_json()
    return {name: published[name] for name in FaceOut.model_fields if name in published}
