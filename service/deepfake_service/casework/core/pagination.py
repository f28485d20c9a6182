"""Filters of lists, and their pages: a cursor names the last row of a page.

Cursors are opaque to clients and hold the time and the id of a row.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVarTuple

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from deepfake_service.casework.core.disagreements import disagreed
from deepfake_service.casework.core.triage_cursor import UNRANKED, Position, after
from deepfake_service.db import Case, Job, Media, Notice, Occurrence, Review
from deepfake_service.db.enums import JobState
from deepfake_service.errors import FieldError, InvalidRequest

MAX_PAGE = 200
"""Rows of one answer, each of which is decrypted and checked against its code before it begins."""
Rows = TypeVarTuple("Rows")
OfPage = type[Job] | type[Case] | type[Notice] | type[Occurrence]


class Order(StrEnum):
    """The order of a list."""

    NEWEST = "newest"
    OLDEST = "oldest"
    LIKELIHOOD = "likelihood"
    """Of jobs only: by falling likelihood ratio in steps of half a decade, and then the newest
    first. Jobs without a value are last."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Restrictions on a list of jobs or cases, and its order."""

    state: str | None = None
    verdict: str | None = None
    case_id: str | None = None
    media: tuple[str, ...] | None = None
    """Ids of media."""
    finding: str | None = None
    """A finding, or ``none`` for jobs that have not been reviewed."""
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
class JobPage:
    """A page of jobs, newest first, and the cursor of the next page."""

    jobs: list[dict[str, Any]]
    next: str | None


@dataclass(frozen=True, slots=True)
class OccurrencePage:
    """A page of occurrences, newest first, and the cursor of the next page."""

    occurrences: list[dict[str, Any]]
    next: str | None


@dataclass(frozen=True, slots=True)
class NoticePage:
    """A page of notices without their texts, and the cursor of the next page."""

    notices: list[dict[str, Any]]
    next: str | None


def conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """Return ``filters`` as conditions of a query on ``Job`` joined with ``Case``."""
    clauses: list[ColumnElement[bool]] = []
    for column, value in (
        (Job.state, filters.state),
        (Job.verdict, filters.verdict),
        (Job.leaning, filters.leaning),
        (Job.case_id, filters.case_id),
        (Job.account_id, filters.account_id),
    ):
        if value is not None:
            clauses.append(column == value)
    if filters.media is not None:
        clauses.append(Job.media_id.in_(filters.media))
    if filters.sha256 is not None:
        same = select(Media.id).where(Media.sha256 == filters.sha256)
        clauses.append(Job.media_id.in_(same))
    if filters.finding is not None:
        clauses.append(_found(filters.finding))
    if filters.disagreement is not None:
        # Without a finding, the condition is neither true nor false.
        clauses.append(func.coalesce(disagreed(), false()) == filters.disagreement)
    if filters.reviewer is not None:
        reviewed = select(Review.job_id).where(Review.account_id == filters.reviewer)
        clauses.append(Job.id.in_(reviewed))
    if filters.references is not None:
        clauses.append(Case.reference.in_(filters.references))
    return [*clauses, *_created(Job.created_at, filters)]


def case_conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """Return ``references``, ``since``, ``until`` and ``finding`` as conditions of a query on
    ``Case``. A case has a finding if one of its jobs has it."""
    clauses = _created(Case.created_at, filters)
    if filters.references is not None:
        clauses.append(Case.reference.in_(filters.references))
    if filters.finding is not None:
        clauses.append(Case.id.in_(select(Job.case_id).where(_found(filters.finding))))
    return clauses


def _found(finding: str) -> ColumnElement[bool]:
    if finding == "none":
        return and_(Job.finding.is_(None), Job.state == JobState.SUCCEEDED)
    return Job.finding == finding


def _created(at: InstrumentedAttribute[datetime], filters: Filters) -> list[ColumnElement[bool]]:
    clauses: list[ColumnElement[bool]] = []
    if filters.since is not None:
        clauses.append(at >= filters.since)
    if filters.until is not None:
        clauses.append(at < filters.until)
    return clauses


_BY_LIKELIHOOD = (func.coalesce(Job.rank, UNRANKED), Job.created_at, Job.id)


def placed(
    statement: Select[*Rows], model: type[Job | Case], order: Order, cursor: str | None
) -> Select[*Rows]:
    """Return a query in this order, from the row after a cursor on.

    Raises:
        InvalidRequest: the cursor is not one of an earlier answer.
    """
    if order is Order.LIKELIHOOD:
        columns = _BY_LIKELIHOOD
        if cursor is not None:
            statement = statement.where(after(columns, Position.decoded(cursor, ranks=1)))
        return statement.order_by(*(column.desc() for column in columns))
    if order is Order.NEWEST:
        if cursor is not None:
            statement = statement.where(older(model.created_at, model.id, cursor))
        return statement.order_by(model.created_at.desc(), model.id.desc())
    if cursor is not None:
        statement = statement.where(later(model.created_at, model.id, cursor))
    return statement.order_by(model.created_at, model.id)


def next_cursor(
    session: Session,
    statement: Select[*tuple[Any, ...]],
    model: OfPage,
    limit: int,
    order: Order | InstrumentedAttribute[Any] = Order.NEWEST,
) -> str | None:
    """Return the cursor of the rows after the first ``limit`` ones of a list, if there are more.

    Args:
        order: the order of the list, or the time by which it is ordered.
    """
    at = model.created_at if isinstance(order, Order) else order
    columns = _BY_LIKELIHOOD if order is Order.LIKELIHOOD else (at, model.id)
    ends = session.execute(
        statement.with_only_columns(*columns, maintain_column_froms=True).offset(limit - 1).limit(2)
    ).all()
    return Position(tuple(ends[0])).encoded() if len(ends) == 2 else None


def older(
    at: InstrumentedAttribute[datetime], row_id: InstrumentedAttribute[str], cursor: str
) -> ColumnElement[bool]:
    """Return the condition for rows after a cursor, in a list from the newest to the oldest.

    Raises:
        InvalidRequest: the cursor is not one of an earlier answer.
    """
    moment, last = _decoded(cursor)
    return or_(at < moment, and_(at == moment, row_id < last))


def later(
    at: InstrumentedAttribute[Any], row_id: InstrumentedAttribute[str], cursor: str
) -> ColumnElement[bool]:
    """Return the condition for rows after a cursor, in a list by a time, the earliest first.

    Raises:
        InvalidRequest: the cursor is not one of an earlier answer.
    """
    moment, last = _decoded(cursor)
    return or_(at > moment, and_(at == moment, row_id > last))


def _decoded(cursor: str) -> tuple[datetime, str]:
    try:
        at, _, last = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("no time zone")
        return moment.astimezone(UTC), last
    except (ValueError, OverflowError, binascii.Error, UnicodeError) as error:
        invalid = FieldError("cursor", "not a cursor from an earlier response")
        raise InvalidRequest(
            "The cursor is invalid. Request the list from its beginning.", errors=[invalid]
        ) from error
