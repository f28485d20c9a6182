"""Published forms that several resources share. OpenAPI is generated from them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from deepfake_models.bundle.results import ReasonCode, Unexamined, VerdictCode
from deepfake_models.bundle.spec import is_none
from deepfake_models.sandbox.confinement import Layer
from deepfake_service.platform.answers import (
    EXAMPLE_ID,
    ItemId,
    LogLikelihoodRatio,
    Published,
    Score,
    Sha256,
    ValueLeaning,
)


def _id_of(item: str) -> object:
    return Path(max_length=26, description=f"Id of the {item}.", examples=[EXAMPLE_ID])


JobId = Annotated[str, _id_of("job")]
CaseId = Annotated[str, _id_of("case")]
CaptureId = Annotated[str, _id_of("capture")]
MediaId = Annotated[str, _id_of("medium, as `media_id` of its job")]
NoticeId = Annotated[str, _id_of("notice")]
OccurrenceId = Annotated[str, _id_of("occurrence")]
LookId = Annotated[str, _id_of("look")]
Language = Literal["ko", "en"]

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


Examined = Annotated[
    list[Literal["face"] | str],
    Field(
        description="What the verdict rests on: `face`; empty if no face could be judged. Whatever "
        "is not listed was not examined: `no_manipulation_found` with `face` alone says nothing "
        "of the body, the clothes and the surroundings, which may be generated. A newer version "
        "may list more.",
        examples=[["face"]],
    ),
]
VERDICT_OF_MEDIUM = (
    "The conclusion on what was `examined`. `no_manipulation_found` is not a finding of "
    "authenticity: a real face does not clear a picture."
)


class Body(BaseModel):
    """Base of what requests have in their body. A field that is not declared is refused."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    def __repr_args__(self) -> list[tuple[str | None, object]]:
        return []  # neither repr nor str: submitted text must not reach a log


class Stored(Published):
    """Base of what is stored with a result, perhaps by a newer version: it may have more fields."""

    model_config = ConfigDict(extra="ignore")


class ReasonOut(Stored):
    """Why a verdict is not a decision, or what limits it."""

    code: ReasonCode | str = Field(description="A newer version may give further codes.")
    detail: str = Field(description="The reason in English.")


Reasons = Annotated[
    list[ReasonOut], Field(description="Why the verdict is not a decision, or what limits it.")
]


class QualityOut(Stored):
    """Measurements of a face, taken before it was scored."""

    face_px: float = Field(description="Width of the face box in pixels of the picture.")
    sharpness: float
    """Standard deviation of the Laplacian of the crop's luma, in 8-bit levels."""
    blockiness: float = Field(description="1.0 = no visible compression blocks; higher = more.")
    exposure: float = Field(description="Mean luma of the crop, 0 (black) to 1 (white).")


class FaceOut(Stored):
    """One face of a picture."""

    box: tuple[float, float, float, float]
    """Half-open pixel rectangle x0, y0, x1, y1 in the displayed (rotated) picture."""
    confidence: float = Field(description="The face detector's confidence, 0 to 1.")
    score: Score
    log_likelihood_ratio: LogLikelihoodRatio
    verdict: VerdictCode = Field(description="The conclusion on this face.")
    quality: QualityOut = Field(description="Measurements of the face.")
    reasons: Reasons
    leaning: ValueLeaning = None


class FrameOut(Stored):
    """The result of one picture."""

    name: str = Field(description="Base name of the uploaded file, printable characters only.")
    sha256: Sha256 = Field(description="SHA-256 of the uploaded bytes.")
    verdict: VerdictCode = Field(description=VERDICT_OF_MEDIUM)
    examined: Examined
    score: Score
    log_likelihood_ratio: LogLikelihoodRatio
    reasons: Reasons
    faces: list[FaceOut] = Field(description="The faces that were found.")
    leaning: ValueLeaning = None
    kinds: Kinds = None
    job_id: ItemId | None = None
    """The job of this picture, if the request named a case."""


class MediaOut(Stored):
    """What the container of a medium says, after rotation."""

    kind: str = Field(description="`image` or `video`.")
    width: int = Field(description="Displayed width in pixels.")
    height: int = Field(description="Displayed height in pixels.")
    duration_s: float | None
    """Duration in seconds; null if it is not known, or the medium is a picture."""
    frames: int | None = Field(description="Number of frames; null if it is not known.")
    rotation: int = Field(description="Degrees by which players rotate it.")
    unexamined: list[Unexamined | str] | None = Field(None, exclude_if=is_none)
    """What the file holds that people may see and that was not examined. Left out if nothing was
    found. A newer version may list more."""


