"""Triage: what to look at first, in an order that the database finds without opening anything.

Known copies of confirmed cases are first, then what leans towards manipulation by falling
likelihood ratio, then what could not be evaluated, then everything else. The database orders by
``Job.rank``, in steps of half a decade; the rows of a page are then ordered by their exact values,
which are opened for those who may see them, and audited once in ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from deepfake_models.bundle.results import Leaning, VerdictCode
from deepfake_service.casework.core.disagreements import disagreed
from deepfake_service.casework.core.listings import (
    mentions,
    open_listing,
    open_reasons,
    open_thumbnail,
)
from deepfake_service.casework.core.pagination import Filters, JobPage, conditions
from deepfake_service.casework.core.queries import find_job, iso_time, job_json
from deepfake_service.casework.core.read_audit import ReadAudit
from deepfake_service.casework.core.triage_cursor import UNRANKED, Position, after
from deepfake_service.casework.core.unreadable import opened_rows
from deepfake_service.casework.core.visibility import find_visible, visible_to
from deepfake_service.casework.hash_bank import MOST_SIMILAR
from deepfake_service.casework.queue_places import UNDER_WAY, add_places
from deepfake_service.db import Case, Database, Job, Listing, Match, Media, Notice, Review
from deepfake_service.db.enums import UNFINISHED, Finding, JobState, NoticeState
from deepfake_service.errors import ImageryWithheld, NotFound
from deepfake_service.notices.states import RUNNING
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import Action
from deepfake_service.storage import Vault, open_json

SCANNED = 500
"""Rows that one search opens, which takes a sixth of a second. A search that finds too little in
them can be continued."""
_BATCH = 200
SOON = timedelta(hours=24)
COPY, SUSPECT, UNREADABLE, OTHER = 3, 2, 1, 0
"""The standing of a job that nobody has reviewed, by falling urgency."""


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
class Asked:
    """A page of the queue that is asked for."""

    tab: Tab = Tab.REVIEW
    filters: Filters = field(default_factory=Filters)
    text: str = ""
    """Part of a case reference, a file name or a SHA-256."""
    cursor: str | None = None
    limit: int = 50


class Triage:
    """Reads the queue for callers, who find only what they may see."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._read_audit = ReadAudit(database.clock)

    def counts(self, caller: Caller, filters: Filters | None = None) -> dict[str, int]:
        """Return how many jobs that match the filters are in each tab."""
        standing = _standing(caller)
        now = self._database.clock()
        columns = [
            func.coalesce(func.sum(case((_within(tab, caller, standing, now), 1), else_=0)), 0)
            for tab in Tab
        ]
        statement = select(*columns).select_from(Job).join(Case, Job.case_id == Case.id)
        within = visible_to(caller), *conditions(filters or Filters())
        with self._database.read() as session:
            row = session.execute(statement.where(*within)).one()
        return {str(tab): int(count) for tab, count in zip(Tab, row, strict=True)}

    def page(self, caller: Caller, asked: Asked) -> JobPage:
        """Return a page of jobs, each with its case and with what lists show of it.

        A text is looked for in at most ``SCANNED`` rows after the cursor, so a page may hold fewer
        than ``asked.limit`` jobs, or none, and still name a next one.

        Raises:
            InvalidRequest: the cursor is invalid.
        """
        statement = self._statement(caller, asked)
        most = SCANNED if asked.text else asked.limit
        found: list[dict[str, Any]] = []
        with self._database.read() as session:
            positions = [Position(tuple(row)) for row in session.execute(statement.limit(most + 1))]
            last, more = None, len(positions) > most
            for position, row in _loaded(session, positions[:most]):
                if len(found) == asked.limit:
                    more = True
                    break
                last = position
                rows = [row] if row is not None else []
                for _, shown in opened_rows(rows, self._shown):
                    names = (shown["case"]["case_reference"], shown["listing"].get("name"))
                    if mentions(asked.text, names, shown["sha256"], shown["id"]):
                        found.append({**shown, "standing": position.standing})
            self._add_copies(session, caller, found)
            self._add_clocks(session, found)
            if asked.tab in (Tab.WAITING, Tab.ALL):
                add_places(session, found)
        if found:
            self._read_audit.note(self._database, caller, Action.RESULT_READ, detail="list")
        if asked.tab in RANKED:
            found.sort(key=_urgency, reverse=True)
        return JobPage(found, last.encoded() if more and last else None)

    def thumbnail(self, caller: Caller, job_id: str) -> bytes:
        """Return the blurred thumbnail of a job as JPEG.

        Raises:
            NotFound: there is none, or the caller may not see the job. ImageryWithheld: a person
                shown may be a minor.
        """
        with self._database.read() as session:
            job, _, of_job = find_job(session, caller, job_id)
            sealed = session.scalar(select(Listing.thumbnail).where(Listing.id == job.id))
        if sealed is None:
            raise NotFound
        if of_job.minor_at is not None:
            raise ImageryWithheld
        return open_thumbnail(self._vault.case_key(of_job), job.id, sealed)

    def listing(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """Return what lists show of a job, and the reference of its case.

        Raises:
            NotFound: there is no such job, or the caller may not see it.
        """
        with self._database.read() as session:
            job, _, of_job = find_job(session, caller, job_id)
            listing = session.get(Listing, job.id)
        key = self._vault.case_key(of_job)
        return {**open_listing(key, listing), "case_reference": open_json(key, of_job)["reference"]}

    def place(self, caller: Caller, job_id: str) -> dict[str, Any] | None:
        """Return the place of a waiting job and about how long it waits, as ``page`` does.

        Raises:
            NotFound: there is no such job, or the caller may not see it.
        """
        with self._database.read() as session:
            job, _, _ = find_job(session, caller, job_id)
            found: list[dict[str, Any]] = [{"id": job.id, "state": job.state, "place": None}]
            add_places(session, found)
        place: dict[str, Any] | None = found[0]["place"]
        return place

    def next_unreviewed(self, caller: Caller, after_job: str) -> str | None:
        """Return the id of the job that the caller reviews after ``after_job``, worst first.

        Jobs that were skipped come again after the last one.
        """
        order = _order(caller, Asked())
        waiting = self._statement(caller, Asked()).where(Job.id != after_job).limit(1)
        here = select(*order).join(Case, Job.case_id == Case.id).where(Job.id == after_job)
        with self._database.read() as session:
            row, at = None, session.execute(here).first()
            if at is not None:
                row = session.execute(waiting.where(after(order, Position(tuple(at))))).first()
            row = row or session.execute(waiting).first()
        return Position(tuple(row)).job_id if row else None

    def _statement(self, caller: Caller, asked: Asked) -> Select[*tuple[Any, ...]]:
        """Return the query for the positions of jobs, in order.

        It selects nothing else: sorting ten thousand rows with their sealed columns takes far
        longer than loading those of one page afterwards.
        """
        order, now = _order(caller, asked), self._database.clock()
        rising = asked.tab is Tab.WAITING
        statement = (
            select(*order)
            .join(Case, Job.case_id == Case.id)
            .where(visible_to(caller), Case.sealed.is_not(None), *conditions(asked.filters))
            .where(_within(asked.tab, caller, _standing(caller), now))
        )
        if asked.cursor is not None:
            position = Position.decoded(asked.cursor, ranks=len(order) - 2, turns=rising)
            statement = statement.where(after(order, position, rising=rising))
        return statement.order_by(*(c if rising else c.desc() for c in order))

    def _shown(self, row: Any) -> dict[str, Any]:
        job, media, of_job, listing, pictured, disagree = row
        key = self._vault.case_key(of_job)
        return {
            **job_json(job, media, self._database.clock(), disagree),
            "case": {
                "case_reference": open_json(key, of_job)["reference"],
                "legal_hold": of_job.held_at is not None,
                "minor": of_job.minor_at is not None,
            },
            "listing": open_listing(key, listing),
            "reasons": open_reasons(key, job),
            "thumbnail": bool(pictured) and of_job.minor_at is None,
            "copies": [],
            "clock": None,
            "place": None,
        }

    def copies(self, caller: Caller, job_id: str) -> list[dict[str, Any]]:
        """Return the earlier cases that a job's medium resembles, and whether they are confirmed.

        Raises:
            NotFound: there is no such job, or the caller may not see it.
        """
        found: dict[str, Any] = {"id": job_id, "copies": []}
        with self._database.read() as session:
            find_visible(session, caller, Job, job_id)
            self._add_copies(session, caller, [found])
        copies: list[dict[str, Any]] = found["copies"]
        return copies

    def _add_copies(self, session: Session, caller: Caller, found: list[dict[str, Any]]) -> None:
        """Name the earlier cases that the jobs' media resemble."""
        jobs = {job["id"]: job for job in found}
        confirmed = _confirmed_cases()
        matches = session.execute(
            select(Match, Case, Case.id.in_(confirmed))
            .join(Case, Match.case_id == Case.id)
            .where(Match.job_id.in_(jobs), visible_to(caller), Case.sealed.is_not(None))
            .order_by(*MOST_SIMILAR)
        )
        for row, reference in opened_rows(matches, self._reference):
            match, earlier, is_confirmed = row
            jobs[match.job_id]["copies"].append(
                {
                    "case_id": earlier.id,
                    "case_reference": reference,
                    "percent": match.percent,
                    "known_percent": match.known_percent,
                    "confirmed": bool(is_confirmed),
                }
            )

    def _reference(self, row: Any) -> str | None:
        _, earlier, _ = row
        reference: str | None = open_json(self._vault.case_key(earlier), earlier)["reference"]
        return reference

    @staticmethod
    def _add_clocks(session: Session, found: list[dict[str, Any]]) -> None:
        """Add the next deadline of a notice in the jobs' cases."""
        cases = {job["case_id"] for job in found}
        due = session.execute(
            select(Notice.case_id, func.min(Notice.due_at))
            .where(Notice.case_id.in_(cases), Notice.state.in_(RUNNING))
            .group_by(Notice.case_id)
        )
        clocks: dict[str, datetime | None] = {row[0]: row[1] for row in due}
        for job in found:
            job["clock"] = iso_time(clocks.get(job["case_id"]))


def _loaded(session: Session, positions: Sequence[Position]) -> Iterator[tuple[Position, Any]]:
    """Yield positions, each with the job and what belongs to it.

    It is ``None`` if the job was deleted in the meantime.
    """
    for start in range(0, len(positions), _BATCH):
        batch = positions[start : start + _BATCH]
        found = session.execute(
            select(Job, Media, Case, Listing, Listing.thumbnail.is_not(None), disagreed())
            .join(Media, Job.media_id == Media.id)
            .join(Case, Job.case_id == Case.id)
            .outerjoin(Listing, Listing.id == Job.id)
            .where(Job.id.in_([p.job_id for p in batch]), Case.sealed.is_not(None)),
        )
        rows = {row[0].id: row for row in found}
        for position in batch:
            yield position, rows.get(position.job_id)


def _order(caller: Caller, asked: Asked) -> list[ColumnElement[Any] | InstrumentedAttribute[Any]]:
    """Return what a page is ordered by: rising in the tab of what waits, falling in the others."""
    if asked.tab is Tab.WAITING:
        return [*UNDER_WAY]
    if asked.tab not in RANKED:
        return [Job.created_at, Job.id]
    return [_standing(caller), func.coalesce(Job.rank, UNRANKED), Job.created_at, Job.id]


def _standing(caller: Caller) -> ColumnElement[int]:
    """Return how urgent a job is, as an expression of a query on ``Job`` joined with ``Case``."""
    seen = select(Case.id).where(visible_to(caller)).correlate(None)
    copies = select(Match.job_id).where(
        Match.case_id.in_(seen), Match.case_id.in_(_confirmed_cases())
    )
    suspect = or_(
        Job.finding == Finding.AWAITING_SECOND,
        Job.verdict == VerdictCode.LIKELY_MANIPULATED,
        and_(
            Job.verdict == VerdictCode.INCONCLUSIVE,
            Job.leaning == Leaning.TOWARDS_MANIPULATED,
        ),
    )
    unreadable = or_(Job.state == JobState.FAILED, Job.verdict == VerdictCode.UNABLE_TO_EVALUATE)
    return case(
        (Job.id.in_(copies.correlate(None)), COPY),
        (suspect, SUSPECT),
        (unreadable, UNREADABLE),
        else_=OTHER,
    )


def _confirmed_cases() -> Select[Any]:
    return select(Job.case_id).where(Job.finding == Finding.CONFIRMED).correlate(None)


def _within(
    tab: Tab, caller: Caller, standing: ColumnElement[int], now: datetime
) -> ColumnElement[bool]:
    """Return the condition for the jobs of a tab."""
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
    to_withdraw = and_(Notice.withdraw_at.is_not(None), Notice.state != NoticeState.WITHDRAWN)
    every: dict[Tab, ColumnElement[bool]] = {
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
        Tab.WITHDRAW: Job.case_id.in_(noticed.where(to_withdraw)),
        Tab.DUE: Job.case_id.in_(noticed.where(running, Notice.due_at < now + SOON)),
        Tab.ALL: Job.id.is_not(None),
    }
    return every[tab]


def _urgency(job: dict[str, Any]) -> tuple[int, float]:
    ratio = job["listing"].get("llr")
    return job["standing"], float(UNRANKED if ratio is None else ratio)
