"""What is read of jobs and cases, as the API answers with it and pages and tables show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Literal

from pydantic import ConfigDict, Field

from deepfake_models.bundle.results import ReasonCode, VerdictCode, input_at_fault
from deepfake_service.cases.posts import Post
from deepfake_service.evidence.bundle.signs import SignCode
from deepfake_service.evidence.listings import ListEntry
from deepfake_service.platform.answers import (
    ItemId,
    LogLikelihoodRatio,
    Published,
    Score,
    Sha256,
    Time,
    ValueLeaning,
)
from deepfake_service.platform.clock import Day
from deepfake_service.platform.enums import JobState, Priority, RetentionPolicy
from deepfake_service.platform.findings import Finding
from deepfake_service.platform.texts.fields import Text


class Progress(Published):
    """The progress of an examination, in frames."""

    stage: str | None
    """`overview`, `dense` (around suspect moments), then `evidence`. `awaiting_model`: the job was
    begun, and no worker that runs now has its model bundle and version."""
    done: int = Field(description="Frames that have been examined, in all stages so far.")
    total: int | None
    """Frames that have been planned so far; null until that is known. It grows once, when suspect
    moments are to be examined closely."""
    overview: int | None
    """How many of the frames belong to the overview, which come first; null until that is known."""
    remaining_s: int | None
    """About how many seconds the frames planned so far still take, at the rate of those that are
    finished; null until that is known. A close look may follow the overview unless `frames` was
    asked for."""


class PlainJob(Published):
    """A job without its result."""

    id: ItemId = Field(description="Id of the job.")
    kind: Literal["video", "frame"]
    """The address that it was submitted to: `video` for `POST /v1/videos`, `frame` for `POST
    /v1/frames`. Evidence records it. It does not say what the file is: a picture that was sent to
    `/v1/videos` is examined as a picture; see `media_kind`."""
    state: JobState
    """What has become of the job. `failed` means that the service failed; media that cannot be
    examined succeed with the verdict `unable_to_evaluate`. `cancelled` is a job that is being
    deleted, which no answer shows."""
    sha256: Sha256 = Field(description="SHA-256 of the submitted bytes.")
    size: int = Field(description="Number of submitted bytes.")
    case_id: ItemId = Field(description="Id of the case that it belongs to.")
    media_id: ItemId = Field(description="Id of the submitted file within the case.")
    priority: Priority = Field(description="Its priority in the queue.")
    frames: int | None = Field(description="How many frames were asked for; null: as needed.")
    around_s: float | None
    """The moment of a video around which alone it is examined, ten seconds long, with at most
    `frames`; null: all of it is."""
    retention: RetentionPolicy
    """How long the media are retained after the verdict."""
    progress: Progress = Field(description="How far the examination has come.")
    verdict: VerdictCode | None
    """The conclusion of the model on what was `examined`, the faces; null until the job has
    succeeded. Whether to act on it is for the `finding`."""
    leaning: ValueLeaning
    finding: Finding | None = Field(description="The decision of the reviewers, if there is one.")
    reviewers_disagree: bool
    """Whether the finding is `undecided` because one reviewer confirmed and another rejected. False
    if a reviewer left it undecided."""
    failure: str | None
    """If the service failed: the name of the error, which its log explains. Other versions may give
    other names. Submit the file again to have it examined once more."""
    bundle_sha256: str = Field(description="Identifies the model bundle.")
    created_at: Time = Field(description="When it was submitted.")
    started_at: Time | None = Field(description="When its examination began; null while it waits.")
    finished_at: Time | None = Field(description="When it ended; null until then.")
    media_expires_at: Time | None
    """When its media are deleted; null if that is not known yet, or they are already deleted."""
    media_kept: bool = Field(description="Whether the media are still stored.")


class ScoredJob(PlainJob):
    """A job with the values of its result, but without the rest of it."""

    media_kind: Literal["image", "video"] | None
    """What the file is by its content, as the console shows it; null until it was examined, and if
    it could not be read."""
    score: Score
    log_likelihood_ratio: LogLikelihoodRatio


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRequest:
    """Who asked for a legal hold."""

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    asked_by: Text | None = None
    """The authority or person."""
    file_number: Text | None = None
    """Their file number."""
    asked_on: Day | None = None
    """The day on which they asked."""

    def stored(self) -> dict[str, str | None]:
        """Return it as JSON."""
        return {**asdict(self), "asked_on": self.asked_on and self.asked_on.isoformat()}


class PlainCase(Published):
    """A case without its content."""

    id: ItemId = Field(description="Id of the case.")
    case_reference: str | None
    """Your reference of the case; null if none was given."""
    created_at: Time = Field(description="When the case was opened.")
    legal_hold: bool = Field(description="Whether its media are retained until the hold is lifted.")
    hold: HoldRequest | None = Field(description="Who asked for the hold, if that was recorded.")
    minor: bool = Field(description="Whether a person shown may be a minor.")
    reviewed_at: Time | None
    """When its last item was reviewed; null if an item has not been."""


class FoundItems(Published):
    """Items by their finding. Those that await a second person are not counted."""

    confirmed: int = Field(description="Confirmed as manipulated.")
    body_generated: int = Field(description="Confirmed that body or surroundings are generated.")
    rejected: int = Field(description="Found not to be manipulated.")
    undecided: int = Field(description="Left undecided, or the reviewers disagree.")


class SignCount(Published):
    """How often a sign was stated."""

    code: SignCode = Field(description="The sign.")
    items: FoundItems = Field(description="The items of which a reviewer stated it.")


class SignSummary(Published):
    """How often signs were stated, by the last decision of each reviewer in a period."""

    start: date = Field(description="The first day.")
    end: date = Field(description="The last day, which is in it.")
    items: FoundItems = Field(description="All items with a decision in it.")
    signs: list[SignCount] = Field(description="The signs, in the order of the form.")


class WholeCase(PlainCase):
    """A case: what was submitted under one reference, and where it was seen."""

    occurrences: list[Post] = Field(description="The newest ones, at most 100.")
    occurrences_next: str | None
    """Cursor of `GET /v1/cases/{case_id}/occurrences` for older occurrences; null if there are
    none."""
    jobs: list[PlainJob] = Field(description="The newest ones, at most 100.")
    jobs_next: str | None
    """Cursor of `GET /v1/jobs?case_id=` for older jobs; null if there are none."""


class Item(PlainJob):
    """A job as lists show it, with what is opened for that by the key of its case."""

    case: PlainCase
    entry: ListEntry
    name: str
    """The name of its file, or the first digits of its SHA-256."""
    posts: int
    """Places where the file was seen."""
    reasons: list[ReasonCode | str]
    """Codes of why it could not be evaluated."""
    thumbnail: bool
    """Whether a thumbnail may be shown."""

    @property
    def unreadable(self) -> bool:
        """Whether the file itself is why it could not be evaluated."""
        return any(map(input_at_fault, self.reasons))
