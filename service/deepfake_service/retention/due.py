"""What is due to be deleted, and whether the clock can be relied on for it.

A wrong hardware clock, a bad time server or a resumed virtual machine can set it years ahead, and
everything would be past its retention. So each sweep remembers when it was. If the clock is more
than a day from the last one, nothing is deleted until a person has looked at the date.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Exists, Select, and_, exists, func, or_, select

from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.platform.db import (
    AuditEntry,
    Capture,
    Case,
    Database,
    Fact,
    Job,
    Media,
    Notice,
    Occurrence,
    Review,
    current_time,
)
from deepfake_service.platform.enums import UNFINISHED, JobState
from deepfake_service.platform.findings import Finding
from deepfake_service.platform.logs import logger
from deepfake_service.platform.settings import Settings

GRACE = timedelta(days=1)
"""How long before its deletion something is marked, unless it is not even kept for that long."""
LONGEST_GAP = timedelta(days=1)
MEDIA_UNEXAMINED = timedelta(days=7)
"""How long media are kept that no worker examines; they would otherwise stay for ever."""
_NAME = "clock"

_log = logger("deepfake_service.clock")


class RetentionPeriods:
    """How long everything is kept at most, by the settings."""

    def __init__(self, settings: Settings) -> None:
        self.media_after_review = timedelta(hours=settings.media_hours_after_review)
        self.media_after_verdict = timedelta(days=settings.media_days_after_verdict)
        self.evidence = timedelta(days=settings.evidence_days)
        self.case = timedelta(days=settings.case_days)
        self.grace = min(GRACE, self.media_after_review, self.media_after_verdict, self.evidence)
        """The time between marking and deleting."""


def unheld(model: type[Capture | Job | Media | Occurrence]) -> Select[str]:
    """Select the ids of a table's rows whose case is under no legal hold."""
    return select(model.id).join(Case, model.case_id == Case.id).where(Case.held_at.is_(None))


def due_media(periods: RetentionPeriods, at: datetime) -> Select[str]:
    """Select the media that are due at ``at``, and deleted ones that left a screenshot. Media that
    are being examined again are not, unless that has been waiting for too long, and neither are
    those of items on hold. What the API and the console say of it is ``media_deletion.expiry_of``.
    """
    late = being_examined().where(Job.created_at <= at - MEDIA_UNEXAMINED)
    waiting = being_examined().where(Job.created_at > at - MEDIA_UNEXAMINED)
    # What was handed in after the review, and was not examined yet, is not reviewed by it.
    reviewed = Case.reviewed_at.between(Media.created_at, at - periods.media_after_review)
    scored = Media.expires_at.is_not(None)
    screenshots = exists().where(
        Occurrence.media_id == Media.id,
        Occurrence.screenshot_expired_at.is_(None),
        Occurrence.created_at <= at - periods.media_after_verdict,
    )
    # As long after the awaited day as after a review: a person has to look at it then.
    on_hold = exists().where(
        Job.media_id == Media.id,
        Job.finding == Finding.UNDECIDED,
        Job.awaited_until > at - periods.media_after_review,
        Job.finished_at > at - periods.evidence,
    )
    due = and_(or_(Media.expires_at <= at, and_(scored, reviewed), late), ~waiting, ~on_hold)
    return unheld(Media).where(
        or_(and_(Media.blob.is_not(None), due), and_(Media.blob.is_(None), screenshots))
    )


def due_evidence(periods: RetentionPeriods, at: datetime) -> Select[str]:
    """Select the jobs whose evidence is due at ``at``. A recent notice extends the period."""
    before = at - periods.evidence
    return unheld(Job).where(
        Job.state == JobState.SUCCEEDED,
        Job.evidence_expired_at.is_(None),
        Job.finished_at <= before,
        Case.id.not_in(select(Notice.case_id).where(Notice.created_at > before)),
    )


def due_captures(periods: RetentionPeriods, at: datetime) -> Select[str]:
    """Select the captures whose bundles are due at ``at``: they are kept as evidence is."""
    before = at - periods.evidence
    return unheld(Capture).where(
        Capture.blob.is_not(None),
        Capture.finished_at <= before,
        Case.id.not_in(select(Notice.case_id).where(Notice.created_at > before)),
    )


def due_cases(periods: RetentionPeriods, at: datetime) -> Select[str]:
    """Select the cases in which nothing has happened for as long as everything is kept."""
    before = at - periods.evidence - periods.case
    recent_review = (
        select(Job.case_id).join(Review, Review.job_id == Job.id).where(Review.created_at > before)
    )
    active: tuple[ColumnElement[bool], ...] = (
        Case.id.in_(
            select(Job.case_id).where(
                or_(Job.state.in_(UNFINISHED), Job.created_at > before, Job.finished_at > before)
            )
        ),
        Case.id.in_(select(Notice.case_id).where(Notice.created_at > before)),
        Case.id.in_(select(Occurrence.case_id).where(Occurrence.created_at > before)),
        Case.id.in_(select(Capture.case_id).where(Capture.created_at > before)),
        Case.id.in_(recent_review),
    )
    return select(Case.id).where(
        Case.held_at.is_(None),
        Case.wrapped_key.is_not(None),
        Case.created_at <= before,
        ~or_(*active),
    )


def being_examined() -> Exists:
    """Return the condition that a job on a medium has not ended."""
    return exists().where(Job.media_id == Media.id, Job.state.in_(UNFINISHED))


def is_clock_confirmed(database: Database) -> bool:
    """Return whether the clock is within a day of the last sweep, and remember this one."""
    with database.write() as session:
        now, fact = current_time(session), session.get(Fact, _NAME)
        if fact is not None:
            last: datetime = datetime.fromisoformat(fact.value)
        else:  # of a new installation the log ends now
            last = session.scalar(select(func.max(AuditEntry.at))) or now
        if abs(now - last) > LONGEST_GAP:
            _log.error("clock_not_confirmed", now=now.isoformat(), last=last.isoformat())
            return False
        session.merge(Fact(name=_NAME, value=max(now, last).isoformat()))
    return True


def confirm_clock(database: Database) -> datetime:
    """Let deletions rely on the clock as it is, and return its time. Audited."""
    with database.write() as session:
        now = current_time(session)
        session.merge(Fact(name=_NAME, value=now.isoformat()))
        append_entry(session, SERVICE, Action.CLOCK_CONFIRMED)
    return now
