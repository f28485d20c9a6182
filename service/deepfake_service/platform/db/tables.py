"""The tables. Submissions and results are in sealed columns, encrypted under their case's key.

Ids, times, states, digests, sizes and the code of the verdict are in plain text, because lists are
filtered by them and deadlines depend on them. File names, URLs, scores, notes and references are
never in plain text.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, SmallInteger, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from deepfake_models.bundle.results import Leaning, VerdictCode
from deepfake_service.platform.db.columns import (
    ID_CHARS,
    AnyId,
    Base,
    BlobName,
    Claimable,
    Code,
    Digest,
    Id,
    OfAccount,
    OfCapture,
    OfCase,
    OfJob,
    OfPost,
    ShortCode,
)
from deepfake_service.platform.enums import (
    CaptureState,
    DeliveryState,
    JobStage,
    JobState,
    Priority,
    RetentionPolicy,
)
from deepfake_service.platform.findings import Decision, Finding


class Case(Base):
    """Media that belong together, under one key. Without that key nothing can be decrypted."""

    __tablename__ = "cases"

    id: Mapped[Id]
    account_id: Mapped[OfAccount] = mapped_column(index=True)
    wrapped_key: Mapped[bytes | None]
    reference: Mapped[Digest | None]
    """Blind-index digest of the submitter's reference, by which the case is found."""
    sealed: Mapped[bytes | None]
    created_at: Mapped[datetime]
    reviewed_at: Mapped[datetime | None]
    held_at: Mapped[datetime | None]
    """When the legal hold was set."""
    minor_at: Mapped[datetime | None]
    """When it was flagged that a person shown may be a minor."""
    minor_by: Mapped[AnyId | None]
    """Id of the account that set the flag."""
    reviewers: Mapped[str | None] = mapped_column(String(5 * (ID_CHARS + 1)))
    """Ids of the accounts that may review it while it is flagged, with a space between them."""
    minor_from: Mapped[AnyId | None]
    """Id of the case whose flag this one follows, or followed until a person removed it here;
    ``None`` if a person flagged this case."""
    expiring_at: Mapped[datetime | None]
    """When it was marked to be deleted after a grace period, at the end of its retention."""

    __table_args__ = (Index("ix_cases_account_reference", "account_id", "reference"),)


class Capture(Claimable):
    """A page that another tool or a person recorded: files that expire, and a bundle that stays."""

    __tablename__ = "captures"

    id: Mapped[Id]
    case_id: Mapped[OfCase]
    account_id: Mapped[OfAccount]
    state: Mapped[CaptureState] = mapped_column(index=True)
    reason: Mapped[ShortCode | None]
    """Why it was refused: a code."""
    sha256: Mapped[Digest | None]
    """The SHA-256 of the bundle."""
    blob: Mapped[BlobName | None]
    """The bundle's name in the store; ``None`` before it is made and after it was deleted."""
    sealed: Mapped[bytes]
    """What was handed in with it, and what was found in it, as JSON."""
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    expiring_at: Mapped[datetime | None]
    """When its bundle was marked to be deleted after a grace period."""


