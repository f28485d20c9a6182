"""The tables. What was submitted and what was found is in ``sealed`` columns, under the case's key.

In plain text are ids, times, states, digests, sizes and the verdict's code: what queues are
filtered and media expire by. No file name, URL, score, note or reference is.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from deepfake_models.results import VerdictCode
from deepfake_service.db.enums import (
    Decision,
    DeliveryState,
    Finding,
    JobState,
    NoticeState,
    Priority,
    RetentionPolicy,
    Role,
)

ID_CHARS = 26
DIGEST_CHARS = 64


class Moment(TypeDecorator[datetime]):
    """A time in UTC. SQLite has no time zones: what is read back is in UTC again."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can address it in any database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def _id() -> Mapped[str]:
    return mapped_column(String(ID_CHARS), primary_key=True)


def _states(kind: type[StrEnum], length: int) -> Enum:
    """Return the type of a column of states: their strings, in a VARCHAR of ``length``.

    The database does not constrain the values, so that a new state needs no migration.
    """
    return Enum(
        kind, native_enum=False, length=length, values_callable=lambda states: [*map(str, states)]
    )


class Account(Base):
    """A person or a system. Cases and keys are an account's."""

    __tablename__ = "accounts"

    id: Mapped[str] = _id()
    name: Mapped[str] = mapped_column(String(200), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    """``person`` or ``system``."""
    role: Mapped[Role] = mapped_column(_states(Role, 16))
    created_at: Mapped[datetime] = mapped_column(Moment)
    disabled_at: Mapped[datetime | None] = mapped_column(Moment)


class Key(Base):
    """A key of an account; its secret's hash alone."""

    __tablename__ = "keys"

    id: Mapped[str] = _id()
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    sha256: Mapped[str] = mapped_column(String(DIGEST_CHARS))
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    revoked_at: Mapped[datetime | None] = mapped_column(Moment)


class SignIn(Base):
    """A browser in which somebody signed in with a key."""

    __tablename__ = "sign_ins"

    id: Mapped[str] = mapped_column(String(DIGEST_CHARS), primary_key=True)
    """Hash of the cookie."""
    key_id: Mapped[str] = mapped_column(ForeignKey("keys.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


class Case(Base):
    """What belongs together, with one key. Without its wrapped key nothing of it can be read."""

    __tablename__ = "cases"

    id: Mapped[str] = _id()
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    reference: Mapped[str | None] = mapped_column(String(DIGEST_CHARS))
    """Keyed digest of the submitter's reference: to be found by, not to be read."""
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Moment)
    reviewed_at: Mapped[datetime | None] = mapped_column(Moment)
    held_at: Mapped[datetime | None] = mapped_column(Moment)
    """Since when a legal hold keeps its media."""
    minor_at: Mapped[datetime | None] = mapped_column(Moment)
    """Since when somebody who is shown is taken for a minor."""
    minor_by: Mapped[str | None] = mapped_column(String(ID_CHARS))
    """Id of the account that said so."""

    __table_args__ = (Index("ix_cases_account_reference", "account_id", "reference"),)


class Media(Base):
    """A submitted file: sealed in the blob store until it expires."""

    __tablename__ = "media"

    id: Mapped[str] = _id()
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    sha256: Mapped[str] = mapped_column(String(DIGEST_CHARS), index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Its key, sealed under its case's: it is sealed before it is known which case it is of."""
    blob: Mapped[str | None] = mapped_column(String(200))
    """Its name in the store; none once it was deleted."""
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime | None] = mapped_column(Moment, index=True)


class Occurrence(Base):
    """Where and when a medium was seen: URL, platform, account, who collected it with what."""

    __tablename__ = "occurrences"

    id: Mapped[str] = _id()
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    media_id: Mapped[str] = mapped_column(ForeignKey("media.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(String(DIGEST_CHARS))
    """Keyed digest of its content: the same occurrence sent twice is one."""
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (UniqueConstraint("media_id", "digest"),)


class Job(Base):
    """One examination of one medium, and what came of it."""

    __tablename__ = "jobs"

    id: Mapped[str] = _id()
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    media_id: Mapped[str] = mapped_column(ForeignKey("media.id", ondelete="CASCADE"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str] = mapped_column(String(16))
    """``video`` or ``frame``."""
    state: Mapped[JobState] = mapped_column(_states(JobState, 16), index=True)
    priority: Mapped[Priority] = mapped_column(_states(Priority, 16))
    frames: Mapped[int | None] = mapped_column(Integer)
    bundle_sha256: Mapped[str] = mapped_column(String(DIGEST_CHARS))
    retention: Mapped[RetentionPolicy] = mapped_column(_states(RetentionPolicy, 16))
    stage: Mapped[str | None] = mapped_column(String(16))
    done: Mapped[int] = mapped_column(Integer, default=0)
    total: Mapped[int | None] = mapped_column(Integer)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    failure: Mapped[str | None] = mapped_column(String(64))
    """A code of ours."""
    verdict: Mapped[VerdictCode | None] = mapped_column(_states(VerdictCode, 32))
    finding: Mapped[Finding | None] = mapped_column(_states(Finding, 32))
    """What people found, which never changes the verdict."""
    result: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed: the whole verdict as JSON."""
    created_at: Mapped[datetime] = mapped_column(Moment)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    evidence_expired_at: Mapped[datetime | None] = mapped_column(Moment)
    """Since when its evidence is deleted."""
    shown: Mapped[bool] = mapped_column(Boolean, default=False)
    """Whether faces were gathered for its evidence."""

    __table_args__ = (
        Index("ix_jobs_account_created", "account_id", "created_at", "id"),
        Index("ix_jobs_account_state", "account_id", "state", "created_at"),
        Index("ix_jobs_created", "created_at", "id"),
    )


class Review(Base):
    """What one person decided about one examination."""

    __tablename__ = "reviews"

    id: Mapped[str] = _id()
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    decision: Mapped[Decision] = mapped_column(_states(Decision, 16))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    """The reason."""
    created_at: Mapped[datetime] = mapped_column(Moment)


class Edition(Base):
    """One edition of a job's evidence: never changed, followed by others."""

    __tablename__ = "editions"

    id: Mapped[str] = _id()
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    sha256: Mapped[str] = mapped_column(String(DIGEST_CHARS), index=True)
    """Of the bundle."""
    blob: Mapped[str | None] = mapped_column(String(200))
    imagery: Mapped[bool] = mapped_column(Boolean)
    """Whether faces are shown in it."""
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (UniqueConstraint("job_id", "number"),)


class SigningKey(Base):
    """A key that evidence is signed with, or was; its private part is a ``Secret``."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(String(DIGEST_CHARS), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16))
    """``statement`` or ``report``."""
    public_pem: Mapped[str] = mapped_column(Text)
    certificate_pem: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    retired_at: Mapped[datetime | None] = mapped_column(Moment)
    """Since when it signs no more."""
    revoked_at: Mapped[datetime | None] = mapped_column(Moment)
    """Since when nothing that it signed is trusted: somebody else may have it."""


class Notice(Base):
    """A notice to a platform or an authority, and what came of it."""

    __tablename__ = "notices"

    id: Mapped[str] = _id()
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"))
    kind: Mapped[str] = mapped_column(String(32))
    language: Mapped[str] = mapped_column(String(8))
    state: Mapped[NoticeState] = mapped_column(_states(NoticeState, 32))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    """Fields, occurrences, receipt."""
    created_at: Mapped[datetime] = mapped_column(Moment)
    sent_at: Mapped[datetime | None] = mapped_column(Moment)
    due_at: Mapped[datetime | None] = mapped_column(Moment, index=True)
    """When the recipient ought to have acted; none once it is over."""
    answered_at: Mapped[datetime | None] = mapped_column(Moment)
    withdraw_at: Mapped[datetime | None] = mapped_column(Moment)
    """Since when it rests on a finding that was reversed."""


class KnownHashes(Base):
    """Perceptual hashes of a confirmed case's medium, sealed under the installation's key."""

    __tablename__ = "known_hashes"

    id: Mapped[str] = _id()
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    job_id: Mapped[str] = mapped_column(String(ID_CHARS), unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


class Match(Base):
    """A submission that looks like the medium of an earlier case."""

    __tablename__ = "matches"

    id: Mapped[str] = _id()
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    percent: Mapped[int] = mapped_column(Integer)
    """Of its frames of good quality that are alike."""
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (UniqueConstraint("job_id", "case_id"),)


class Idempotency(Base):
    """Which job an account's ``Idempotency-Key`` made, and of what request."""

    __tablename__ = "idempotency"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(DIGEST_CHARS), primary_key=True)
    """Digest of the key."""
    request: Mapped[str] = mapped_column(String(DIGEST_CHARS))
    """Digest of what the request said."""
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(Moment, index=True)


class Delivery(Base):
    """A webhook to be delivered once its job is over."""

    __tablename__ = "deliveries"

    id: Mapped[str] = _id()
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    target: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed: the URL."""
    state: Mapped[DeliveryState] = mapped_column(_states(DeliveryState, 16), index=True)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    due_at: Mapped[datetime] = mapped_column(Moment)
    outcome: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(Moment)


class AuditEntry(Base):
    """One line of the audit log. ``hash`` covers the line and the hash of the line before."""

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
    """A key of the service's own, wrapped by the master key."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)


class Lease(Base):
    """A worker that is alive, as long as it says so."""

    __tablename__ = "leases"

    executor_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Moment)