class MomentOut(Stored):
    """A span of time in which the faces of a track look manipulated. It decides nothing."""

    start_s: float = Field(description="Start, in seconds from the first frame.")
    end_s: float = Field(description="End, in seconds from the first frame.")
    peak_s: float
    """Time of the highest score in it, in seconds from the first frame."""
    peak_score: Score = None


class TrackOut(Stored):
    """One person's face over time."""

    track: int = Field(description="Number of the track within the medium, from 0.")
    verdict: VerdictCode = Field(description="The conclusion on this person.")
    score: Score
    log_likelihood_ratio: LogLikelihoodRatio
    first_s: float
    """When the face is first seen, in seconds from the first frame."""
    last_s: float
    """When the face is last seen, in seconds from the first frame."""
    faces: int = Field(description="Faces found.")
    judged: int = Field(description="Faces scored.")
    moments: list[MomentOut] = Field(description="Spans in which the face looks manipulated.")
    reasons: Reasons
    leaning: ValueLeaning = None
    kinds: Kinds = None


class FrameCountsOut(Stored):
    """How many frames were examined, and how many could not be."""

    sampled: int = Field(description="Frames that were to be examined, with those that failed.")
    with_face: int = Field(description="Of these, frames with a face.")
    failed: int
    """Of these, frames that could not be decoded or differ in size from the first."""
    longest_gap_s: float
    """Longest time that was not examined, in seconds."""


class TrackedFaceOut(FaceOut):
    """One face in one frame of a video or picture."""

    time_s: float = Field(description="Time of the frame, in seconds from the first one.")
    track: int = Field(description="Number of the track that the face belongs to.")


class ResultOut(Stored):
    """The result of a job: that of `deepfake score --json --faces`, without the name of the file
    and the model."""

    # ``Verdict.to_json`` has faces only where it is asked for them.
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    media: MediaOut | None
    """What the container says; null if the medium could not be opened."""
    verdict: VerdictCode = Field(description=VERDICT_OF_MEDIUM)
    examined: Examined
    score: Score
    log_likelihood_ratio: LogLikelihoodRatio
    reasons: Reasons
    tracks: list[TrackOut] = Field(description="The people whose faces were found.")
    frames: FrameCountsOut = Field(description="How many frames were examined.")
    faces: list[TrackedFaceOut] = Field([], description="The faces that were found, by frame.")
    leaning: ValueLeaning = None
    kinds: Kinds = None


class ModelOut(Published):
    """The model that scored, and the terms of its use."""

    bundle: str = Field(description="Name of the model bundle.")
    version: str = Field(description="Version of the bundle.")
    sha256: Sha256 = Field(description="SHA-256 of bundle.json, which identifies the bundle.")
    terms: str = Field(description="The terms under which it may be used.")


class FramesOut(Published):
    """The results of all pictures of a request, in the order in which they were sent."""

    frames: list[FrameOut] = Field(description="The results.")
    model: ModelOut = Field(description="The model that scored.")


class HealthOut(Published):
    """The process is alive."""

    status: Literal["ok"] = Field(default="ok", description="Always `ok`.")


class SandboxOut(Published):
    """The sandbox in which untrusted files are parsed."""

    missing: list[Layer]
    """Layers that the kernel or the container does not grant; empty if complete."""


class ReadyOut(Published):
    """The model is loaded, and requests are accepted."""

    status: Literal["ready"] = Field(default="ready", description="Always `ready`.")
    model: ModelOut = Field(description="The model that scores.")
    not_for_use: list[str] = Field(examples=[[]])
    """Why the thresholds of the model decide nothing, by the rates that were measured at them;
    empty for a model that is fit for use."""
    accepts_submissions: bool
    """False while the disk of the data directory is nearly full: submissions and exports then get
    503, and everything else is answered."""
    epoch_keys: bool
    """Whether keys of deleted cases are destroyed by epoch keys. If not, copies of them on disks
    and in backups of the database can be unwrapped with the master key."""
    sandbox: SandboxOut | None
    """`null` if files are parsed in the process of the service itself."""
