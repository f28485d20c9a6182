"""Which jobs and cases a list has, and how long examinations take, as queries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, exists, false, func, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from deepfake_service.platform.db import Case, Job, Media, Notice, Review
from deepfake_service.platform.enums import JobState, NoticeState
from deepfake_service.platform.findings import CLEARED, MANIPULATED, Finding
from deepfake_service.platform.pagination import Order


class Pending(StrEnum):
    """What is still to come of items that people have decided about."""

    ON_HOLD = "on_hold"
    """A decision: they were left undecided."""
    NOTICE = "notice"
    """A notice: they are confirmed, and none was created in their case since."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Restrictions on a list of jobs or cases, and its order."""

    state: str | None = None
    verdict: str | None = None
    case_id: str | None = None
    ids: tuple[str, ...] | None = None
    """Ids of jobs."""
    media: tuple[str, ...] | None = None
    """Ids of media."""
    finding: str | None = None
    """A finding, or ``none`` for jobs that have not been reviewed."""
    pending: Pending | None = None
    disagreement: bool | None = None
    """Whether the reviewers of the job disagree."""
    account_id: str | None = None
    reviewer: str | None = None
    """The id of an account that reviewed the job."""
    since: datetime | None = None
    """The earliest time of creation."""
    until: datetime | None = None
    """The end of the times of creation, which is not among them."""
    leaning: str | None = None
    sha256: str | None = None
    """Digest of the submitted bytes."""
    order: Order = Order.NEWEST
    references: tuple[str, ...] | None = None
    """Blind-index digests of the case's reference, for each account that may own the case."""


def conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """Return ``filters`` as conditions of a query on ``Job`` joined with ``Case``; jobs that were
    deleted are in no list."""
    clauses: list[ColumnElement[bool]] = [Job.state != JobState.CANCELLED]
    for column, value in (
        (Job.state, filters.state),
        (Job.verdict, filters.verdict),
        (Job.leaning, filters.leaning),
        (Job.case_id, filters.case_id),
        (Job.account_id, filters.account_id),
    ):
        if value is not None:
            clauses.append(column == value)
    if filters.ids is not None:
        clauses.append(Job.id.in_(filters.ids))
    if filters.media is not None:
        clauses.append(Job.media_id.in_(filters.media))
    if filters.sha256 is not None:
        same = select(Media.id).where(Media.sha256 == filters.sha256)
        clauses.append(Job.media_id.in_(same))
    if filters.finding is not None:
        clauses.append(_found(filters.finding))
    if filters.pending is not None:
        clauses.append(on_hold() if filters.pending is Pending.ON_HOLD else lacks_notice())
    if filters.disagreement is not None:
        # Without a finding, the condition is neither true nor false.
        clauses.append(func.coalesce(disagreed(), false()) == filters.disagreement)
    if filters.reviewer is not None:
        reviewed = select(Review.job_id).where(Review.account_id == filters.reviewer)
        clauses.append(Job.id.in_(reviewed))
    return [*clauses, *_of_any(Job.created_at, filters)]


def case_conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """Return ``references``, ``since``, ``until`` and ``finding`` as conditions of a query on
    ``Case``. A case has a finding if one of its jobs has it."""
    clauses = _of_any(Case.created_at, filters)
    if filters.finding is not None:
        clauses.append(Case.id.in_(select(Job.case_id).where(_found(filters.finding))))
    return clauses


def _of_any(at: InstrumentedAttribute[datetime], filters: Filters) -> list[ColumnElement[bool]]:
    clauses: list[ColumnElement[bool]] = []
    if filters.references is not None:
        clauses.append(Case.reference.in_(filters.references))
    if filters.since is not None:
        clauses.append(at >= filters.since)
    if filters.until is not None:
        clauses.append(at < filters.until)
    return clauses


def _found(finding: str) -> ColumnElement[bool]:
    if finding == "none":
        return and_(Job.finding.is_(None), Job.state == JobState.SUCCEEDED)
    return Job.finding == finding


def disagreed() -> ColumnElement[bool]:
    """Return the condition, in a query on ``Job``, that its reviewers disagree.

    The finding is then ``undecided``, as if a reviewer had chosen it: the formats of evidence and
    of the database have no state of its own for it. An undecided finding with a rejection has a
    confirmation as well, or it would be ``rejected``. The latest decision of each person counts.
    """
    last, newer = aliased(Review), aliased(Review)
    replaced = exists().where(
        newer.job_id == last.job_id,
        newer.account_id == last.account_id,
        or_(
            newer.created_at > last.created_at,
            and_(newer.created_at == last.created_at, newer.id > last.id),
        ),
    )
    rejected = exists().where(
        last.job_id == Job.id, last.decision.in_(CLEARED), ~replaced.correlate(last)
    )
    return and_(Job.finding == Finding.UNDECIDED, rejected.correlate(Job))


def on_hold() -> ColumnElement[bool]:
    """Return the condition, in a query on ``Job``, that it was left undecided."""
    return and_(Job.finding == Finding.UNDECIDED, not_(disagreed()))


def lacks_notice() -> ColumnElement[bool]:
    """Return the condition, in a query on ``Job``, that it was confirmed as manipulated, and that
    no notice was created in its case since, but for withdrawn ones."""
    confirmed = (
        select(func.min(Review.created_at))
        .where(Review.job_id == Job.id, Review.decision.in_(MANIPULATED))
        .scalar_subquery()
    )
    noticed = exists().where(
        Notice.case_id == Job.case_id,
        Notice.state != NoticeState.WITHDRAWN,
        Notice.created_at >= confirmed.correlate(Job),
    )
    return and_(Job.finding.in_(MANIPULATED), ~noticed.correlate(Job))


def mean_examination_s(session: Session, latest: int) -> float | None:
    """Return the mean duration in seconds of the ``latest`` examinations; ``None`` before any."""
    ended = session.execute(
        select(Job.started_at, Job.finished_at)
        .where(
            Job.state == JobState.SUCCEEDED,
            Job.started_at.is_not(None),
            Job.finished_at.is_not(None),
        )
        .order_by(Job.created_at.desc())
        .limit(latest)
    )
    seconds = [(end - start).total_seconds() for start, end in ended if start and end]
    return sum(seconds) / len(seconds) if seconds else None
