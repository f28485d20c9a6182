"""Reading jobs, cases and results for callers, who find only what they may see.

What is sealed is opened in memory with the key of its case, row by row. Reading cases, lists and
results is audited once in ten minutes for each key.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.read_audit import ReadAudit
from deepfake_service.accounts.visibility import find_visible, is_kept, may_delete, visible_to
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.cases.cases import media_key, open_occurrence
from deepfake_service.evidence.chain_of_custody import altered_jobs
from deepfake_service.evidence.listings import open_listing, open_reasons
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import Case, Database, Job, Listing, Media, Occurrence
from deepfake_service.platform.db.enums import (
    DENSE,
    DISAGREEMENT,
    OVERVIEW,
    UNFINISHED,
    JobState,
    Role,
)
from deepfake_service.platform.errors import ImageryWithheld, NotFound
from deepfake_service.platform.pagination import (
    MAX_PAGE,
    Filters,
    ListPage,
    Order,
    case_conditions,
    conditions,
    disagreed,
    page_of,
)
from deepfake_service.platform.storage import Vault, context_of, open_json
from deepfake_service.platform.storage.blobs import missing_as
from deepfake_service.platform.storage.envelope import unseal
from deepfake_service.platform.storage.sealed_columns import opened_rows

FEWEST_FRAMES, SHORTEST_S = 8, 3.0
"""Before so many frames and seconds, the time that a frame takes is not known: opening the media
takes longer than the first frames."""
VALUES = ("score", "log_likelihood_ratio")
PLAIN = (
    "id", "kind", "state", "case_id", "media_id", "priority", "frames", "retention", "verdict",
    "leaning", "finding", "failure", "bundle_sha256",
)  # fmt: skip
TIMES = ("created_at", "started_at", "finished_at")
"""What answers have of a job as its row has it."""
CASE_PAGE = 100
"""Occurrences and jobs that the answer about a case has. An occurrence has up to 18 kB."""
DIGEST_CHARS = 12
"""Characters of the SHA-256 that stand for a file without a name."""


def job_rows() -> Select[Job, Media, Case, Listing, bool, bool]:
    """Select jobs with what lists show of them: the rows that ``Queries.shown`` opens."""
    return (
        select(Job, Media, Case, Listing, Listing.thumbnail.is_not(None), disagreed())
        .join(Media, Job.media_id == Media.id)
        .join(Case, Job.case_id == Case.id)
        .outerjoin(Listing, Listing.id == Job.id)
    )


class Queries:
    """Reads for callers. What does not exist, is being shredded, or is not theirs to see raises
    ``NotFound``, and a cursor that is not one of an earlier answer ``InvalidRequest``."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._read_audit = ReadAudit(database)

    def job(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """Return a job with its result, or ``None`` as result. Reading a result is audited."""
        with self._database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
            shown = self.plain(session, job)
        result = None
        if job.result is not None:
            result = open_json(self._vault.case_key(case), job)
            self._read_audit.note(caller, Action.RESULT_READ, job_id)
        return {**shown, "media_kind": media_kind(result), "result": result}

    def progress(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """Return a job without its result."""
        with self._database.read() as session:
            return self.plain(session, find_visible(session, caller, Job, job_id)[0])

    def plain(self, session: Session, job: Job) -> dict[str, Any]:
        """Return what is in plain text about a job."""
        return self._plain(session.execute(job_rows().where(Job.id == job.id)).one())

    def thumbnail(self, caller: Caller, job_id: str) -> bytes:
        """Return the blurred thumbnail of a job as JPEG; ``ImageryWithheld`` if a person shown may
        be a minor. Audited as a list is."""
        with self._database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
            sealed = session.scalar(select(Listing.thumbnail).where(Listing.id == job.id))
        if sealed is None:
            raise NotFound
        if case.minor_at is not None:
            raise ImageryWithheld
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
        ``ImageryWithheld`` if a person shown may be a minor."""
        with self._database.read() as session:
            media, case = find_visible(session, caller, Media, media_id)
        if media.case_id != case_id or not media.blob:
            raise NotFound
        if case.minor_at is not None and not (for_export and caller.role is Role.ADMIN):
            raise ImageryWithheld
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
    ) -> dict[str, Any]:
        """Return a page of the cases that the caller may see, by ``case_conditions``. Audited once
        in ten minutes: it has their references."""
        statement = select(Case).where(
            Case.wrapped_key.is_not(None), visible_to(caller), *case_conditions(filters)
        )
        with self._database.read() as session:
            rows, following = page_of(session, statement, Case, limit, cursor, filters.order)
        if rows:
            self._read_audit.note(caller, Action.CASE_READ, detail="list")
        opened = opened_rows(rows, lambda row: self.case_json(row[0]))
        return {"cases": [shown for _, shown in opened], "next": following}

    def case_json(self, case: Case) -> dict[str, Any]:
        """Return a case without its content."""
        content = open_json(self._vault.case_key(case), case)
        return {
            "id": case.id,
            "case_reference": content["reference"],
            "created_at": iso_time(case.created_at),
            "legal_hold": case.held_at is not None,
            "hold": content.get("hold"),
            "minor": case.minor_at is not None,
            "reviewed_at": iso_time(case.reviewed_at),
        }

    def brief(self, caller: Caller, case_id: str) -> dict[str, Any]:
        """Return a case without its content, and audit that it was read."""
        with self._database.read() as session:
            content = self.case_json(find_visible(session, caller, Case, case_id)[0])
        self.audit_case(caller, case_id)
        return content

    def occurrences(
        self,
        caller: Caller,
        case_id: str,
        *,
        media_id: str | None = None,
        ids: tuple[str, ...] | None = None,
        limit: int = MAX_PAGE,
        cursor: str | None = None,
    ) -> ListPage:
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
        return ListPage(occurrences_json([row[0] for row in rows], key), following)

    def occurrence(self, caller: Caller, case_id: str, occurrence_id: str) -> dict[str, Any]:
        """Return one occurrence of a case, of which the caller has just recorded it."""
        (found,) = self.occurrences(caller, case_id, ids=(occurrence_id,)).rows
        return found

    def jobs(
        self, caller: Caller, filters: Filters, *, limit: int, cursor: str | None = None
    ) -> ListPage:
        """Return a page of jobs with what is in plain text about them."""
        rows, following = self._read(caller, filters, limit, cursor)
        return ListPage([self._plain(row) for row in rows], following)

    def scored_jobs(
        self, caller: Caller, filters: Filters, *, limit: int, cursor: str | None
    ) -> ListPage:
        """Return a page of jobs, each with ``VALUES``: ``None`` where nothing was scored; and with
        ``media_kind``.
        """
        rows, following = self._read(caller, filters, limit, cursor)
        opened = opened_rows(rows, lambda row: {**self._plain(row), **self._values(row)})
        jobs = [job for _, job in opened]
        if any(row[0].result is not None for row in rows):
            self.audit(caller)
        if filters.order is Order.LIKELIHOOD:
            jobs.sort(key=_likelihood, reverse=True)  # exactly, and else as they were
        return ListPage(jobs, following)

    def case(self, caller: Caller, case_id: str) -> dict[str, Any]:
        """Return a case with its newest occurrences and jobs, and audit that it was read.

        Of each there are at most ``CASE_PAGE``, in the order in which they were added. The cursors
        ``occurrences_next`` and ``jobs_next`` continue with older ones.
        """
        content = self.brief(caller, case_id)
        seen = self.occurrences(caller, case_id, limit=CASE_PAGE)
        jobs = self.jobs(caller, Filters(case_id=case_id), limit=CASE_PAGE)
        return {
            **content,
            "occurrences": seen.rows[::-1],
            "occurrences_next": seen.next,
            "jobs": jobs.rows[::-1],
            "jobs_next": jobs.next,
        }

    def results(self, caller: Caller, filters: Filters, *, limit: int) -> Iterator[dict[str, Any]]:
        """Yield at most ``limit`` jobs with their scores, newest first. Audited as one read."""
        with self._database.write() as session:
            append_entry(session, caller.actor, Action.RESULT_READ, detail="table")
        cursor = None
        while limit > 0:
            rows, cursor = self._read(caller, filters, min(MAX_PAGE, limit), cursor)
            limit -= len(rows)
            kept = [row for row in rows if row[2].sealed is not None]
            with self._database.read() as session:
                altered = altered_jobs(session, [row[0] for row in kept])
            for row, values in opened_rows(kept, self._result_row):
                yield values | ({"finding": "record_altered"} if row[0].id in altered else {})
            if cursor is None:
                return

    def jobs_of(
        self, caller: Caller, ids: Sequence[str], *, submitted: bool = False
    ) -> list[dict[str, Any]]:
        """Return the jobs with these ids, in this order, as ``shown``, with their ``posts``.

        Others, and deleted ones, are left out. ``posts`` is the number of places where the file was
        seen. With ``submitted``, only jobs that the caller's account submitted are returned.
        """
        statement = job_rows().where(
            Job.id.in_(ids),
            Job.state != JobState.CANCELLED,
            Case.sealed.is_not(None),
            visible_to(caller),
        )
        if submitted:
            statement = statement.where(Job.account_id == caller.account_id)
        with self._database.read() as session:
            rows = session.execute(statement).all()
            seen = session.execute(
                select(Occurrence.media_id, func.count())
                .where(Occurrence.media_id.in_([row[1].id for row in rows]))
                .group_by(Occurrence.media_id)
            )
            posts: dict[str, int] = {row[0]: row[1] for row in seen}
        if rows:
            self.audit(caller)
        jobs = {
            row[0].id: {**shown, "posts": posts.get(row[1].id, 0)}
            for row, shown in opened_rows(rows, self.shown)
        }
        return [jobs[job_id] for job_id in dict.fromkeys(ids) if job_id in jobs]

    def of_media(
        self, caller: Caller, case_id: str, media: tuple[str, ...]
    ) -> list[dict[str, Any]]:
        """Return the jobs of media of a case as ``shown``, oldest first, but for those of which
        something was altered. It is not audited: call it where reading the case is."""
        filters = Filters(case_id=case_id, media=media, order=Order.OLDEST)
        rows, _ = self._read(caller, filters, MAX_PAGE, None)
        return [shown for _, shown in opened_rows(rows, self.shown)]

    def shown(self, row: Any) -> dict[str, Any]:
        """Return a row of ``job_rows`` as lists show it, with its case and its listing."""
        job, media, case, listing, pictured, _ = row
        key = self._vault.case_key(case)
        listed = open_listing(key, listing)
        return {
            **self._plain(row),
            "case": {
                "case_reference": open_json(key, case)["reference"],
                "legal_hold": case.held_at is not None,
                "minor": case.minor_at is not None,
            },
            "listing": listed,
            "name": listed["name"] or media.sha256[:DIGEST_CHARS],
            "reasons": open_reasons(key, job),
            "thumbnail": bool(pictured) and case.minor_at is None,
        }

    def audit_case(self, caller: Caller, case_id: str) -> None:
        """Append an entry to the audit log that something of a case was read."""
        self._read_audit.note(caller, Action.CASE_READ, case_id)

    def audit(self, caller: Caller) -> None:
        """Append an entry to the audit log that a list of results was read."""
        self._read_audit.note(caller, Action.RESULT_READ, detail="list")

    def _read(
        self, caller: Caller, filters: Filters, limit: int, cursor: str | None
    ) -> tuple[Sequence[Any], str | None]:
        statement = job_rows().where(visible_to(caller), *conditions(filters))
        with self._database.read() as session:
            return page_of(session, statement, Job, limit, cursor, filters.order)

    def _plain(self, row: Any) -> dict[str, Any]:
        job, media, *_, disagree = row
        return {
            **{name: getattr(job, name) for name in PLAIN},
            "sha256": media.sha256,
            "size": media.size,
            "progress": {
                "stage": job.stage,
                "done": job.done or 0,
                "total": job.total,
                "overview": job.overview,
                "remaining_s": _remaining_s(job, self._database.clock()),
            },
            "reviewers_disagree": bool(disagree),
            **{name: iso_time(getattr(job, name)) for name in TIMES},
            "media_expires_at": iso_time(_expiry_of(job, media)) if media.blob else None,
            "media_kept": media.blob is not None,
        }

    def _values(self, row: Any) -> dict[str, Any]:
        job, _, case, *_ = row
        result: dict[str, Any] = {}
        if job.result is not None and case.sealed is not None:
            result = open_json(self._vault.case_key(case), job)
        values = {name: result.get(name) for name in VALUES}
        return {**values, "media_kind": media_kind(result)}

    def _result_row(self, row: Any) -> dict[str, Any]:
        job, values = self.shown(row), self._values(row)
        return {
            "job": job["id"],
            "case": job["case_id"],
            "case_reference": job["case"]["case_reference"],
            "state": job["state"],
            "verdict": job["verdict"],
            **{name: values[name] for name in VALUES},
            "finding": DISAGREEMENT if job["reviewers_disagree"] else job["finding"],
            "sha256": job["sha256"],
            "submitted_at": job["created_at"],
            "finished_at": job["finished_at"],
            "leaning": job["leaning"],
            "file_name": job["listing"]["name"],
            "platform": job["listing"]["platform"],
        }


def occurrences_json(occurrences: Sequence[Occurrence], key: bytes) -> list[dict[str, Any]]:
    """Return the content of occurrences, decrypted with the key of their case."""
    return [
        {
            "id": o.id,
            "media_id": o.media_id,
            "recorded_at": iso_time(o.created_at),
            **open_occurrence(key, o),
        }
        for o in occurrences
    ]


def media_kind(result: Mapping[str, Any] | None) -> str | None:
    """Return ``image`` or ``video``, which a medium is by its content; ``None`` if unknown."""
    media = (result or {}).get("media")
    return media["kind"] if media else None


def _expiry_of(job: Job, media: Media) -> datetime | None:
    """Return when a medium expires: not while its item is on hold."""
    if media.expires_at is None or job.awaited_until is None:
        return media.expires_at
    return max(media.expires_at, job.awaited_until)


def _remaining_s(job: Job, now: datetime) -> int | None:
    """Return about how many seconds the frames planned so far take, by those that are finished. It
    counts from the beginning of the examination, so it grows while nothing is finished."""
    if job.state != JobState.RUNNING or job.stage not in (OVERVIEW, DENSE):
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


def _likelihood(job: dict[str, Any]) -> float:
    value = job["log_likelihood_ratio"]
    return -math.inf if value is None else value
