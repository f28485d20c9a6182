"""Lists of jobs for callers, who find only what they may see.

What lists show of a job beside its plain columns is sealed under the key of its case, and is opened
row by row. Reading it is audited once in ten minutes for each key.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.read_audit import ReadAudit
from deepfake_service.accounts.visibility import visible_to
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.evidence.listings import open_listing, open_reasons
from deepfake_service.platform.db import Case, Database, Job, Listing, Media, Occurrence
from deepfake_service.platform.db.enums import DISAGREEMENT
from deepfake_service.platform.pagination import (
    MAX_PAGE,
    Filters,
    JobPage,
    Order,
    conditions,
    disagreed,
    next_cursor,
    placed,
)
from deepfake_service.platform.storage import Vault, open_json
from deepfake_service.platform.storage.sealed_columns import opened_rows
from deepfake_service.review.queries import Queries, job_json, media_kind

VALUES = ("score", "log_likelihood_ratio")
CASE_PAGE = 100
"""Occurrences and jobs that the answer about a case has. An occurrence has up to 18 kB."""
DIGEST_CHARS = 12
"""Characters of the SHA-256 that stand for a file without a name."""


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """Names of files, each the beginning of the SHA-256 if the file has none."""

    by_job: dict[str, str]
    by_medium: dict[str, str]
    """Of a file that was submitted again, the last name."""


def job_rows() -> Select[Job, Media, Case, Listing, bool, bool]:
    """Select jobs with what lists show of them: the rows that ``JobLists.shown`` opens."""
    return (
        select(Job, Media, Case, Listing, Listing.thumbnail.is_not(None), disagreed())
        .join(Media, Job.media_id == Media.id)
        .join(Case, Job.case_id == Case.id)
        .outerjoin(Listing, Listing.id == Job.id)
    )


class JobLists:
    """Reads lists of jobs."""

    def __init__(self, database: Database, vault: Vault, queries: Queries) -> None:
        self._database = database
        self._vault = vault
        self._queries = queries
        self._read_audit = ReadAudit(database.clock)

    def page(
        self, caller: Caller, filters: Filters, *, limit: int, cursor: str | None = None
    ) -> JobPage:
        """Return a page of jobs with what is in plain text about them.

        Raises:
            InvalidRequest: the cursor is invalid.
        """
        rows, following = self._read(caller, filters, limit, cursor)
        return JobPage([self._plain(row) for row in rows], following)

    def scored(
        self, caller: Caller, filters: Filters, *, limit: int, cursor: str | None
    ) -> JobPage:
        """Return a page of jobs, each with ``VALUES``: ``None`` where nothing was scored; and with
        ``media_kind``.

        Raises:
            InvalidRequest: the cursor is invalid.
        """
        rows, following = self._read(caller, filters, limit, cursor)
        opened = opened_rows(rows, lambda row: {**self._plain(row), **self._values(row)})
        jobs = [job for _, job in opened]
        if any(row[0].result is not None for row in rows):
            self.audit(caller)
        if filters.order is Order.LIKELIHOOD:
            jobs.sort(key=_likelihood, reverse=True)  # exactly, and else as they were
        return JobPage(jobs, following)

    def case(self, caller: Caller, case_id: str) -> dict[str, Any]:
        """Return a case with its newest occurrences and jobs, and audit that it was read.

        Of each there are at most ``CASE_PAGE``, in the order in which they were added. The cursors
        ``occurrences_next`` and ``jobs_next`` continue with older ones.

        Raises:
            NotFound: there is no such case, or the caller may not see it.
        """
        content = self._queries.brief(caller, case_id)
        seen = self._queries.occurrences(caller, case_id, limit=CASE_PAGE)
        jobs = self.page(caller, Filters(case_id=case_id), limit=CASE_PAGE)
        return {
            **content,
            "occurrences": seen.occurrences[::-1],
            "occurrences_next": seen.next,
            "jobs": jobs.jobs[::-1],
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
            kept = (row for row in rows if row[2].sealed is not None)
            yield from (values for _, values in opened_rows(kept, self._result_row))
            if cursor is None:
                return

    def of_ids(
        self, caller: Caller, ids: Sequence[str], *, submitted: bool = False
    ) -> list[dict[str, Any]]:
        """Return the jobs with these ids, in this order, as ``shown``, with their ``posts``.

        Others, and deleted ones, are left out. ``posts`` is the number of places where the file was
        seen. With ``submitted``, only jobs that the caller's account submitted are returned.
        """
        statement = job_rows().where(Job.id.in_(ids), Case.sealed.is_not(None), visible_to(caller))
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

    def names(self, caller: Caller, case_id: str, media_ids: Collection[str]) -> NamedFiles:
        """Return the names of media of a case, and of their jobs.

        It is not audited: call it where reading the case is.
        """
        statement = job_rows().where(
            Job.case_id == case_id,
            Job.media_id.in_(media_ids),
            Case.sealed.is_not(None),
            visible_to(caller),
        )
        with self._database.read() as session:
            rows = session.execute(statement.order_by(Job.created_at, Job.id)).all()
        named = NamedFiles({}, {})
        for row, shown in opened_rows(rows, self.shown):
            name = shown["listing"]["name"] or shown["sha256"][:DIGEST_CHARS]
            named.by_job[row[0].id] = named.by_medium[row[1].id] = name
        return named

    def shown(self, row: Any) -> dict[str, Any]:
        """Return a row of ``job_rows`` as lists show it, with its case and its listing."""
        job, _, case, listing, pictured, _ = row
        key = self._vault.case_key(case)
        return {
            **self._plain(row),
            "case": {
                "case_reference": open_json(key, case)["reference"],
                "legal_hold": case.held_at is not None,
                "minor": case.minor_at is not None,
            },
            "listing": open_listing(key, listing),
            "reasons": open_reasons(key, job),
            "thumbnail": bool(pictured) and case.minor_at is None,
        }

    def audit(self, caller: Caller) -> None:
        """Append an entry to the audit log that a list of results was read."""
        self._read_audit.note(self._database, caller, Action.RESULT_READ, detail="list")

    def _read(
        self, caller: Caller, filters: Filters, limit: int, cursor: str | None
    ) -> tuple[Sequence[Any], str | None]:
        statement = job_rows().where(visible_to(caller), *conditions(filters))
        statement = placed(statement, Job, filters.order, cursor)
        with self._database.read() as session:
            rows = session.execute(statement.limit(limit)).all()
            return rows, next_cursor(session, statement, Job, limit, filters.order)

    def _plain(self, row: Any) -> dict[str, Any]:
        job, media, *_, disagree = row
        return job_json(job, media, self._database.clock(), disagree)

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
        }


def _likelihood(job: dict[str, Any]) -> float:
    value = job["log_likelihood_ratio"]
    return -math.inf if value is None else value
