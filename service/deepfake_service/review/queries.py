"""Reading jobs, cases and results for callers, who find only what they may see.

What is sealed is opened in memory with the key of its case, row by row. Reading cases, lists and
results is audited once in ten minutes for each key.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import BinaryIO, TypeVar

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.read_audit import ReadAudit
from deepfake_service.accounts.visibility import find_visible, is_kept, may_delete, visible_to
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.cases.cases import media_key, open_post
from deepfake_service.cases.filters import Filters, case_conditions, conditions, disagreed
from deepfake_service.cases.media_deletion import expiry_of
from deepfake_service.cases.posts import Post
from deepfake_service.evidence.bundle.signs import SignCode
from deepfake_service.evidence.chain_of_custody import altered_jobs
from deepfake_service.evidence.listings import open_listing, open_reasons
from deepfake_service.platform.db import Case, Database, Job, Listing, Media, Occurrence, Review
from deepfake_service.platform.enums import UNFINISHED, JobStage, JobState, Role
from deepfake_service.platform.errors import Code, Forbidden, NotFound
from deepfake_service.platform.pagination import MAX_PAGE, ListPage, Order, page_of
from deepfake_service.platform.storage import Vault, context_of, open_json
from deepfake_service.platform.storage.blobs import missing_as
from deepfake_service.platform.storage.envelope import unseal
from deepfake_service.platform.storage.sealed_columns import opened_rows
from deepfake_service.platform.texts.formatting import days_in_korea
from deepfake_service.review.shapes import (
    FoundItems,
    Item,
    PlainCase,
    PlainJob,
    Progress,
    ScoredJob,
    SignCount,
    SignSummary,
    WholeCase,
)

FEWEST_FRAMES, SHORTEST_S = 8, 3.0
"""Before so many frames and seconds, the time that a frame takes is not known: opening the media
takes longer than the first frames."""
OF_JOB = PlainJob.model_fields.keys() & Job.__table__.columns.keys()
"""What answers have of a job as its row has it."""
CASE_PAGE = 100
"""Occurrences and jobs that the answer about a case has. An occurrence has up to 18 kB."""
DIGEST_CHARS = 12
"""Characters of the SHA-256 that stand for a file without a name."""


T = TypeVar("T")
JobRow = Row[Job, Media, Case, Listing, bool, bool, int]
"""What ``job_rows`` selects."""


def job_rows() -> Select[Job, Media, Case, Listing, bool, bool, int]:
    """Select jobs with what lists show of them: their medium, case and listing, whether there is a
    thumbnail, whether reviewers disagree, and in how many places the file was seen."""
    posts = select(func.count(Occurrence.id)).where(Occurrence.media_id == Media.id)
    seen = posts.correlate(Media).scalar_subquery()
    return (
        select(Job, Media, Case, Listing, Listing.thumbnail.is_not(None), disagreed(), seen)
        .join(Media, Job.media_id == Media.id)
        .join(Case, Job.case_id == Case.id)
        .outerjoin(Listing, Listing.id == Job.id)
    )


class Queries:
    """Reads for callers. What does not exist, is being shredded, or is not theirs to see raises
    ``NotFound``, and a cursor that is not one of an earlier answer ``InvalidRequest``."""

    def __init__(self, database: Database, vault: Vault, after_review: timedelta) -> None:
        self._database = database
        self._vault = vault
        self._after_review = after_review
        self._read_audit = ReadAudit(database)

    def job(self, caller: Caller, job_id: str) -> tuple[ScoredJob, Mapping[str, object] | None]:
        """Return a job and its result, if there is one. Reading a result is audited."""
        with self._database.read() as session:
            row = _visible_row(session, caller, job_id)
        job, _, case, *_ = row
        if job.result is None:
            return self.scored(row), None
        self._read_audit.note(caller, Action.RESULT_READ, job_id)
        return self.scored(row), open_json(self._vault.case_key(case), job)

    def progress(self, caller: Caller, job_id: str) -> PlainJob:
        """Return a job without its result."""
        with self._database.read() as session:
            return self.plain(_visible_row(session, caller, job_id))

    def thumbnail(self, caller: Caller, job_id: str) -> bytes:
        """Return the blurred thumbnail of a job as JPEG; ``Forbidden`` if a person shown may
        be a minor. Audited as a list is."""
        with self._database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
            sealed = session.scalar(select(Listing.thumbnail).where(Listing.id == job.id))
        if sealed is None:
            raise NotFound
        if case.minor_at is not None:
            raise Forbidden(code=Code.IMAGERY_WITHHELD)
        self.audit(caller)  # lists show it
        return unseal(self._vault.case_key(case), sealed, context_of("thumbnail", job.id))

    def case_deletable(self, caller: Caller, case_id: str) -> bool:
        """Return whether the caller may delete a case, and no legal hold prevents it."""
        with self._database.read() as session:
            case, _ = find_visible(session, caller, Case, case_id)
        return may_delete(caller, case.account_id) and case.held_at is None

    def oldest_s(self) -> float:
        """Return the age in seconds of the oldest unfinished job, or 0 if there is none."""
        oldest = select(func.min(Job.created_at)).where(Job.state.in_(UNFINISHED))
        with self._database.read() as session:
            at = session.scalar(oldest)
        return (self._database.clock() - at).total_seconds() if at else 0.0

    def medium(
        self, caller: Caller, case_id: str, media_id: str, *, for_export: bool = False
    ) -> tuple[Media, str, bytes]:
        """Return a medium with its blob and its key. Administrators may export those of minors.
        ``NotFound`` if there is no such medium, the caller may not see it, or it was deleted;
        ``Forbidden`` if a person shown may be a minor."""
        with self._database.read() as session:
            media, case = find_visible(session, caller, Media, media_id)
        if media.case_id != case_id or not media.blob:
            raise NotFound
        if case.minor_at is not None and not (for_export and caller.role is Role.ADMIN):
            raise Forbidden(code=Code.IMAGERY_WITHHELD)
        return media, media.blob, media_key(media, self._vault.case_key(case))

    def playback(self, caller: Caller, case_id: str, media_id: str) -> tuple[BinaryIO, int]:
        """Return a medium as an open file, and its size in bytes. Audited once in ten minutes."""
        media, blob, key = self.medium(caller, case_id, media_id)
        with missing_as(NotFound, case_id=case_id, media_id=media_id):
            file = self._vault.open(blob, key)
        try:
            self._read_audit.note(caller, Action.MEDIA_READ, media_id)
        except BaseException:
            file.close()
            raise
        return file, media.size

    def cases(
        self, caller: Caller, filters: Filters, *, limit: int, cursor: str | None
    ) -> ListPage[PlainCase]:
        """Return a page of the cases that the caller may see, by ``case_conditions``. Audited once
        in ten minutes: it has their references."""
        statement = select(Case).where(
            Case.wrapped_key.is_not(None), visible_to(caller), *case_conditions(filters)
        )
        with self._database.read() as session:
            rows, following = page_of(session, statement, Case, limit, cursor, filters.order)
        if rows:
            self._read_audit.note(caller, Action.CASE_READ, detail="list")
        opened = opened_rows(rows, lambda row: self.plain_case(row[0]))
        return ListPage([case for _, case in opened], following)

    def plain_case(self, case: Case) -> PlainCase:
        """Return a case without its content."""
        content = open_json(self._vault.case_key(case), case)
        return PlainCase(
            id=case.id,
            case_reference=content["reference"],
            created_at=case.created_at,
            legal_hold=case.held_at is not None,
            hold=content.get("hold"),
            minor=case.minor_at is not None,
            reviewed_at=case.reviewed_at,
        )

    def brief(self, caller: Caller, case_id: str) -> PlainCase:
        """Return a case without its content, and audit that it was read."""
        with self._database.read() as session:
            case = self.plain_case(find_visible(session, caller, Case, case_id)[0])
        self.audit_case(caller, case_id)
        return case

    def occurrences(
        self,
        caller: Caller,
        case_id: str,
        *,
        media_id: str | None = None,
        ids: tuple[str, ...] | None = None,
        limit: int = MAX_PAGE,
        cursor: str | None = None,
    ) -> ListPage[Post]:
        """Return a page of the occurrences of a case, newest first. It can be restricted. The
        caller audits that the case is read."""
        statement = select(Occurrence).where(
            Occurrence.case_id == case_id, is_kept(Occurrence.media_id)
        )
        if media_id is not None:
            statement = statement.where(Occurrence.media_id == media_id)
        if ids is not None:
            statement = statement.where(Occurrence.id.in_(ids))
        with self._database.read() as session:
            rows, following = page_of(session, statement, Occurrence, limit, cursor)
            case, _ = find_visible(session, caller, Case, case_id)
        key = self._vault.case_key(case)
        return ListPage([open_post(key, row[0]) for row in rows], following)

    def occurrence(self, caller: Caller, case_id: str, occurrence_id: str) -> Post:
        """Return one occurrence of a case, of which the caller has just recorded it."""
        (found,) = self.occurrences(caller, case_id, ids=(occurrence_id,)).rows
        return found

    def jobs(
        self,
        caller: Caller,
        filters: Filters,
        opened: Callable[[JobRow], T],
        *,
        limit: int = MAX_PAGE,
        cursor: str | None = None,
    ) -> ListPage[T]:
        """Return a page of jobs, each as ``plain``, ``scored`` or ``item`` gives it, but for those
        of which something was altered. The caller audits what it reads of them."""
        statement = job_rows().where(visible_to(caller), *conditions(filters))
        with self._database.read() as session:
            rows, following = page_of(session, statement, Job, limit, cursor, filters.order)
        return ListPage([job for _, job in opened_rows(rows, opened)], following)

    def scored_jobs(
        self, caller: Caller, filters: Filters, *, limit: int, cursor: str | None
    ) -> ListPage[ScoredJob]:
        """Return a page of jobs with their values, in exact order. Audited once in ten minutes."""
        page = self.jobs(caller, filters, self.scored, limit=limit, cursor=cursor)
        if any(job.verdict for job in page.rows):
            self.audit(caller)
        if filters.order is Order.LIKELIHOOD:
            return ListPage(sorted(page.rows, key=_likelihood, reverse=True), page.next)
        return page

    def items_of(
        self, caller: Caller, ids: Sequence[str], *, submitted: bool = False
    ) -> list[Item]:
        """Return the jobs with these ids, at most ``MAX_PAGE``, in this order. Others, and deleted
        ones, are left out. With ``submitted``, only jobs that the caller's account submitted are
        returned. Audited as a list."""
        account = caller.account_id if submitted else None
        found = self.jobs(caller, Filters(ids=tuple(ids), account_id=account), self.item).rows
        if found:
            self.audit(caller)
        items = {item.id: item for item in found}
        return [items[job_id] for job_id in dict.fromkeys(ids) if job_id in items]

    def case(self, caller: Caller, case_id: str) -> WholeCase:
        """Return a case with its newest occurrences and jobs, and audit that it was read.

        Of each there are at most ``CASE_PAGE``, in the order in which they were added. The cursors
        ``occurrences_next`` and ``jobs_next`` continue with older ones.
        """
        case = self.brief(caller, case_id)
        seen = self.occurrences(caller, case_id, limit=CASE_PAGE)
        jobs = self.jobs(caller, Filters(case_id=case_id), self.plain, limit=CASE_PAGE)
        return WholeCase(
            **dict(case),
            occurrences=seen.rows[::-1],
            occurrences_next=seen.next,
            jobs=jobs.rows[::-1],
            jobs_next=jobs.next,
        )

    def results(
        self, caller: Caller, filters: Filters, *, limit: int
    ) -> Iterator[tuple[Item, ScoredJob, bool]]:
        """Yield at most ``limit`` jobs with their scores, newest first, and whether the records of
        each were altered. Audited as one read."""
        with self._database.write() as session:
            append_entry(session, caller.actor, Action.RESULT_READ, detail="table")
        cursor = None
        while limit > 0:
            most = min(MAX_PAGE, limit)
            page = self.jobs(caller, filters, lambda row: row, limit=most, cursor=cursor)
            limit -= len(page.rows)
            kept = [row for row in page.rows if row[2].sealed is not None]
            with self._database.read() as session:
                altered = altered_jobs(session, [row[0] for row in kept])
            for row, opened in opened_rows(kept, lambda row: (self.item(row), self.scored(row))):
                yield *opened, row[0].id in altered
            cursor = page.next
            if cursor is None:
                return

    def plain(self, row: JobRow) -> PlainJob:
        """Return what is in plain text about a job."""
        job, media, case, _, _, disagree, _ = row
        return PlainJob(
            **{name: getattr(job, name) for name in OF_JOB},
            sha256=media.sha256,
            size=media.size,
            progress=Progress(
                stage=job.stage,
                done=job.done or 0,
                total=job.total,
                overview=job.overview,
                remaining_s=_remaining_s(job, self._database.clock()),
            ),
            reviewers_disagree=bool(disagree),
            media_expires_at=expiry_of(job, media, case, self._after_review),
            media_kept=media.blob is not None,
        )

    def scored(self, row: JobRow) -> ScoredJob:
        """Return a job with the values of its result."""
        job, _, case, *_ = row
        result = {}
        if job.result is not None and case.sealed is not None:
            result = open_json(self._vault.case_key(case), job)
        return ScoredJob(
            **dict(self.plain(row)),
            media_kind=(result.get("media") or {}).get("kind"),
            score=result.get("score"),
            log_likelihood_ratio=result.get("log_likelihood_ratio"),
        )

    def item(self, row: JobRow) -> Item:
        """Return a job as lists show it."""
        job, media, case, listing, pictured, _, posts = row
        key = self._vault.case_key(case)
        entry = open_listing(key, listing)
        return Item(
            **dict(self.plain(row)),
            case=self.plain_case(case),
            entry=entry,
            name=entry.name or media.sha256[:DIGEST_CHARS],
            posts=posts,
            reasons=open_reasons(key, job),
            thumbnail=bool(pictured) and case.minor_at is None,
        )

    def signs(self, caller: Caller, start: date, end: date) -> SignSummary:
        """Count the signs in the decisions of a period in Korea on items that the caller may see.
        Audited as a list."""
        begins, ends = days_in_korea(start, end)
        made = (
            select(Review, Job, Case)
            .join(Job, Review.job_id == Job.id)
            .join(Case, Job.case_id == Case.id)
            .where(
                Review.created_at >= begins,
                Review.created_at < ends,
                Job.state == JobState.SUCCEEDED,
                Job.finding.in_(FoundItems.model_fields),
                Case.wrapped_key.is_not(None),
                visible_to(caller),
            )
            .order_by(Review.created_at, Review.id)
        )
        stated: dict[tuple[str, str], set[str]] = {}
        findings: dict[str, str] = {}
        with self._database.read() as session:
            opened = opened_rows(
                session.execute(made.execution_options(yield_per=MAX_PAGE)),
                lambda row: open_json(self._vault.case_key(row[2]), row[0]),
            )
            for (review, job, _), content in opened:
                codes = {sign["code"] for sign in content.get("signs", ())}
                stated[job.id, review.account_id] = codes
                findings[job.id] = str(job.finding)
        self.audit(caller)

        def found(jobs: Iterable[str]) -> FoundItems:
            count = Counter(findings[job_id] for job_id in jobs)
            return FoundItems(**{name: count[name] for name in FoundItems.model_fields})

        by_code = {c: {job for (job, _), codes in stated.items() if c in codes} for c in SignCode}
        counts = [SignCount(code=code, items=found(jobs)) for code, jobs in by_code.items()]
        return SignSummary(start=start, end=end, items=found(findings), signs=counts)

    def audit_case(self, caller: Caller, case_id: str) -> None:
        """Append an entry to the audit log that something of a case was read."""
        self._read_audit.note(caller, Action.CASE_READ, case_id)

    def audit(self, caller: Caller) -> None:
        """Append an entry to the audit log that a list of results was read."""
        self._read_audit.note(caller, Action.RESULT_READ, detail="list")


def _visible_row(session: Session, caller: Caller, job_id: str) -> JobRow:
    """Return the row of a job; ``NotFound`` as ``find_visible``."""
    find_visible(session, caller, Job, job_id)
    return session.execute(job_rows().where(Job.id == job_id)).one()


def _remaining_s(job: Job, now: datetime) -> int | None:
    """Return about how many seconds the frames planned so far take, by those that are finished. It
    counts from the beginning of the examination, so it grows while nothing is finished."""
    if job.state != JobState.RUNNING or job.stage not in (JobStage.OVERVIEW, JobStage.DENSE):
        return None
    if job.started_at is None or not job.total:
        return None
    spent_s, left = (now - job.started_at).total_seconds(), job.total - job.done
    if left <= 0 or job.done < FEWEST_FRAMES or spent_s < SHORTEST_S:
        return None
    seconds = left * spent_s / job.done
    # To ten seconds, or to minutes from a minute and a half on: it is no more exact.
    step = 10 if seconds < 90 else 60
    return max(step, step * round(seconds / step))


def _likelihood(job: ScoredJob) -> float:
    value = job.log_likelihood_ratio
    return -math.inf if value is None else value
