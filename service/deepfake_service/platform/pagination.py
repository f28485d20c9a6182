"""Filters of lists, and their pages: a cursor names the last row of a page.

Cursors are opaque to clients. They hold the name of a list and what orders it: ranks, if it has
any, and then the time and the id of a row.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Generic, TypeVar, TypeVarTuple

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    SQLColumnExpression,
    and_,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from deepfake_service.platform.db import Case, Job, Media, Notice, Occurrence, Review
from deepfake_service.platform.db.enums import MANIPULATED, Decision, Finding, JobState, NoticeState
from deepfake_service.platform.errors import FieldError, InvalidRequest

MAX_PAGE = 200
"""Rows of one answer, each of which is decrypted before it begins."""
UNRANKED = -100
"""Stands for the rank of a job without a value."""
MAX_RANK, MAX_TURN = 2**15 - 1, 2**63 - 1
"""What columns of ranks and of turns hold."""
Columns = Sequence[SQLColumnExpression[object]]
T = TypeVar("T")
M = TypeVar("M", bound=Job | Case | Notice | Occurrence)
Others = TypeVarTuple("Others")


class Order(StrEnum):
    """The order of a list."""

    NEWEST = "newest"
    OLDEST = "oldest"
    LIKELIHOOD = "likelihood"
    """Of jobs only: by falling likelihood ratio in steps of half a decade, and then the newest
    first. Jobs without a value are last."""


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


@dataclass(frozen=True, slots=True)
class ListPage(Generic[T]):
    """A page of a list, and the cursor of the next page."""

    rows: Sequence[T]
    next: str | None


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

    The finding is then ``undecided``, as if somebody had chosen that: the formats of evidence and
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
        last.job_id == Job.id, last.decision == Decision.REJECTED, ~replaced.correlate(last)
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


def cursor_of(name: str, values: Sequence[object]) -> str:
    """Return the cursor of the rows after the one with these values of the columns that order the
    list of this name: ranks, if it has them, time and id."""
    text = "|".join([name, *(v.isoformat() if isinstance(v, datetime) else str(v) for v in values)])
    return base64.urlsafe_b64encode(text.encode()).decode()


def values_of(cursor: str, name: str, largest: Sequence[int]) -> tuple[object, ...]:
    """Return the values that a cursor names, in a list with a rank for each of ``largest``;
    ``InvalidRequest`` if the cursor is not one that ``cursor_of`` made for the list ``name``."""
    try:
        of, *found, at, row_id = base64.urlsafe_b64decode(cursor.encode()).decode().split("|")
        moment, ranks = datetime.fromisoformat(at), [int(rank) for rank in found]
        beyond = [abs(rank) > most for rank, most in zip(ranks, largest, strict=True)]
        if of != name or moment.tzinfo is None or any(beyond):
            raise ValueError("another list")
        return (*ranks, moment.astimezone(UTC), row_id)
    except (ValueError, OverflowError) as error:
        invalid = FieldError("cursor", "not a cursor from an earlier response")
        raise InvalidRequest(
            "The cursor is invalid. Request the list from its beginning.", errors=[invalid]
        ) from error


def after(order: Columns, values: Sequence[object], *, rising: bool = False) -> ColumnElement[bool]:
    """Return the condition for the rows after the one with these values, in a list by falling
    ``order``. With ``rising``, the list is in the opposite order."""
    row, last = tuple_(*order), tuple(values)
    return row > last if rising else row < last


def page_of(
    session: Session,
    statement: Select[M, *Others],
    model: type[M],
    limit: int,
    cursor: str | None,
    order: Order = Order.NEWEST,
) -> tuple[Sequence[Row[M, *Others]], str | None]:
    """Return ``limit`` rows of ``model`` in this order, from the one after a cursor on, and the
    cursor of the next page, if there is one; ``InvalidRequest`` if the cursor is not one of an
    earlier answer."""
    ranked, rising = order is Order.LIKELIHOOD, order is Order.OLDEST
    rank: Columns = (func.coalesce(Job.rank, UNRANKED),) if ranked else ()
    columns: Columns = (*rank, model.created_at, model.id)
    name = f"{model.__tablename__} {order}"
    values: tuple[object, ...]
    if cursor is not None:
        values = values_of(cursor, name, (MAX_RANK,) if ranked else ())
        statement = statement.where(after(columns, values, rising=rising))
    statement = statement.order_by(*(c if rising else c.desc() for c in columns))
    rows = session.execute(statement.limit(limit + 1)).all()
    if len(rows) <= limit:
        return rows, None
    last: M = rows[limit - 1][0]
    values = (last.created_at, last.id)
    if ranked and isinstance(last, Job):
        values = (UNRANKED if last.rank is None else last.rank, *values)
    return rows[:limit], cursor_of(name, values)
