"""Jobs, cases and results as they are read: opened with their case's key, in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, BinaryIO

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deepfake_service.casework.core.cases import media_key
from deepfake_service.casework.core.pagination import (
    MAX_PAGE,
    Filters,
    JobPage,
    OccurrencePage,
    conditions,
    encoded,
    older,
)
from deepfake_service.casework.core.permissions import may_delete, may_see, visible
from deepfake_service.casework.core.read_audit import ReadAudit
from deepfake_service.db import Case, Database, Job, Media, Occurrence
from deepfake_service.db.enums import UNFINISHED, JobState, Role
from deepfake_service.errors import (
    DatabaseUnavailable,
    ImageryWithheld,
    NotFound,
)
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import Action, append_entry
from deepfake_service.storage import Vault, context_of
from deepfake_service.storage.envelope import unseal


class Queries:
    """Reads for callers: what they may not see is not there."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._read_audit = ReadAudit(database.clock)

    def job(self, caller: Caller, job_id: str, *, audited: bool = True) -> dict[str, Any]:
        """A job with its result, if it has one; reading a result is audited.

        Raises:
            NotFound: there is none that the caller may see.
        """
        with self._database.read() as session:
            job, media, case = row_of(session, caller, job_id)
        result = self._result(job, case) if job.result is not None else None
        if result is not None and audited:
            with self._database.write() as session:
                append_entry(session, caller.actor, Action.RESULT_READ, job_id)
        return {**_job_json(job, media), "result": result}

    def progress(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """A job without its result."""
        with self._database.read() as session:
            job, media, _ = row_of(session, caller, job_id)
        return _job_json(job, media)

    def deletable(self, caller: Caller, job_id: str) -> bool:
        """Whether the caller may delete a job now: it is theirs, and no hold keeps it."""
        with self._database.read() as session:
            job, _, case = row_of(session, caller, job_id)
        return may_delete(caller, job.account_id) and case.held_at is None

    def waiting(self) -> float:
        """How many jobs no worker has begun; NaN while the database does not answer."""
        counted = select(func.count()).where(Job.state == JobState.QUEUED)
        try:
            with self._database.read() as session:
                return float(session.scalar(counted) or 0)
        except DatabaseUnavailable:
            return math.nan

    def oldest_s(self) -> float:
        """Age in seconds of the oldest job that is not over; 0 without one, NaN as above."""
        try:
            with self._database.read() as session:
                at = session.scalar(
                    select(func.min(Job.created_at)).where(Job.state.in_(UNFINISHED))
                )
        except DatabaseUnavailable:
            return math.nan
        return (self._database.clock() - at).total_seconds() if at else 0.0

    def medium(self, caller: Caller, case_id: str, media_id: str) -> tuple[str, bytes]:
        """The blob and key of a medium that is still kept; reading it is audited as an export.

        Raises:
            NotFound: there is none that the caller may see, or it is no longer kept.
            ImageryWithheld: somebody may be a minor, and the caller is no administrator.
        """
        with self._database.read() as session:
            case, media = session.get(Case, case_id), session.get(Media, media_id)
        if case is None or media is None or media.case_id != case_id or not media.blob:
            raise NotFound
        if not may_see(caller, case):
            raise NotFound
        if case.minor_at is not None and caller.role is not Role.ADMIN:
            raise ImageryWithheld
        key = media_key(media, self._vault.case_key(case.id, case.wrapped_key))
        with self._database.write() as session:
            append_entry(session, caller.actor, Action.MEDIA_EXPORTED, media_id)
        return media.blob, key

    def playback(self, caller: Caller, case_id: str, media_id: str) -> tuple[BinaryIO, int]:
        """A medium that is still kept, opened, and its size. Audited, once in ten minutes.

        Raises:
            NotFound: there is none that the caller may see, or it is no longer kept.
            ImageryWithheld: somebody who is shown may be a minor.
        """
        with self._database.read() as session:
            case, media = session.get(Case, case_id), session.get(Media, media_id)
        if case is None or media is None or media.case_id != case_id or not media.blob:
            raise NotFound
        if not may_see(caller, case):
            raise NotFound
        if case.minor_at is not None:
            raise ImageryWithheld
        key = media_key(media, self._vault.case_key(case.id, case.wrapped_key))
        if self._read_audit.is_first_read(caller, media_id):
            with self._database.write() as session:
                append_entry(session, caller.actor, Action.MEDIA_READ, media_id)
        return self._vault.open(media.blob, key), media.size

    def queue(self, caller: Caller, filters: Filters, *, limit: int, cursor: str | None) -> JobPage:
        """As ``jobs``, each with its case's reference: what the console lists."""
        page = self.jobs(caller, filters, limit=limit, cursor=cursor)
        wanted = {j["case_id"] for j in page.jobs}
        with self._database.read() as session:
            cases = session.scalars(select(Case).where(Case.id.in_(wanted))).all()
        about = {c.id: self._case_json(c) for c in cases if c.sealed is not None}
        jobs = [{**j, "case": about[j["case_id"]]} for j in page.jobs if j["case_id"] in about]
        return JobPage(jobs, page.next)

    def results(self, caller: Caller, filters: Filters, *, limit: int) -> Iterator[dict[str, Any]]:
        """Jobs with what was found in them, newest first, at most ``limit``. Audited as one."""
        with self._database.write() as session:
            append_entry(session, caller.actor, Action.RESULT_READ, detail="table")
        cursor, left = None, limit
        while left > 0:
            page = self.jobs(caller, filters, limit=min(MAX_PAGE, left), cursor=cursor)
            left -= len(page.jobs)
            with self._database.read() as session:
                ids = [j["id"] for j in page.jobs]
                rows = session.execute(
                    select(Job, Case).join(Case, Job.case_id == Case.id).where(Job.id.in_(ids))
                ).all()
            opened = {job.id: (job, case) for job, case in rows}
            for stated_job in page.jobs:
                if stated_job["id"] not in opened:
                    continue
                job, case = opened[stated_job["id"]]
                if case.sealed is None:
                    continue
                result = self._result(job, case) if job.result is not None else {}
                yield {
                    "job": job.id,
                    "case": case.id,
                    "case_reference": self._case_json(case)["case_reference"],
                    "state": job.state,
                    "verdict": job.verdict,
                    "score": result.get("score"),
                    "log_likelihood_ratio": result.get("log_likelihood_ratio"),
                    "finding": job.finding,
                    "sha256": stated_job["sha256"],
                    "submitted_at": stated(job.created_at),
                    "finished_at": stated(job.finished_at),
                }
            if page.next is None:
                return
            cursor = page.next

    def _result(self, job: Job, case: Case) -> dict[str, Any]:
        key = self._vault.case_key(case.id, case.wrapped_key)
        assert job.result is not None
        content: dict[str, Any] = json.loads(unseal(key, job.result, context_of("result", job.id)))
        return content

    def jobs(self, caller: Caller, filters: Filters, *, limit: int, cursor: str | None) -> JobPage:
        """A page of the jobs that the caller may see, newest first, without results.

        Raises:
            InvalidRequest: the cursor is none that was given out.
        """
        statement = (
            select(Job, Media)
            .join(Media, Job.media_id == Media.id)
            .join(Case, Job.case_id == Case.id)
            .where(visible(caller))
        )
        for column, wanted in (
            (Job.state, filters.state),
            (Job.verdict, filters.verdict),
            (Job.case_id, filters.case_id),
        ):
            if wanted is not None:
                statement = statement.where(column == wanted)
        statement = statement.where(*conditions(filters))
        if cursor is not None:
            statement = statement.where(older(Job.created_at, Job.id, cursor))
        statement = statement.order_by(Job.created_at.desc(), Job.id.desc()).limit(limit + 1)
        with self._database.read() as session:
            rows = [(job, media) for job, media in session.execute(statement)]
        more = len(rows) > limit
        rows = rows[:limit]
        following = encoded(rows[-1][0]) if more else None
        return JobPage([_job_json(job, media) for job, media in rows], following)

    def cases(self, caller: Caller, *, limit: int, cursor: str | None) -> dict[str, Any]:
        """A page of the cases that the caller may see, newest first.

        Raises:
            InvalidRequest: the cursor is none that was given out.
        """
        statement = select(Case).where(Case.wrapped_key.is_not(None), visible(caller))
        if cursor is not None:
            statement = statement.where(older(Case.created_at, Case.id, cursor))
        statement = statement.order_by(Case.created_at.desc(), Case.id.desc()).limit(limit + 1)
        with self._database.read() as session:
            found = list(session.scalars(statement))
        more, found = len(found) > limit, found[:limit]
        return {
            "cases": [self._case_json(case) for case in found],
            "next": encoded(found[-1]) if more else None,
        }

    def _case_json(self, case: Case) -> dict[str, Any]:
        key = self._vault.case_key(case.id, case.wrapped_key)
        assert case.sealed is not None
        about = json.loads(unseal(key, case.sealed, context_of("case", case.id)))
        return {
            "id": case.id,
            "case_reference": about["reference"],
            "created_at": stated(case.created_at),
            "legal_hold": case.held_at is not None,
            "minor": case.minor_at is not None,
            "reviewed_at": stated(case.reviewed_at),
        }

    def brief(self, caller: Caller, case_id: str) -> dict[str, Any]:
        """A case without what is in it; reading it is audited.

        Raises:
            NotFound: there is none that the caller may see.
        """
        with self._database.read() as session:
            case = _case_of(session, caller, case_id)
        with self._database.write() as session:
            append_entry(session, caller.actor, Action.CASE_READ, case_id)
        return self._case_json(case)

    def occurrences(
        self,
        caller: Caller,
        case_id: str,
        *,
        media_id: str | None = None,
        ids: tuple[str, ...] | None = None,
        limit: int = MAX_PAGE,
        cursor: str | None = None,
    ) -> OccurrencePage:
        """A page of where a case, or one medium of it, was seen, the newest first; of those with
        ``ids`` alone, if they are given.

        Raises:
            NotFound: there is none that the caller may see. InvalidRequest: the cursor is none that
                was given out.
        """
        statement = select(Occurrence).where(Occurrence.case_id == case_id)
        if media_id is not None:
            statement = statement.where(Occurrence.media_id == media_id)
        if ids is not None:
            statement = statement.where(Occurrence.id.in_(ids))
        if cursor is not None:
            statement = statement.where(older(Occurrence.created_at, Occurrence.id, cursor))
        statement = statement.order_by(Occurrence.created_at.desc(), Occurrence.id.desc())
        with self._database.read() as session:
            case = _case_of(session, caller, case_id)
            found = list(session.scalars(statement.limit(limit + 1)))
        more, found = len(found) > limit, found[:limit]
        key = self._vault.case_key(case.id, case.wrapped_key)
        return OccurrencePage(self._occurrences(found, key), encoded(found[-1]) if more else None)

    def case(self, caller: Caller, case_id: str) -> dict[str, Any]:
        """A case with all its occurrences and jobs; reading it is audited.

        Raises:
            NotFound: there is none that the caller may see.
        """
        with self._database.read() as session:
            case = _case_of(session, caller, case_id)
            seen = session.scalars(
                select(Occurrence)
                .where(Occurrence.case_id == case_id)
                .order_by(Occurrence.created_at)
            ).all()
            jobs = session.execute(
                select(Job, Media)
                .join(Media, Job.media_id == Media.id)
                .where(Job.case_id == case_id)
                .order_by(Job.created_at)
            ).all()
        key = self._vault.case_key(case.id, case.wrapped_key)
        with self._database.write() as session:
            append_entry(session, caller.actor, Action.CASE_READ, case_id)
        return {
            **self._case_json(case),
            "occurrences": self._occurrences(seen, key),
            "jobs": [_job_json(job, media) for job, media in jobs],
        }

    @staticmethod
    def _occurrences(seen: Sequence[Occurrence], key: bytes) -> list[dict[str, Any]]:
        return [
            {
                "id": o.id,
                "media_id": o.media_id,
                "recorded_at": stated(o.created_at),
                "note": None,  # of occurrences that were noted before there were notes
                **json.loads(unseal(key, o.sealed, context_of("occurrence", o.id))),
            }
            for o in seen
        ]


def _case_of(session: Session, caller: Caller, case_id: str) -> Case:
    case = session.get(Case, case_id)
    if case is None or case.sealed is None or not may_see(caller, case):
        raise NotFound
    return case


def row_of(session: Session, caller: Caller, job_id: str) -> tuple[Job, Media, Case]:
    """A job with its medium and case.

    Raises:
        NotFound: there is none that the caller may see.
    """
    job = session.get(Job, job_id)
    case = session.get(Case, job.case_id) if job else None
    if job is None or case is None or not may_see(caller, case):
        raise NotFound
    return job, session.get_one(Media, job.media_id), case


def _job_json(job: Job, media: Media) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "sha256": media.sha256,
        "size": media.size,
        "case_id": job.case_id,
        "media_id": media.id,
        "priority": job.priority,
        "frames": job.frames,
        "retention": job.retention,
        "progress": {"stage": job.stage, "done": job.done or 0, "total": job.total},
        "verdict": job.verdict,
        "finding": job.finding,
        "failure": job.failure,
        "bundle_sha256": job.bundle_sha256,
        "created_at": stated(job.created_at),
        "started_at": stated(job.started_at),
        "finished_at": stated(job.finished_at),
        "media_expires_at": stated(media.expires_at) if media.blob else None,
        "media_kept": media.blob is not None,
    }


def stated(at: datetime | None) -> str | None:
    """A time as answers state it: ISO 8601 in UTC, to the millisecond."""
    return None if at is None else at.isoformat(timespec="milliseconds")
