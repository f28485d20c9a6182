"""What lists are asked for by, and their pages: a cursor goes on after the last row of a page."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from deepfake_service.db import Case, Job, Occurrence, Review
from deepfake_service.db.enums import JobState
from deepfake_service.errors import FieldError, InvalidRequest

MAX_PAGE = 200


@dataclass(frozen=True, slots=True)
class Filters:
    """Which jobs are asked for."""

    state: str | None = None
    verdict: str | None = None
    case_id: str | None = None
    media: tuple[str, ...] | None = None
    """Ids of media."""
    finding: str | None = None
    """One, or ``none`` for what nobody has reviewed."""
    account_id: str | None = None
    reviewer: str | None = None
    """Id of an account that reviewed it."""
    since: datetime | None = None
    references: tuple[str, ...] | None = None
    """Keyed digests of the case's reference, one for each account that may have it."""


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first, and the cursor with which the next ones are asked for."""

    jobs: list[dict[str, Any]]
    next: str | None


@dataclass(frozen=True, slots=True)
class OccurrencePage:
    """Some occurrences, newest first, and the cursor with which the next ones are asked for."""

    occurrences: list[dict[str, Any]]
    next: str | None


def conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """What ``filters`` ask for beyond a job's own columns."""
    found: list[ColumnElement[bool]] = []
    if filters.media is not None:
        found.append(Job.media_id.in_(filters.media))
    if filters.finding == "none":
        found += [Job.finding.is_(None), Job.state == JobState.SUCCEEDED]
    elif filters.finding is not None:
        found.append(Job.finding == filters.finding)
    if filters.account_id is not None:
        found.append(Job.account_id == filters.account_id)
    if filters.reviewer is not None:
        reviewed = select(Review.job_id).where(Review.account_id == filters.reviewer)
        found.append(Job.id.in_(reviewed))
    if filters.since is not None:
        found.append(Job.created_at >= filters.since)
    if filters.references is not None:
        found.append(Case.reference.in_(filters.references))
    return found


def encoded(row: Job | Case | Occurrence) -> str:
    """The cursor of what comes after ``row``."""
    return base64.urlsafe_b64encode(f"{row.created_at.isoformat()}|{row.id}".encode()).decode()


def older(
    at: InstrumentedAttribute[datetime], number: InstrumentedAttribute[str], cursor: str
) -> ColumnElement[bool]:
    """What comes after a cursor in a list from the newest to the oldest.

    Raises:
        InvalidRequest: the cursor is none that was given out.
    """
    moment, last = _decoded(cursor)
    return or_(at < moment, and_(at == moment, number < last))


def _decoded(cursor: str) -> tuple[datetime, str]:
    try:
        at, _, last = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return moment.astimezone(UTC), last
    except (ValueError, OverflowError, binascii.Error, UnicodeError) as error:
        wrong = FieldError("cursor", "not a cursor of an earlier answer")
        raise InvalidRequest("The cursor cannot be read.", errors=[wrong]) from error
