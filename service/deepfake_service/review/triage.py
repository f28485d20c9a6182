"""The queue: what to look at first, in an order that the database finds without opening anything.

Who waits comes before what the machine suspects: items on hold past their day, urgent ones, and
those that other people confirmed are first, and then those of older cases. Among cases of one day,
what leans towards manipulation is first, by falling likelihood ratio. What could not be evaluated
is last. The database orders by ``Job.rank``, in steps of half a decade; the rows of a page are then
ordered by their exact values, which are opened for that, and audited once in ten minutes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    case,
    cast,
    extract,
    func,
    not_,
    or_,
    select,
)
from sqlalchemy.orm import Session, aliased

from deepfake_models.bundle.results import Leaning, VerdictCode
from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import visible_to
from deepfake_service.cases.filters import (
    Filters,
    conditions,
    disagreed,
    lacks_notice,
    mean_examination_s,
    on_hold,
)
from deepfake_service.cases.notices_under_way import RUNNING, TO_WITHDRAW
from deepfake_service.hashes.hash_bank import SimilarCase, is_same_file, similar_cases
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import Case, Database, Job, Match, Media, Notice, Review
from deepfake_service.platform.enums import UNFINISHED, JobState, Priority
from deepfake_service.platform.findings import CLEARED, MANIPULATED, Finding
from deepfake_service.platform.pagination import (
    MAX_RANK,
    MAX_TURN,
    UNRANKED,
    Columns,
    ListPage,
    after,
    cursor_of,
    values_of,
)
from deepfake_service.platform.storage import Vault
from deepfake_service.platform.storage.sealed_columns import opened_rows
from deepfake_service.review.queries import Queries, job_rows
from deepfake_service.review.reviews import OnHold, on_hold_of
from deepfake_service.review.shapes import Item

SCANNED = 500
"""Rows that one search opens, which takes a sixth of a second. A search that finds too little in
them can be continued."""
SOON = timedelta(hours=24)
SECONDS_A_DAY = 24 * 60 * 60
OVERDUE, URGENT, CONFIRMED, USUAL, UNREADABLE = 4, 3, 2, 1, 0
"""The standing of a job that awaits a review, by falling urgency: on hold past its day; a person
waits; a copy of a confirmed case, or confirmed by one person; others; not evaluated."""
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
    """Everything that awaits a review by the caller."""
    WAITING = "waiting"
    ON_HOLD = "on_hold"
    """Left undecided, by the day until which something is awaited."""
    NOTICE = "notice"
    """Confirmed, and no notice was created since."""
    DISAGREEMENT = "disagreement"
    """Confirmed by one reviewer and rejected by another."""
    DUE = "due"
    """In a case with a notice that must be withdrawn, or whose deadline has passed or is less than
    a day away."""
    DONE = "done"
    ALL = "all"


RISING = (Tab.WAITING, Tab.ON_HOLD, Tab.NOTICE)
"""Tabs whose order rises; others begin with the most urgent or the newest."""


@dataclass(frozen=True, slots=True)
class QueueRequest:
    """A page of the queue to read."""

    tab: Tab = Tab.REVIEW
    filters: Filters = field(default_factory=Filters)
    text: str = ""
    """Part of a case reference, a file name or a SHA-256."""
    cursor: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a waiting job in the queue."""

    number: int
    wait_s: int | None
    """About how many seconds it waits."""


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A job in the queue, with what concerns its review."""

    item: Item
    urgency: tuple[object, ...]
    """By what falls the order of what awaits a review: its standing, its day, and what the model
    suspects."""
    on_hold: OnHold | None
    copies: Sequence[SimilarCase] = ()
    """Other cases that it resembles; none while it awaits a second person."""
    deadline: str | None = None
    """Of the next notice in its case."""
    place: Place | None = None

    @property
    def rank(self) -> tuple[tuple[object, ...], float]:
        """What the order of the page falls by."""
        ratio = self.item.entry.llr
        return self.urgency, float(UNRANKED if ratio is None else ratio)


class Triage:
    """Reads the queue for callers, who find only what they may see."""

    def __init__(self, database: Database, vault: Vault, queries: Queries) -> None:
        self._database = database
        self._vault = vault
        self._queries = queries

    def counts(self, caller: Caller, filters: Filters | None = None) -> dict[Tab, int]:
        """Return how many jobs that match the filters are in each tab."""
        tabs = _tabs(caller, self._database.clock())
        columns = [func.coalesce(func.sum(case((rows, 1), else_=0)), 0) for rows in tabs.values()]
        statement = select(*columns).select_from(Job).join(Case, Job.case_id == Case.id)
        within = visible_to(caller), *conditions(filters or Filters())
        with self._database.read() as session:
            row = session.execute(statement.where(*within)).one()
        return {tab: int(count) for tab, count in zip(tabs, row, strict=True)}

    def page(self, caller: Caller, request: QueueRequest) -> ListPage[QueueRow]:
        """Return a page of the queue.

        A text is looked for in at most ``SCANNED`` rows after the cursor, so a page may hold fewer
        than ``request.limit`` jobs, or none, and still name a next one. ``InvalidRequest`` if the
        cursor is invalid.
        """
        with self._database.read() as session:
            found, following = self._search(session, caller, request)
            items = [row.item for row in found]
            # A second person decides on her own.
            open_to = [item.id for item in items if item.finding != Finding.AWAITING_SECOND]
            similar = similar_cases(session, self._vault, caller, open_to)
            deadlines = _deadlines(session, {item.case_id for item in items})
            waiting = [item.id for item in items if item.state == JobState.QUEUED]
            places = places_of(session, waiting)
        rows = [
            replace(
                row,
                copies=similar.get(row.item.id, ()),
                deadline=iso_time(deadlines.get(row.item.case_id)),
                place=places.get(row.item.id),
            )
            for row in found
        ]
        if rows:
            self._queries.audit(caller)
        if request.tab is Tab.REVIEW:
            rows.sort(key=lambda row: row.rank, reverse=True)
        return ListPage(rows, following)

    def _search(
        self, session: Session, caller: Caller, request: QueueRequest
    ) -> tuple[list[QueueRow], str | None]:
        most = SCANNED if request.text else request.limit
        statement = self._positions(caller, request).limit(most + 1)
        positions = [tuple(position) for position in session.execute(statement)]
        last, more = None, len(positions) > most
        ids = [str(position[-1]) for position in positions[:most]]
        loaded = session.execute(job_rows().where(Job.id.in_(ids), Case.sealed.is_not(None)))
        rows = {row[0].id: row for row in loaded}
        found: list[QueueRow] = []
        for position in positions[:most]:
            if len(found) == request.limit:
                more = True
                break
            last = position
            row = rows.get(str(position[-1]))  # unless it was just deleted
            for opened, item in opened_rows([row] if row else [], self._queries.item):
                names = (item.case.case_reference, item.entry.name)
                if mentions(request.text, names, item.sha256, item.id):
                    held = on_hold_of(session, opened[0], self._vault.case_key(opened[2]))
                    found.append(QueueRow(item, position[:3], held))
        return found, cursor_of(request.tab, last) if more and last else None

    def next_unreviewed(self, caller: Caller, after_job: str) -> str | None:
        """Return the id of the job that the caller reviews after ``after_job``, in the order of the
        queue. Jobs that were skipped come again after the last one."""
        order = _order(caller, QueueRequest(), self._database.clock())
        waiting = self._positions(caller, QueueRequest()).where(Job.id != after_job).limit(1)
        here = select(*order).join(Case, Job.case_id == Case.id).where(Job.id == after_job)
        with self._database.read() as session:
            row, at = None, session.execute(here).first()
            if at is not None:
                row = session.execute(waiting.where(after(order, tuple(at)))).first()
            row = row or session.execute(waiting).first()
        return str(row[-1]) if row else None

    def _positions(self, caller: Caller, request: QueueRequest) -> Select[*tuple[object, ...]]:
        """Return the query for the positions of jobs, in order.

        It selects nothing else: sorting ten thousand rows with their sealed columns takes far
        longer than loading those of one page afterwards.
        """
        now, tab = self._database.clock(), request.tab
        order, rising = _order(caller, request, now), tab in RISING
        statement = (
            select(*order)
            .join(Case, Job.case_id == Case.id)
            .where(visible_to(caller), Case.sealed.is_not(None), *conditions(request.filters))
            .where(_tabs(caller, now)[tab])
        )
        if request.cursor is not None:
            largest = [MAX_RANK] * (len(order) - 2)
            if tab is Tab.WAITING:
                largest[-1] = MAX_TURN
            values = values_of(request.cursor, request.tab, largest)
            statement = statement.where(after(order, values, rising=rising))
        return statement.order_by(*(c if rising else c.desc() for c in order))


def _order(caller: Caller, request: QueueRequest, now: datetime) -> Columns:
    """Return what a page is ordered by: it rises in some tabs, and falls elsewhere."""
    if request.tab is Tab.WAITING:
        return UNDER_WAY
    if request.tab is Tab.ON_HOLD:  # those without a day by their age
        return (func.coalesce(Job.awaited_until, Job.created_at), Job.id)
    if request.tab is not Tab.REVIEW:
        return (Job.created_at, Job.id)
    day = cast(extract("epoch", Case.created_at), BigInteger) // SECONDS_A_DAY
    leaning = and_(
        Job.verdict == VerdictCode.INCONCLUSIVE, Job.leaning == Leaning.TOWARDS_MANIPULATED
    )
    suspect = case((or_(Job.verdict == VerdictCode.LIKELY_MANIPULATED, leaning), 1), else_=0)
    rank = func.coalesce(Job.rank, UNRANKED)
    return (_standing(caller, now), -day, suspect, rank, Job.created_at, Job.id)


def _standing(caller: Caller, now: datetime) -> ColumnElement[int]:
    seen = select(Case.id).where(visible_to(caller)).correlate(None)
    originals = Job.case_id.in_(seen), Job.finding.in_(MANIPULATED), Job.state != JobState.CANCELLED
    alike = select(Job.id).where(*originals).correlate(None)
    copies = select(Match.job_id).where(Match.known_job_id.in_(alike))
    file, copy = aliased(Media), aliased(Media)
    same = select(copy.id).join(file, is_same_file(copy, file)).join(Job, Job.media_id == file.id)
    same = same.where(*originals)
    known = or_(
        Job.finding == Finding.AWAITING_SECOND,
        Job.id.in_(copies.correlate(None)),
        Job.media_id.in_(same.correlate(None)),
    )
    unreadable = or_(Job.state == JobState.FAILED, Job.verdict == VerdictCode.UNABLE_TO_EVALUATE)
    return case(
        (_is_overdue(now), OVERDUE),
        (Job.priority == Priority.LIVE, URGENT),
        (known, CONFIRMED),
        (unreadable, UNREADABLE),
        else_=USUAL,
    )


def _is_overdue(now: datetime) -> ColumnElement[bool]:
    return and_(Job.finding == Finding.UNDECIDED, Job.awaited_until <= now)


def _tabs(caller: Caller, now: datetime) -> dict[Tab, ColumnElement[bool]]:
    decided = select(Review.job_id).where(Review.account_id == caller.account_id)
    awaits_caller = and_(
        Job.finding == Finding.AWAITING_SECOND, Job.id.not_in(decided.correlate(None))
    )
    awaits_review = and_(
        Job.state.in_((JobState.SUCCEEDED, JobState.FAILED)),
        or_(Job.finding.is_(None), awaits_caller, _is_overdue(now)),
    )
    noticed = select(Notice.case_id)
    near = and_(Notice.state.in_(RUNNING), Notice.due_at < now + SOON)
    return {
        Tab.REVIEW: awaits_review,
        Tab.WAITING: Job.state.in_(UNFINISHED),
        Tab.ON_HOLD: on_hold(),
        Tab.NOTICE: lacks_notice(),
        Tab.DISAGREEMENT: disagreed(),
        Tab.DUE: Job.case_id.in_(noticed.where(or_(TO_WITHDRAW, near))),
        Tab.DONE: or_(
            Job.finding.in_(CLEARED),
            and_(Job.finding.in_(MANIPULATED), not_(lacks_notice())),
        ),
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


def places_of(session: Session, waiting: Sequence[str]) -> dict[str, Place]:
    """Return the places of waiting jobs in the queue."""
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
        job_id: Place(number, None if each_s is None else round(each_s * number))
        for job_id, number in rows
    }


def mentions(text: str, names: tuple[str | None, ...], sha256: str, job_id: str) -> bool:
    """Return whether a search for ``text`` finds a job with these names. Names of files from macOS
    often have their syllables in parts: see ``canonical_reference``."""
    texts = (text, *filter(None, names))
    wanted, *folded = (unicodedata.normalize("NFC", each).casefold() for each in texts)
    in_name = any(wanted in name for name in folded)
    return not wanted or in_name or sha256.startswith(wanted) or job_id == wanted
