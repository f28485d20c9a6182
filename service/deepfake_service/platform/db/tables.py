"""The tables. Submissions and results are in sealed columns, encrypted under their case's key.

Ids, times, states, digests, sizes and the code of the verdict are in plain text, because lists are
filtered by them and deadlines depend on them. File names, URLs, scores, notes and references are
never in plain text.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from deepfake_models.bundle.results import Leaning, VerdictCode
from deepfake_service.platform.db.column_types import Moment, States
from deepfake_service.platform.db.enums import (
    CaptureState,
    Decision,
    DeliveryState,
    EditionState,
    Finding,
    JobState,
    LookResult,
    NoticeEventKind,
    NoticeState,
    Priority,
    RetentionPolicy,
    WatchState,
)

ID_CHARS = 26
DIGEST_CHARS = 64


class Base(DeclarativeBase):
    """The base of all tables. It names constraints, so that migrations can address them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Authenticated(Base):
    """A table whose rows have a code that ``row_authentication`` computes and compares."""

    __abstract__ = True

    mac: Mapped[bytes | None] = mapped_column(LargeBinary)


def _id() -> Mapped[str]:
    return mapped_column(String(ID_CHARS), primary_key=True)


class Case(Base):
    """Media that belong together, under one key. Without that key nothing can be decrypted."""

    __tablename__ = "cases"

    id: Mapped[str] = _id()
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    reference: Mapped[str | None] = mapped_column(String(DIGEST_CHARS))
    """Blind-index digest of the submitter's reference, by which the case is found."""
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Moment)
    reviewed_at: Mapped[datetime | None] = mapped_column(Moment)
    held_at: Mapped[datetime | None] = mapped_column(Moment)
    """When the legal hold was set."""
    minor_at: Mapped[datetime | None] = mapped_column(Moment)
    """When it was flagged that a person shown may be a minor."""
    minor_by: Mapped[str | None] = mapped_column(String(ID_CHARS))
    """Id of the account that set the flag."""
    reviewers: Mapped[str | None] = mapped_column(String(5 * (ID_CHARS + 1)))
    """Ids of the accounts that may review it while it is flagged, with a space between them."""
    minor_from: Mapped[str | None] = mapped_column(String(ID_CHARS))
    """Id of the case whose flag this one follows, or followed until a person removed it here;
    ``None`` if a person flagged this case."""
    expiring_at: Mapped[datetime | None] = mapped_column(Moment)
    """When it was marked to be deleted after a grace period, at the end of its retention."""

    __table_args__ = (Index("ix_cases_account_reference", "account_id", "reference"),)


class Capture(Base):
    """A page that another tool or a person recorded: files that expire, and a bundle that stays."""

    __tablename__ = "captures"

    id: Mapped[str] = _id()
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    state: Mapped[CaptureState] = mapped_column(States(CaptureState, 16), index=True)
    reason: Mapped[str | None] = mapped_column(String(32))
    """Why it was refused: a code."""
    worker: Mapped[str | None] = mapped_column(String(64))
    """Executor id of the worker that reads it; see ``capture/imports.py``."""
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    sha256: Mapped[str | None] = mapped_column(String(DIGEST_CHARS))
    """The SHA-256 of the bundle."""
    blob: Mapped[str | None] = mapped_column(String(200))
    """The bundle's name in the store; ``None`` before it is made and after it was deleted."""
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    """What was handed in with it, and what was found in it, as JSON."""
    created_at: Mapped[datetime] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    expiring_at: Mapped[datetime | None] = mapped_column(Moment)
    """When its bundle was marked to be deleted after a grace period."""


