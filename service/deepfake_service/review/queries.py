"""Reading jobs, cases and results, decrypted in memory with the key of their case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.read_audit import ReadAudit
from deepfake_service.accounts.visibility import find_visible, may_delete, visible_to
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.cases.cases import media_key, open_occurrence
from deepfake_service.evidence.listings import open_thumbnail
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import Case, Database, Job, Listing, Media, Occurrence
from deepfake_service.platform.db.enums import UNFINISHED, JobState, Role
from deepfake_service.platform.errors import ImageryWithheld, NotFound
from deepfake_service.platform.pagination import (
    MAX_PAGE,
    Filters,
    OccurrencePage,
    case_conditions,
    disagreed,
    next_cursor,
    older,
    placed,
)
from deepfake_service.platform.storage import Vault, open_json
from deepfake_service.platform.storage.blobs import missing_as
from deepfake_service.platform.storage.sealed_columns import opened_rows

OVERVIEW, DENSE, EVIDENCE = "overview", "dense", "evidence"
"""The stages of an examination, in order."""
FEWEST_FRAMES, SHORTEST_S = 8, 3.0
"""Before so many frames and seconds, the time that a frame takes is not known: opening the media
takes longer than the first frames."""


class Queries:
    """Reads for callers, who find only what they may see."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._read_audit = ReadAudit(database.clock)

    def job(self, caller: Caller, job_id: str, *, audited: bool = True) -> dict[str, Any]:
        """Return a job with its result, or ``None`` as result.

        Reading a result is audited once in ten minutes for each key.

        Raises:
            NotFound: there is no such job, or the caller may not see it.
        """
        with self._database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
            shown = self.plain(session, job)
        result = None
        if job.result is not None:
            result = open_json(self._vault.case_key(case), job)
            if audited:
                self._read_audit.note(self._database, caller, Action.RESULT_READ, job_id)
        return {**shown, "media_kind": media_kind(result), "result": result}

    def progress(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """Return a job without its result."""
        with self._database.read() as session:
            return self.plain(session, find_visible(session, caller, Job, job_id)[0])

    def plain(self, session: Session, job: Job) -> dict[str, Any]:
        """Return what is in plain text about a job."""
        at_odds = select(Job.id).where(Job.id == job.id, disagreed())
        disagree = session.scalar(at_odds) is not None
        return job_json(job, session.get_one(Media, job.media_id), self._database.clock(), disagree)

    def thumbnail(self, caller: Caller, job_id: str) -> bytes:
        """Return the blurred thumbnail of a job as JPEG.

        Raises:
            NotFound: there is none, or the caller may not see the job. ImageryWithheld: a person
                shown may be a minor.
        """
        with self._database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
            sealed = session.scalar(select(Listing.thumbnail).where(Listing.id == job.id))
        if sealed is None:
            raise NotFound
        if case.minor_at is not None:
            raise ImageryWithheld
        return open_thumbnail(self._vault.case_key(case), job.id, sealed)

    def case_deletable(self, caller: Caller, case_id: str) -> bool:
        """Return whether the caller may delete a case, and no legal hold prevents it."""
        with self._database.read() as session:
            case = find_kept(session, caller, case_id)
        return may_delete(caller, case.account_id) and case.held_at is None

    def oldest_s(self) -> float:
        """Return the age in seconds of the oldest unfinished job, or 0 if there is none."""
        oldest = select(func.min(Job.created_at)).where(Job.state.in_(UNFINISHED))
        with self._database.read() as session:
            at = session.scalar(oldest)
        return (self._database.clock() - at).total_seconds() if at else 0.0

    def medium(self, caller: Caller, case_id: str, media_id: str) -> tuple[str, bytes]:
        """Return the blob and the key of a medium, for an export, which audits it.

        Raises:
            NotFound: there is no such medium, the caller may not see it, or it was deleted.
            ImageryWithheld: a person shown may be a minor, and the caller is not an administrator.
        """
        media, key = self._medium(caller, case_id, media_id, shown_to_admins=True)
        assert media.blob is not None
        return media.blob, key

    def playback(self, caller: Caller, case_id: str, media_id: str) -> tuple[BinaryIO, int]:
        """Return a medium as an open file, and its size in bytes. Audited once in ten minutes.

        Raises:
            NotFound: there is no such medium, the caller may not see it, or it was deleted.
            ImageryWithheld: a person shown may be a minor.
        """
        media, key = self._medium(caller, case_id, media_id, shown_to_admins=False)
        assert media.blob is not None
        with missing_as(NotFound, case_id=case_id, media_id=media_id):
            file = self._vault.open(media.blob, key)
        try:
            self._read_audit.note(self._database, caller, Action.MEDIA_READ, media_id)
        except BaseException:
            file.close()
            raise
        return file, media.size

    def _medium(
        self, caller: Caller, case_id: str, media_id: str, *, shown_to_admins: bool
    ) -> tuple[Media, bytes]:
        with self._database.read() as session:
            media, case = find_visible(session, caller, Media, media_id)
        if media.case_id != case_id or not media.blob:
            raise NotFound
        if case.minor_at is not None and not (shown_to_admins and caller.role is Role.ADMIN):
            raise ImageryWithheld
        return media, media_key(media, self._vault.case_key(case))

    def cases(
        self, caller: Caller, filters: Filters, *, limit: int, cursor: str | None
    ) -> dict[str, Any]:
        """Return a page of the cases that the caller may see, by ``case_conditions``.

        Raises:
            InvalidRequest: the cursor is invalid.
        """
        statement = placed(
            select(Case).where(
                Case.wrapped_key.is_not(None), visible_to(caller), *case_conditions(filters)
            ),
            Case,
            filters.order,
            cursor,
        )
        with self._database.read() as session:
            rows = session.execute(statement.limit(limit)).all()
            cursor = next_cursor(session, statement, Case, limit)
        opened = opened_rows(rows, lambda row: self.case_json(row[0]))
        return {"cases": [shown for _, shown in opened], "next": cursor}

    def case_json(self, case: Case) -> dict[str, Any]:
        """Return a case without its content."""
        return {
            "id": case.id,
            "case_reference": open_json(self._vault.case_key(case), case)["reference"],
            "created_at": iso_time(case.created_at),
            "legal_hold": case.held_at is not None,
            "minor": case.minor_at is not None,
            "reviewed_at": iso_time(case.reviewed_at),
        }

    def brief(self, caller: Caller, case_id: str) -> dict[str, Any]:
        """Return a case without its content, and audit that it was read.

        Raises:
            NotFound: there is no such case, or the caller may not see it.
        """
        with self._database.read() as session:
            case = find_kept(session, caller, case_id)
        with self._database.write() as session:
            append_entry(session, caller.actor, Action.CASE_READ, case_id)
        return self.case_json(case)

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
        """Return a page of the occurrences of a case, newest first.

        Args:
            media_id: restricts them to one medium of the case.
            ids: restricts them to the occurrences with these ids.

        Raises:
            NotFound: there is no such case, or the caller may not see it. InvalidRequest: the
                cursor is invalid.
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
            case = find_kept(session, caller, case_id)
            rows = session.scalars(statement.limit(limit)).all()
            cursor = next_cursor(session, statement, Occurrence, limit)
        return OccurrencePage(occurrences_json(rows, self._vault.case_key(case)), cursor)

    def occurrence(self, caller: Caller, case_id: str, occurrence_id: str) -> dict[str, Any]:
        """Return one occurrence of a case.

        Raises:
            NotFound: there is no such occurrence, or the caller may not see its case.
        """
        page = self.occurrences(caller, case_id, ids=(occurrence_id,))
        if not page.occurrences:
            raise NotFound
        return page.occurrences[0]


def find_kept(session: Session, caller: Caller, case_id: str) -> Case:
    """Return a case that is not being shredded.

    Raises:
        NotFound: there is no such case, or the caller may not see it.
    """
    case, _ = find_visible(session, caller, Case, case_id)
    if case.sealed is None:
        raise NotFound
    return case


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


def job_json(job: Job, media: Media, now: datetime, disagree: bool | None) -> dict[str, Any]:
    """Return what is in plain text about a job. ``disagree``: whether its reviewers do."""
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
        "progress": progress_json(job, now),
        "verdict": job.verdict,
        "leaning": job.leaning,
        "finding": job.finding,
        "reviewers_disagree": bool(disagree),
        "failure": job.failure,
        "bundle_sha256": job.bundle_sha256,
        "created_at": iso_time(job.created_at),
        "started_at": iso_time(job.started_at),
        "finished_at": iso_time(job.finished_at),
        "media_expires_at": iso_time(media.expires_at) if media.blob else None,
        "media_kept": media.blob is not None,
    }


def progress_json(job: Job, now: datetime) -> dict[str, Any]:
    """Return the progress of a job, in frames, and the seconds left at ``now``."""
    return {
        "stage": job.stage,
        "done": job.done or 0,
        "total": job.total,
        "overview": job.overview,
        "remaining_s": _remaining_s(job, now),
    }


def _remaining_s(job: Job, now: datetime) -> int | None:
    """Return about how many seconds the frames planned so far take, by those that are finished.

    ``None`` until that is known, and while no frames are examined. It counts from the beginning of
    the examination, so it grows while nothing is finished.
    """
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
