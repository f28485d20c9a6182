"""The queue: what to look at first, in an order that the database finds without opening anything.

Known copies of confirmed cases are first, then what leans towards manipulation by falling
likelihood ratio, then what could not be evaluated, then everything else. The database orders by
``Job.rank``, in steps of half a decade; the rows of a page are then ordered by their exact values,
which are opened for that, and audited once in ten minutes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, not_, or_, select
from sqlalchemy.orm import Session

from deepfake_models.bundle.results import Leaning, VerdictCode
from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import visible_to
from deepfake_service.cases.turns import mean_examination_s
from deepfake_service.notices.states import RUNNING, TO_WITHDRAW
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import Case, Database, Job, Match, Notice, Review
from deepfake_service.platform.db.enums import MANIPULATED, UNFINISHED, Finding, JobState, Priority
from deepfake_service.platform.pagination import (
    MAX_RANK,
    MAX_TURN,
    UNRANKED,
    Columns,
    Filters,
    ListPage,
    after,
    conditions,
    cursor_of,
    disagreed,
    values_of,
)
from deepfake_service.platform.storage import Vault
from deepfake_service.platform.storage.sealed_columns import opened_rows
from deepfake_service.review.hash_bank import similar_cases
from deepfake_service.review.queries import Queries, job_rows

SCANNED = 500
"""Rows that one search opens, which takes a sixth of a second. A search that finds too little in
them can be continued."""
SOON = timedelta(hours=24)
COPY, SUSPECT, UNREADABLE, OTHER = 3, 2, 1, 0
"""The standing of a job that nobody has reviewed, by falling urgency."""
ESTIMATED_BY_JOBS = 20
"""Ended jobs by whose duration the wait is estimated: those of all accounts, which differ more than
those of one."""
_BY_PRIORITY = case({priority.value: priority.rank for priority in Priority}, value=Job.priority)
SERVED = _BY_PRIORITY, func.coalesce(Job.turn, 0), Job.created_at, Job.id
"""What the order in which waiting jobs are examined rises by."""
UNDER_WAY = case((Job.state == JobState.RUNNING, 0), else_=1), *SERVED
"""What the order of unfinished jobs rises by: those that are being examined are before those that
wait."""


class Tab(StrEnum):
    """A part of the queue."""

    REVIEW = "review"
    """Everything that ended and awaits a review by the caller, worst first."""
    FIRST = "first"
    SECOND = "second"
    """Confirmed by one person, and awaiting a second one who is not the caller."""
    LATER = "later"
    UNREADABLE = "unreadable"
    WAITING = "waiting"
    DISAGREEMENT = "disagreement"
    """Confirmed by one reviewer and rejected by another."""
    DONE = "done"
    WITHDRAW = "withdraw"
    """In a case with a notice that must be withdrawn."""
    DUE = "due"
    """In a case with a notice whose deadline has passed or is less than a day away."""
    ALL = "all"


RANKED = (Tab.REVIEW, Tab.FIRST, Tab.SECOND, Tab.LATER, Tab.UNREADABLE)


@dataclass(frozen=True, slots=True)
class QueueRequest:
    """A page of the queue that is asked for."""

    tab: Tab = Tab.REVIEW
    filters: Filters = field(default_factory=Filters)
    text: str = ""
    """Part of a case reference, a file name or a SHA-256."""
    cursor: str | None = None
    limit: int = 50


class Triage:
    """Reads the queue for callers, who find only what they may see."""

    def __init__(self, database: Database, vault: Vault, queries: Queries) -> None:
        self._database = database
        self._vault = vault
        self._queries = queries

    def counts(self, caller: Caller, filters: Filters | None = None) -> dict[str, int]:
        """Return how many jobs that match the filters are in each tab."""
        tabs = _tabs(caller, self._database.clock())
        columns = [func.coalesce(func.sum(case((rows, 1), else_=0)), 0) for rows in tabs.values()]
        statement = select(*columns).select_from(Job).join(Case, Job.case_id == Case.id)
        within = visible_to(caller), *conditions(filters or Filters())
        with self._database.read() as session:
            row = session.execute(statement.where(*within)).one()
        return {str(tab): int(count) for tab, count in zip(tabs, row, strict=True)}

    def page(self, caller: Caller, request: QueueRequest) -> ListPage:
        """Return a page of jobs as ``Queries.shown``.

        A text is looked for in at most ``SCANNED`` rows after the cursor, so a page may hold fewer
        than ``request.limit`` jobs, or none, and still name a next one. ``InvalidRequest`` if the
        cursor is invalid.
        """
        with self._database.read() as session:
            found, following = self._search(session, caller, request)
            jobs = {job["id"]: job for job in found}
            similar = similar_cases(session, self._vault, caller, list(jobs))
            deadlines = _deadlines(session, {job["case_id"] for job in found})
            for job_id, job in jobs.items():
                job["copies"] = similar.get(job_id, [])
                job["clock"] = iso_time(deadlines.get(job["case_id"]))
                job["place"] = None
            if request.tab in (Tab.WAITING, Tab.ALL):
                waiting = [job["id"] for job in found if job["state"] == JobState.QUEUED]
                for job_id, place in places_of(session, waiting).items():
                    jobs[job_id]["place"] = place
        if found:
            self._queries.audit(caller)
        if request.tab in RANKED:
            found.sort(key=_urgency, reverse=True)
        return ListPage(found, following)

    def _search(
        self, session: Session, caller: Caller, request: QueueRequest
    ) -> tuple[list[dict[str, Any]], str | None]:
        most = SCANNED if request.text else request.limit
        statement = self._positions(caller, request).limit(most + 1)
        positions = session.execute(statement).all()
        last, more = None, len(positions) > most
        ids = [position[-1] for position in positions[:most]]
        loaded = session.execute(job_rows().where(Job.id.in_(ids), Case.sealed.is_not(None)))
        rows = {row[0].id: row for row in loaded}
        found: list[dict[str, Any]] = []
        for position in positions[:most]:
            if len(found) == request.limit:
                more = True
                break
            last = position
            row = rows.get(position[-1])  # unless it was just deleted
            for _, job in opened_rows([row] if row else [], self._queries.shown):
                names = (job["case"]["case_reference"], job["listing"].get("name"))
                if mentions(request.text, names, job["sha256"], job["id"]):
                    found.append({**job, "standing": position[0]})  # where the tab is ranked
        return found, cursor_of(request.tab, last) if more and last else None

    def next_unreviewed(self, caller: Caller, after_job: str) -> str | None:
        """Return the id of the job that the caller reviews after ``after_job``, worst first. Jobs
        that were skipped come again after the last one."""
        order = _order(caller, QueueRequest())
        waiting = self._positions(caller, QueueRequest()).where(Job.id != after_job).limit(1)
        here = select(*order).join(Case, Job.case_id == Case.id).where(Job.id == after_job)
        with self._database.read() as session:
            row, at = None, session.execute(here).first()
            if at is not None:
                row = session.execute(waiting.where(after(order, tuple(at)))).first()
            row = row or session.execute(waiting).first()
        return str(row[-1]) if row else None

    def _positions(self, caller: Caller, request: QueueRequest) -> Select[*tuple[Any, ...]]:
        """Return the query for the positions of jobs, in order.

        It selects nothing else: sorting ten thousand rows with their sealed columns takes far
        longer than loading those of one page afterwards.
        """
        order, tab = _order(caller, request), request.tab
        rising = tab is Tab.WAITING
        statement = (
            select(*order)
            .join(Case, Job.case_id == Case.id)
            .where(visible_to(caller), Case.sealed.is_not(None), *conditions(request.filters))
            .where(_tabs(caller, self._database.clock())[tab])
        )
        if request.cursor is not None:
            largest = [MAX_RANK] * (len(order) - 2)
            if rising:
                largest[-1] = MAX_TURN
            values = values_of(request.cursor, request.tab, largest)
            statement = statement.where(after(order, values, rising=rising))
        return statement.order_by(*(c if rising else c.desc() for c in order))


def _order(caller: Caller, request: QueueRequest) -> Columns:
    """Return what a page is ordered by: it rises in the tab of what waits, and falls elsewhere."""
    if request.tab is Tab.WAITING:
        return UNDER_WAY
    if request.tab not in RANKED:
        return (Job.created_at, Job.id)
    return (_standing(caller), func.coalesce(Job.rank, UNRANKED), Job.created_at, Job.id)


def _standing(caller: Caller) -> ColumnElement[int]:
    seen = select(Case.id).where(visible_to(caller)).correlate(None)
    confirmed = select(Job.case_id).where(Job.finding.in_(MANIPULATED)).correlate(None)
    copies = select(Match.job_id).where(Match.case_id.in_(seen), Match.case_id.in_(confirmed))
    suspect = or_(
        Job.finding == Finding.AWAITING_SECOND,
        Job.verdict == VerdictCode.LIKELY_MANIPULATED,
        and_(Job.verdict == VerdictCode.INCONCLUSIVE, Job.leaning == Leaning.TOWARDS_MANIPULATED),
    )
    unreadable = or_(Job.state == JobState.FAILED, Job.verdict == VerdictCode.UNABLE_TO_EVALUATE)
    return case(
        (Job.id.in_(copies.correlate(None)), COPY),
        (suspect, SUSPECT),
        (unreadable, UNREADABLE),
        else_=OTHER,
    )


def _tabs(caller: Caller, now: datetime) -> dict[Tab, ColumnElement[bool]]:
    standing = _standing(caller)
    decided = select(Review.job_id).where(Review.account_id == caller.account_id)
    awaits_caller = and_(
        Job.finding == Finding.AWAITING_SECOND, Job.id.not_in(decided.correlate(None))
    )
    awaits_review = and_(
        Job.state.in_((JobState.SUCCEEDED, JobState.FAILED)),
        or_(Job.finding.is_(None), awaits_caller),
    )
    noticed = select(Notice.case_id)
    running = Notice.state.in_(RUNNING)
    return {
        Tab.REVIEW: awaits_review,
        Tab.FIRST: and_(awaits_review, standing >= SUSPECT),
        Tab.SECOND: awaits_caller,
        Tab.LATER: and_(awaits_review, standing == OTHER),
        Tab.UNREADABLE: and_(awaits_review, standing == UNREADABLE),
        Tab.WAITING: Job.state.in_(UNFINISHED),
        Tab.DISAGREEMENT: disagreed(),
        Tab.DONE: and_(
            Job.finding.is_not(None), Job.finding != Finding.AWAITING_SECOND, not_(disagreed())
        ),
        Tab.WITHDRAW: Job.case_id.in_(noticed.where(TO_WITHDRAW)),
        Tab.DUE: Job.case_id.in_(noticed.where(running, Notice.due_at < now + SOON)),
        Tab.ALL: Job.id.is_not(None),
    }


def _deadlines(session: Session, case_ids: set[str]) -> dict[str, datetime]:
    """Return the next deadline of a notice in each of these cases that has one."""
    due = session.execute(
        select(Notice.case_id, func.min(Notice.due_at))
        .where(Notice.case_id.in_(case_ids), Notice.state.in_(RUNNING))
        .group_by(Notice.case_id)
    )
    return {row[0]: row[1] for row in due if row[1] is not None}


def places_of(session: Session, waiting: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the place of waiting jobs in the queue, and about how many seconds they wait."""
    if not waiting:
        return {}
    # Numbered by the database: many more jobs than those of a page may wait.
    number = func.row_number().over(order_by=SERVED).label("number")
    queue = select(Job.id, number).where(Job.state == JobState.QUEUED).subquery()
    rows = session.execute(select(queue.c.id, queue.c.number).where(queue.c.id.in_(waiting)))
    mean = mean_examination_s(session, ESTIMATED_BY_JOBS)
    running = session.scalar(select(func.count()).where(Job.state == JobState.RUNNING))
    each_s = mean and mean / max(running or 1, 1)
    return {
        row.id: {"number": row.number, "wait_s": each_s and round(each_s * row.number)}
        for row in rows
    }


def _urgency(job: dict[str, Any]) -> tuple[int, float]:
    ratio = job["listing"].get("llr")
    return job["standing"], float(UNRANKED if ratio is None else ratio)


def mentions(text: str, names: tuple[str | None, ...], sha256: str, job_id: str) -> bool:
    """Return whether a search for ``text`` finds a job with these names. Names of files from macOS
    often have their syllables in parts: see ``canonical_reference``."""
    texts = (text, *filter(None, names))
    wanted, *folded = (unicodedata.normalize("NFC", each).casefold() for each in texts)
    in_name = any(wanted in name for name in folded)
    return not wanted or in_name or sha256.startswith(wanted) or job_id == wanted