class CapturedMedium(Base):
    """A picture or a video in a capture that was chosen to be examined."""

    __tablename__ = "captured_media"

    capture_id: Mapped[str] = mapped_column(
        ForeignKey("captures.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    job_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), index=True
    )
    """``None`` until it was taken out of its file."""
    failure: Mapped[str | None] = mapped_column(String(32))
    """Why that failed: a code."""


class Media(Base):
    """A submitted file, encrypted in the blob store until it expires."""

    __tablename__ = "media"

    id: Mapped[str] = _id()
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    capture_id: Mapped[str | None] = mapped_column(
        ForeignKey("captures.id", ondelete="CASCADE"), index=True
    )
    """The capture of which it is a file. Such a file has no job; what is in it may have."""
    sha256: Mapped[str] = mapped_column(String(DIGEST_CHARS), index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Its own key, sealed under the case's key: media are encrypted before their case is known."""
    blob: Mapped[str | None] = mapped_column(String(200))
    """Its name in the store; ``None`` after it was deleted."""
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime | None] = mapped_column(Moment, index=True)
    expiring_at: Mapped[datetime | None] = mapped_column(Moment)
    """When it was marked to be deleted after a grace period."""


class Occurrence(Base):
    """Where and when a medium was seen: URL, platform, account, who collected it with what."""

    __tablename__ = "occurrences"

    id: Mapped[str] = _id()
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    media_id: Mapped[str] = mapped_column(ForeignKey("media.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(String(DIGEST_CHARS))
    """Blind-index digest of its content, so that one sent twice is recorded once."""
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Moment)
    screenshot_expired_at: Mapped[datetime | None] = mapped_column(Moment)
    """When its screenshot was deleted, or found to be missing, at the end of its retention."""

    __table_args__ = (UniqueConstraint("media_id", "digest"),)


class Job(Base):
    """One examination of one medium, and its result."""

    __tablename__ = "jobs"

    id: Mapped[str] = _id()
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    media_id: Mapped[str] = mapped_column(ForeignKey("media.id", ondelete="CASCADE"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str] = mapped_column(String(16))
    """``video`` or ``frame``."""
    state: Mapped[JobState] = mapped_column(States(JobState, 16), index=True)
    priority: Mapped[Priority] = mapped_column(States(Priority, 16))
    turn: Mapped[int | None] = mapped_column(BigInteger)
    """Its position among the waiting jobs of its priority; see ``cases/turns.py``."""
    frames: Mapped[int | None] = mapped_column(Integer)
    bundle_sha256: Mapped[str] = mapped_column(String(DIGEST_CHARS))
    retention: Mapped[RetentionPolicy] = mapped_column(States(RetentionPolicy, 16))
    stage: Mapped[str | None] = mapped_column(String(16))
    done: Mapped[int] = mapped_column(Integer, default=0)
    total: Mapped[int | None] = mapped_column(Integer)
    overview: Mapped[int | None] = mapped_column(Integer)
    """Frames of the overview, the first ones of ``total``; ``None`` until it is planned."""
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    failure: Mapped[str | None] = mapped_column(String(64))
    """A code."""
    verdict: Mapped[VerdictCode | None] = mapped_column(States(VerdictCode, 32))
    leaning: Mapped[Leaning | None] = mapped_column(States(Leaning, 32))
    """``None`` also for jobs of model bundles without edges of leaning."""
    finding: Mapped[Finding | None] = mapped_column(States(Finding, 32))
    """The outcome of reviews, which never changes the verdict."""
    result: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The whole verdict as JSON, sealed."""
    created_at: Mapped[datetime] = mapped_column(Moment)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    evidence_expired_at: Mapped[datetime | None] = mapped_column(Moment)
    """When its evidence was deleted."""
    expiring_at: Mapped[datetime | None] = mapped_column(Moment)
    """When its evidence was marked to be deleted after a grace period."""
    shown: Mapped[bool] = mapped_column(Boolean, default=False)
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
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    """Name, platform and values, as JSON."""
    thumbnail: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """A small JPEG, sealed. It is deleted with the evidence."""


class Review(Base):
    """What one person decided about one examination."""

    __tablename__ = "reviews"

    id: Mapped[str] = _id()
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    decision: Mapped[Decision] = mapped_column(States(Decision, 16))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    """The reason, as JSON."""
    created_at: Mapped[datetime] = mapped_column(Moment)


class Edition(Base):
    """One edition of a job's evidence. It is never changed; others may follow."""

    __tablename__ = "editions"

    id: Mapped[str] = _id()
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    sha256: Mapped[str] = mapped_column(String(DIGEST_CHARS), index=True)
    """The SHA-256 of the ZIP."""
    blob: Mapped[str | None] = mapped_column(String(200))
    imagery: Mapped[bool] = mapped_column(Boolean)
    """Whether it shows faces."""
    decided: Mapped[int] = mapped_column(BigInteger)
    """Number of the audit log's entry of the last decision that it contains; 0 without one."""
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (UniqueConstraint("job_id", "number"),)


class RevokedEdition(Base):
    """An edition that a newer one replaced or that was withdrawn. It outlives its case."""

    __tablename__ = "revoked_editions"

    sha256: Mapped[str] = mapped_column(String(DIGEST_CHARS), primary_key=True)
    """The SHA-256 of the ZIP."""
    state: Mapped[EditionState] = mapped_column(States(EditionState, 16))
    at: Mapped[datetime] = mapped_column(Moment)


class SigningKey(Authenticated):
    """A current or former signing key of evidence. Its private part is a ``Secret``."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(String(DIGEST_CHARS), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16))
    """``statement`` or ``report``."""
    public_pem: Mapped[str] = mapped_column(Text)
    certificate_pem: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    retired_at: Mapped[datetime | None] = mapped_column(Moment)
    """When it stopped signing."""
    revoked_at: Mapped[datetime | None] = mapped_column(Moment)
    """When trust in everything that it signed was withdrawn."""


class Upload(Base):
    """A file that arrives in parts; see ``examination/uploads.py``. Its key is not stored."""

    __tablename__ = "uploads"

    id: Mapped[str] = _id()
    """The beginning of the hash of its key."""
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    length: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)
    job_id: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), index=True
    )
    """The job that it became."""


class UploadPart(Base):
    """A stored part of an upload."""

    __tablename__ = "upload_parts"

    upload_id: Mapped[str] = mapped_column(
        ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True
    )
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """The offset of its first byte."""
    size: Mapped[int] = mapped_column(Integer)
    blob: Mapped[str] = mapped_column(String(200), unique=True)


class Delivery(Base):
    """A webhook that is sent when its job ends."""

    __tablename__ = "deliveries"

    id: Mapped[str] = _id()
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    target: Mapped[bytes] = mapped_column(LargeBinary)
    """The URL, sealed."""
    state: Mapped[DeliveryState] = mapped_column(States(DeliveryState, 16), index=True)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    due_at: Mapped[datetime] = mapped_column(Moment)
    outcome: Mapped[str | None] = mapped_column(String(64))
    occurrence_id: Mapped[str | None] = mapped_column(
        ForeignKey("occurrences.id", ondelete="CASCADE")
    )
    """The post that has returned, if the webhook is about one and not about the end of its job."""
    created_at: Mapped[datetime] = mapped_column(Moment)


class AuditEntry(Authenticated):
    """One entry of the audit log. ``hash`` covers the entry and the hash of the one before."""

    __tablename__ = "audit"

    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    at: Mapped[datetime] = mapped_column(Moment, index=True)
    account_id: Mapped[str | None] = mapped_column(String(ID_CHARS))
    key_id: Mapped[str | None] = mapped_column(String(ID_CHARS))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str | None] = mapped_column(String(ID_CHARS), index=True)
    detail: Mapped[str | None] = mapped_column(String(200))
    hash: Mapped[str] = mapped_column(String(DIGEST_CHARS))


class Secret(Base):
    """A secret of the installation, wrapped by the master key."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)


class Fact(Base):
    """Something that an installation remembers about itself, as JSON."""

    __tablename__ = "facts"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class Protection(Base):
    """Something that the restoration of an older database must not undo; see ``audit/journal``.
    ``value`` is empty after it was lifted."""

    __tablename__ = "protections"

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    subject: Mapped[str] = mapped_column(String(DIGEST_CHARS), primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    value: Mapped[str] = mapped_column(Text)


class Lease(Base):
    """A live worker. It renews its lease until it stops."""

    __tablename__ = "leases"

    executor_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Moment)
    version: Mapped[str | None] = mapped_column(String(64))
    """Which jobs it examines; see ``jobs.workflow_rows.job_version``."""
    slots: Mapped[int | None] = mapped_column(Integer)
    """How many jobs it examines at the same time."""


class Notice(Base):
    """A notice to a platform or an authority, and its outcome."""

    __tablename__ = "notices"

    id: Mapped[str] = _id()
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str] = mapped_column(String(32))
    language: Mapped[str] = mapped_column(String(8))
    state: Mapped[NoticeState] = mapped_column(States(NoticeState, 32))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    """Fields, occurrences, text and receipt, as JSON."""
    created_at: Mapped[datetime] = mapped_column(Moment)
    sent_at: Mapped[datetime | None] = mapped_column(Moment)
    due_at: Mapped[datetime | None] = mapped_column(Moment, index=True)
    """The deadline of the recipient, if there is one."""
    answered_at: Mapped[datetime | None] = mapped_column(Moment)
    withdraw_at: Mapped[datetime | None] = mapped_column(Moment)
    """When it was marked for withdrawal, because its finding was reversed."""
    gone_at: Mapped[datetime | None] = mapped_column(Moment)
    """When the looks had found the last of its posts gone; ``None`` if one is not, or returned."""
    returned_at: Mapped[datetime | None] = mapped_column(Moment)
    """When one of its posts returned, unless it is gone again."""


class NoticeEvent(Base):
    """One thing that happened to a notice. It is never changed or overwritten; others follow."""

    __tablename__ = "notice_events"

    id: Mapped[str] = _id()
    notice_id: Mapped[str] = mapped_column(ForeignKey("notices.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    """1 for the first one of its notice."""
    account_id: Mapped[str | None] = mapped_column(String(ID_CHARS))
    """``None`` if the service acted by itself."""
    kind: Mapped[NoticeEventKind] = mapped_column(States(NoticeEventKind, 16))
    state: Mapped[NoticeState] = mapped_column(States(NoticeState, 32))
    """The state of the notice after it."""
    digest: Mapped[str] = mapped_column(String(DIGEST_CHARS))
    """The SHA-256 that the audit log has; see ``notices/history.py``."""
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (UniqueConstraint("notice_id", "number"),)


class Watch(Base):
    """One post that a notice which was sent is about: when it is looked at, and what came of it."""

    __tablename__ = "watches"

    id: Mapped[str] = _id()
    notice_id: Mapped[str] = mapped_column(ForeignKey("notices.id", ondelete="CASCADE"))
    occurrence_id: Mapped[str] = mapped_column(
        ForeignKey("occurrences.id", ondelete="CASCADE"), index=True
    )
    host: Mapped[str | None] = mapped_column(String(DIGEST_CHARS))
    """Blind-index digest of the host of its URL; ``None`` without one."""
    state: Mapped[WatchState] = mapped_column(States(WatchState, 16))
    next_look_at: Mapped[datetime | None] = mapped_column(Moment, index=True)
    """``None`` if it is not looked at any more."""
    looked_at: Mapped[datetime | None] = mapped_column(Moment)
    """When the last look of the service at it began."""
    down_at: Mapped[datetime | None] = mapped_column(Moment)
    """The first look since which it was not up."""
    gone_at: Mapped[datetime | None] = mapped_column(Moment)
    """The first look that found it gone; ``None`` if that is not confirmed."""
    returned_at: Mapped[datetime | None] = mapped_column(Moment)
    """When it was found to be there again, the last time."""

    __table_args__ = (
        UniqueConstraint("notice_id", "occurrence_id"),
        Index("ix_watches_host_looked", "host", "looked_at"),
    )


class Look(Base):
    """One look at a post. It is never changed; the record in it names the one before."""

    __tablename__ = "looks"

    id: Mapped[str] = _id()
    occurrence_id: Mapped[str] = mapped_column(ForeignKey("occurrences.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    """1 for the first one at its post."""
    account_id: Mapped[str | None] = mapped_column(String(ID_CHARS))
    """The person who looked; ``None`` for the service."""
    result: Mapped[LookResult] = mapped_column(States(LookResult, 16))
    strong: Mapped[bool] = mapped_column(Boolean)
    at: Mapped[datetime] = mapped_column(Moment)
    sha256: Mapped[str] = mapped_column(String(DIGEST_CHARS))
    """Of the signed record."""
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    """The signed record, and what was kept of the page, as JSON."""

    __table_args__ = (UniqueConstraint("occurrence_id", "number"),)


class KnownHashes(Base):
    """Perceptual hashes of a confirmed medium, sealed under a key of the installation."""

    __tablename__ = "known_hashes"

    id: Mapped[str] = _id()
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    job_id: Mapped[str] = mapped_column(String(ID_CHARS), unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


class FlaggedHashes(Base):
    """Perceptual hashes of a medium in a case flagged for a possible minor. They are sealed under a
    key of the installation, and outlive the case."""

    __tablename__ = "flagged_hashes"

    id: Mapped[str] = _id()
    case_id: Mapped[str] = mapped_column(String(ID_CHARS), index=True)
    job_id: Mapped[str] = mapped_column(String(ID_CHARS), unique=True)
    digest: Mapped[str] = mapped_column(String(DIGEST_CHARS), index=True)
    """Blind-index digest of the medium's SHA-256."""
    flagged_by: Mapped[str | None] = mapped_column(String(ID_CHARS))
    """Id of the account that set the flag."""
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    compared_at: Mapped[datetime | None] = mapped_column(Moment)
    """When all earlier media had been compared with it."""
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


class Match(Base):
    """A submission that resembles the medium of an earlier case."""

    __tablename__ = "matches"

    id: Mapped[str] = _id()
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    percent: Mapped[int] = mapped_column(Integer)
    """Percentage of the submission's frames of good quality that are alike."""
    known_percent: Mapped[int] = mapped_column(Integer)
    """Percentage of the earlier medium's frames."""
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (UniqueConstraint("job_id", "case_id"),)


class Contact(Base):
    """How the organisation is named and reached."""

    __tablename__ = "contacts"

    id: Mapped[str] = _id()
    """The constant of the organisation."""
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    """Names and addresses as JSON, under a key of the installation."""
    changed_at: Mapped[datetime] = mapped_column(Moment)