class CapturedMedium(Base):
    """A picture or a video in a capture that was chosen to be examined."""

    __tablename__ = "captured_media"

    capture_id: Mapped[str] = mapped_column(
        ForeignKey("captures.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[OfJob | None]
    """``None`` until it was taken out of its file."""
    failure: Mapped[ShortCode | None]
    """Why that failed: a code."""


class Media(Base):
    """A submitted file, encrypted in the blob store until it expires."""

    __tablename__ = "media"

    id: Mapped[Id]
    case_id: Mapped[OfCase]
    capture_id: Mapped[OfCapture | None]
    """The capture of which it is a file. Such a file has no job; what is in it may have."""
    sha256: Mapped[Digest] = mapped_column(index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    wrapped_key: Mapped[bytes | None]
    """Its own key, sealed under the case's key: media are encrypted before their case is known."""
    blob: Mapped[BlobName | None]
    """Its name in the store; ``None`` after it was deleted."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
    expiring_at: Mapped[datetime | None]
    """When it was marked to be deleted after a grace period."""


class Occurrence(Base):
    """Where and when a medium was seen: URL, platform, account, who collected it with what."""

    __tablename__ = "occurrences"

    id: Mapped[Id]
    case_id: Mapped[OfCase]
    media_id: Mapped[str] = mapped_column(ForeignKey("media.id", ondelete="CASCADE"))
    digest: Mapped[Digest]
    """Blind-index digest of its content, so that one sent twice is recorded once."""
    sealed: Mapped[bytes]
    created_at: Mapped[datetime]
    screenshot_expired_at: Mapped[datetime | None]
    """When its screenshot was deleted, or found to be missing, at the end of its retention."""

    __table_args__ = (UniqueConstraint("media_id", "digest"),)


class Job(Base):
    """One examination of one medium, and its result."""

    __tablename__ = "jobs"

    id: Mapped[Id]
    case_id: Mapped[OfCase]
    media_id: Mapped[str] = mapped_column(ForeignKey("media.id", ondelete="CASCADE"), index=True)
    account_id: Mapped[OfAccount]
    kind: Mapped[str] = mapped_column(String(16))
    """``video`` or ``frame``."""
    state: Mapped[JobState] = mapped_column(index=True)
    priority: Mapped[Priority]
    turn: Mapped[int | None] = mapped_column(BigInteger)
    """Its position among the waiting jobs of its priority; see ``examination/queue.py``."""
    frames: Mapped[int | None]
    around_s: Mapped[float | None]
    """The moment around which alone a video is examined, in seconds."""
    bundle_sha256: Mapped[Digest]
    retention: Mapped[RetentionPolicy]
    stage: Mapped[JobStage | None]
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int | None]
    overview: Mapped[int | None]
    """Frames of the overview, the first ones of ``total``; ``None`` until it is planned."""
    attempts: Mapped[int] = mapped_column(default=0)
    failure: Mapped[Code | None]
    """A code."""
    verdict: Mapped[VerdictCode | None]
    leaning: Mapped[Leaning | None]
    """``None`` also for jobs of model bundles without edges of leaning."""
    finding: Mapped[Finding | None]
    """The outcome of reviews, which never changes the verdict."""
    awaited_until: Mapped[datetime | None]
    """Until when its reviewers wait for something before they decide; see ``OnHold``."""
    result: Mapped[bytes | None]
    """The whole verdict as JSON, sealed."""
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    evidence_expired_at: Mapped[datetime | None]
    """When its evidence was deleted."""
    expiring_at: Mapped[datetime | None]
    """When its evidence was marked to be deleted after a grace period."""
    shown: Mapped[bool] = mapped_column(default=False)
    """Whether its evidence can show faces."""
    rank: Mapped[int | None] = mapped_column(SmallInteger)
    """The step of half a decade in which its likelihood ratio lies; see ``evidence/listings.py``.
    ``None`` without a value."""

    __table_args__ = (
        Index("ix_jobs_account_created", "account_id", "created_at", "id"),
        Index("ix_jobs_account_state", "account_id", "state", "created_at"),
        Index("ix_jobs_created", "created_at", "id"),
    )


class Listing(Base):
    """What lists show of a job."""

    __tablename__ = "listings"

    id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    sealed: Mapped[bytes]
    """Name, platform and values, as JSON."""
    thumbnail: Mapped[bytes | None] = mapped_column(deferred=True)
    """A small JPEG, sealed. It is deleted with the evidence."""


class Review(Base):
    """What one person decided about one examination."""

    __tablename__ = "reviews"

    id: Mapped[Id]
    job_id: Mapped[OfJob]
    account_id: Mapped[OfAccount]
    decision: Mapped[Decision]
    sealed: Mapped[bytes]
    """The reason, the signs and the note, and what the item waits for, as JSON."""
    created_at: Mapped[datetime]


class Edition(Base):
    """One edition of a job's evidence. It is never changed; others may follow."""

    __tablename__ = "editions"

    id: Mapped[Id]
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    number: Mapped[int]
    sha256: Mapped[Digest] = mapped_column(index=True)
    """The SHA-256 of the ZIP."""
    blob: Mapped[BlobName | None]
    imagery: Mapped[bool]
    """Whether it shows faces."""
    decided: Mapped[int] = mapped_column(BigInteger)
    """Number of the audit log's entry of the last decision that it contains; 0 without one."""
    created_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("job_id", "number"),)


class Upload(Base):
    """A file that arrives in parts; see ``examination/uploads.py``. Its key is not stored."""

    __tablename__ = "uploads"

    id: Mapped[Id]
    """The beginning of the hash of its key."""
    account_id: Mapped[OfAccount] = mapped_column(index=True)
    length: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    job_id: Mapped[OfJob | None]
    """The job that it became."""


class UploadPart(Base):
    """A stored part of an upload."""

    __tablename__ = "upload_parts"

    upload_id: Mapped[str] = mapped_column(
        ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True
    )
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """The offset of its first byte."""
    size: Mapped[int]
    blob: Mapped[BlobName] = mapped_column(unique=True)


class Delivery(Claimable):
    """A webhook that is sent when its job or its capture ends."""

    __tablename__ = "deliveries"

    id: Mapped[Id]
    job_id: Mapped[OfJob | None]
    capture_id: Mapped[OfCapture | None]
    """One of the two is set."""
    target: Mapped[bytes]
    """The URL, sealed."""
    state: Mapped[DeliveryState] = mapped_column(index=True)
    due_at: Mapped[datetime]
    outcome: Mapped[Code | None]
    occurrence_id: Mapped[OfPost | None]
    """The post that has returned, if the webhook is about one and not about the end of its job."""
    created_at: Mapped[datetime]


class KnownHashes(Base):
    """Perceptual hashes of a confirmed medium, sealed under a key of the installation."""

    __tablename__ = "known_hashes"

    id: Mapped[Id]
    case_id: Mapped[OfCase]
    job_id: Mapped[AnyId] = mapped_column(unique=True)
    sealed: Mapped[bytes]
    compared_at: Mapped[datetime | None]
    """When all earlier media had been compared with it."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class FlaggedHashes(Base):
    """Digest and perceptual hashes of a medium in a case flagged for a possible minor. The hashes
    are sealed under a key of the installation. Both outlive the case."""

    __tablename__ = "flagged_hashes"

    id: Mapped[Id]
    case_id: Mapped[AnyId] = mapped_column(index=True)
    job_id: Mapped[AnyId] = mapped_column(unique=True)
    """Id of the job, or of a medium that has none: a file of a capture."""
    digest: Mapped[Digest] = mapped_column(index=True)
    """Blind-index digest of the medium's SHA-256."""
    flagged_by: Mapped[AnyId | None]
    """Id of the account that set the flag."""
    sealed: Mapped[bytes]
    """Empty until the medium is examined: only its bytes are recognised."""
    compared_at: Mapped[datetime | None]
    """When all earlier media had been compared with it."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Match(Base):
    """A submission that resembles the medium of another case."""

    __tablename__ = "matches"

    id: Mapped[Id]
    job_id: Mapped[OfJob]
    case_id: Mapped[OfCase]
    known_job_id: Mapped[AnyId | None]
    """Id of the job in that case whose medium it resembles."""
    percent: Mapped[int]
    """Percentage of the submission's frames of good quality that are alike."""
    known_percent: Mapped[int]
    """Percentage of that medium's frames."""
    created_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("job_id", "case_id"),)
