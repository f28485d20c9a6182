"""The editions of a job's evidence: which there are, and whether the newest is current."""

from __future__ import annotations

from pydantic import Field
from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from deepfake_service.audit.log import Action
from deepfake_service.platform.answers import Published, Sha256, Time
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import AuditEntry, Case, Edition, Job, RevokedEdition
from deepfake_service.platform.enums import EditionState, JobState


class IssuedEdition(Published):
    """One edition of a job's evidence."""

    edition: int = Field(description="Number of the edition, from 1.")
    sha256: Sha256 = Field(description="SHA-256 of the bundle.")
    created_at: Time = Field(description="When it was created.")
    kept: bool = Field(description="Whether the edition is still stored.")
    withheld: bool
    """Whether it is withheld: it shows faces, and a person may be a minor."""


_last_decision = (
    select(func.coalesce(func.max(AuditEntry.number), 0))
    .where(AuditEntry.subject == Job.id, AuditEntry.action == str(Action.CASE_REVIEWED))
    .correlate(Job)
    .scalar_subquery()
)
_newest = (
    select(Edition.job_id, func.max(Edition.number).label("number"))
    .group_by(Edition.job_id)
    .subquery()
)
_superseded = select(RevokedEdition.sha256).where(RevokedEdition.state == EditionState.SUPERSEDED)


def newest_edition(session: Session, job_id: str, number: int | None = None) -> Edition | None:
    """Return the newest edition of a job's evidence, or the one with this number, if it exists."""
    found = select(Edition).where(Edition.job_id == job_id).order_by(Edition.number.desc())
    if number is not None:
        found = found.where(Edition.number == number)
    return session.scalars(found.limit(1)).first()


def last_with_pictures(session: Session, job_id: str) -> str | None:
    """Return the blob of the newest edition of a job's evidence that shows pictures."""
    shown = select(Edition.blob).where(Edition.imagery.is_(True), Edition.blob.is_not(None))
    of_job = shown.where(Edition.job_id == job_id).order_by(Edition.number.desc())
    return session.scalar(of_job.limit(1))


def editions_of(session: Session, job: Job, case: Case) -> list[IssuedEdition]:
    """Return the editions of a job, newest first."""
    found = session.scalars(
        select(Edition).where(Edition.job_id == job.id).order_by(Edition.number.desc())
    )
    return [
        IssuedEdition(
            edition=e.number,
            sha256=e.sha256,
            created_at=iso_time(e.created_at),
            kept=e.blob is not None,
            withheld=e.imagery and case.minor_at is not None,
        )
        for e in found
    ]


def last_decision(session: Session, job_id: str) -> int:
    """Return the number of the audit log's entry of the last decision on a job; 0 without one."""
    return session.scalar(select(_last_decision).where(Job.id == job_id)) or 0


def outdated_jobs() -> Select[str]:
    """Select the ids of jobs whose newest edition lacks a decision or a flag, newest jobs first.

    The audit log says which decision was the last one: neither a clock that was set back nor a
    review that was deleted from the database makes an edition look newer than it is.
    """
    return (
        _outdated()
        .where(
            Case.wrapped_key.is_not(None),
            # A job of a restored backup may have lost its edition and be examined once more.
            Job.state == JobState.SUCCEEDED,
            Job.evidence_expired_at.is_(None),
        )
        .order_by(Job.created_at.desc())
    )


def is_outdated(session: Session, job_id: str) -> bool:
    """Return whether the newest edition of a job's evidence lacks a decision or a flag."""
    return session.scalars(_outdated().where(Job.id == job_id)).first() is not None


def _outdated() -> Select[str]:
    return (
        select(Job.id)
        .join(Case, Job.case_id == Case.id)
        .join(_newest, _newest.c.job_id == Job.id)
        .join(Edition, and_(Edition.job_id == Job.id, Edition.number == _newest.c.number))
        .where(
            or_(
                _last_decision != Edition.decided,
                and_(Case.minor_at.is_not(None), Edition.imagery.is_(True)),
                and_(
                    Case.minor_at.is_(None),
                    Edition.imagery.is_(False),
                    Job.shown.is_(True),
                    Edition.blob.is_not(None),
                ),
                # The edition that replaced it was lost when a backup was restored.
                Edition.sha256.in_(_superseded),
            )
        )
    )
