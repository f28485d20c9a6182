"""Retention and deletion: cancel jobs, expire media and evidence, shred cases, legal holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import delete, or_, select, true
from sqlalchemy.orm import Session

from deepfake_service.casework.core.case_lock import is_being_deleted, lock_case, lock_deletable
from deepfake_service.casework.core.cases import folder_of
from deepfake_service.casework.core.media_deletion import expire
from deepfake_service.casework.core.visibility import find_visible, may_delete
from deepfake_service.casework.evidence_store import material_of
from deepfake_service.casework.webhook_deliveries import release_callbacks
from deepfake_service.db import (
    Case,
    Database,
    Edition,
    Idempotency,
    Job,
    KnownHashes,
    Media,
    Notice,
    Occurrence,
)
from deepfake_service.db.enums import ENDED, UNFINISHED, JobState
from deepfake_service.errors import BeingDeleted, NotFound
from deepfake_service.jobs import JobQueue
from deepfake_service.observability.logs import logger
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.storage import Vault

ORPHANED_AFTER = timedelta(hours=2)
"""Age at which blobs that no row names are deleted. Every upload takes less time."""
BLOBS_PER_QUERY = 500
"""Blobs whose rows are looked up by one query."""
IDEMPOTENCY_KEPT_FOR = timedelta(days=7)
SWEEP_BATCH = 200

OfAccount = TypeVar("OfAccount", Case, Job)

_log = logger("deepfake_service.lifecycle")


class Retention:
    """Deletes jobs, media, evidence and cases. After a crash, each deletion can be repeated."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        queue: JobQueue,
        *,
        after_review: timedelta,
        longest_wait: timedelta,
        evidence_kept: timedelta,
    ) -> None:
        self._database = database
        self._vault = vault
        self._queue = queue
        self._after_review = after_review
        self._longest_wait = longest_wait
        self._evidence_kept = evidence_kept

    def cancel(self, caller: Caller, job_id: str) -> None:
        """Stop a job and delete what belongs to it, and its case if it has no other job.

        Raises:
            NotFound: there is no such job, or the caller may not delete it.
            CaseHeld: the case is under a legal hold.
        """
        with self._database.write() as session:
            job = _find_deletable(session, caller, Job, job_id)
            self._database.one_at_a_time(session, job.account_id)
            case = lock_deletable(session, job.case_id)
            if job.state not in ENDED:
                job.finished_at = self._database.clock()
                append_entry(session, caller.actor, Action.JOB_CANCELLED, job_id)
            if job.state != JobState.CANCELLED:
                append_entry(session, caller.actor, Action.JOB_DELETED, job_id)
            # If the process stops after this transaction, the sweep deletes the job.
            job.state = JobState.CANCELLED
            # Jobs that are being deleted as well do not count.
            others = select(Job.id).where(
                Job.case_id == case.id,
                Job.id != job_id,
                Job.state != JobState.CANCELLED,
            )
            is_last = not session.scalars(others.limit(1)).first()
            if is_last:
                self._delete_key(session, caller, case)
        if is_last:
            self._finish_shredding(case.id)
        else:
            self._delete_job(job_id)

    def shred(self, case_id: str, caller: Caller) -> None:
        """Delete a case by deleting its key, and then everything that the key decrypts.

        1. The wrapped key is overwritten. From here on nothing in the case can be decrypted.
        2. Its blobs are deleted, then its rows, and what DBOS stores about its jobs.
        3. The database's write-ahead log is truncated, so that it does not retain the rows.

        Raises:
            NotFound: there is no such case, or the caller may not delete it.
            CaseHeld: the case is under a legal hold.
        """
        with self._database.write() as session:
            case = _find_deletable(session, caller, Case, case_id)
            self._database.one_at_a_time(session, case.account_id)
            self._delete_key(session, caller, lock_deletable(session, case_id))
        self._finish_shredding(case_id)

    @staticmethod
    def _delete_key(session: Session, caller: Caller, case: Case) -> None:
        case.wrapped_key = case.sealed = None
        append_entry(session, caller.actor, Action.CASE_SHREDDED, case.id)

    def _finish_shredding(self, case_id: str) -> None:
        self._database.purge_deleted()
        with self._database.read() as session:
            jobs = list(session.scalars(select(Job.id).where(Job.case_id == case_id)))
            media = list(session.scalars(select(Media).where(Media.case_id == case_id)))
        for medium in media:
            if medium.blob:
                self._vault.blobs.delete(medium.blob)
        self._delete_below(folder_of(case_id))
        for job_id in jobs:
            self._queue.cancel(job_id)
            self._delete_below(f"work/{job_id}/")
            self._queue.forget(job_id)
        with self._database.write() as session:
            session.execute(delete(Case).where(Case.id == case_id))
        self._database.purge_deleted()

    def _delete_job(self, job_id: str) -> None:
        """Delete what belongs to a job that is cancelled.

        From its cancellation on, no hold can be set on its case. Cancelled jobs of a case that an
        earlier version held in spite of that are left alone.
        """
        with self._database.write() as session:
            job = session.get(Job, job_id)
            medium = session.get(Media, job.media_id) if job else None
            if job is None or medium is None:
                return  # another process has deleted the job
            case = lock_case(session, job.case_id)
            if case is None or case.held_at is not None:
                return
            is_shared = session.scalars(
                select(Job.id).where(Job.media_id == medium.id, Job.id != job_id).limit(1)
            ).first()
        self._queue.cancel(job_id)
        if medium.blob and not is_shared:
            self._vault.blobs.delete(medium.blob)
        self._delete_evidence(job)
        self._delete_below(f"work/{job_id}/")
        self._queue.forget(job_id)
        with self._database.write() as session:
            session.execute(delete(KnownHashes).where(KnownHashes.job_id == job_id))
            session.execute(delete(Job).where(Job.id == job_id))
            if not is_shared:
                session.execute(delete(Media).where(Media.id == medium.id))
        self._database.purge_deleted()

    def _delete_evidence(self, job: Job, *, expiring: bool = False) -> None:
        """Delete the blobs of a job's evidence. The list of its editions remains.

        With ``expiring``, a legal hold prevents it, even one that was set a moment ago. If the
        process stops in between, the sweep finds blobs that no row names.
        """
        with self._database.write() as session:
            case = lock_case(session, job.case_id)
            if case is None or (expiring and case.held_at is not None):
                return
            editions = session.scalars(select(Edition).where(Edition.job_id == job.id)).all()
            blobs = [e.blob for e in editions if e.blob]
            for edition in editions:
                edition.blob = None
            current = session.get(Job, job.id)
            if current is None:
                return
            current.evidence_expired_at = self._database.clock()
            if expiring:
                append_entry(session, SERVICE, Action.EVIDENCE_EXPIRED, job.id)
        for name in (material_of(job), *blobs):
            self._vault.blobs.delete(name)

    def _expire_evidence(self) -> None:
        """Delete evidence at the end of its retention period.

        A legal hold or a recent notice extends the period.
        """
        before = self._database.clock() - self._evidence_kept
        with self._database.read() as session:
            due = session.scalars(
                select(Job)
                .join(Case, Job.case_id == Case.id)
                .where(
                    Case.held_at.is_(None),
                    Job.state == JobState.SUCCEEDED,
                    Job.evidence_expired_at.is_(None),
                    Job.finished_at <= before,
                    Case.id.not_in(select(Notice.case_id).where(Notice.created_at > before)),
                )
                .limit(SWEEP_BATCH)
            ).all()
        for job in due:
            self._delete_evidence(job, expiring=True)

    def _delete_below(self, prefix: str) -> None:
        for name in list(
            self._vault.blobs.older_than(prefix, self._database.clock() + timedelta(days=1))
        ):
            self._vault.blobs.delete(name)

    def hold(self, caller: Caller, case_id: str, *, enabled: bool) -> None:
        """Set or lift a legal hold, under which nothing in the case expires or can be deleted.

        Raises:
            NotFound: there is no such case, or the caller may not see it.
            BeingDeleted: the deletion of the case, or of an item in it, has begun.
        """
        with self._database.write() as session:
            find_visible(session, caller, Case, case_id)
            case = lock_case(session, case_id)
            if case is None:
                raise NotFound
            if enabled and is_being_deleted(session, case):
                raise BeingDeleted
            if bool(case.held_at) != enabled:
                case.held_at = self._database.clock() if enabled else None
                action = Action.HOLD_SET if enabled else Action.HOLD_LIFTED
                append_entry(session, caller.actor, action, case_id)

    def sweep(self) -> None:
        """Delete what is due, and complete deletions that were interrupted."""
        self._expire_jobs()
        self._expire_media()
        self._expire_evidence()
        with self._database.read() as session:
            shredded = list(session.scalars(select(Case.id).where(Case.wrapped_key.is_(None))))
            cancelled = list(
                session.scalars(
                    select(Job.id)
                    .join(Case, Job.case_id == Case.id)
                    .where(
                        Job.state == JobState.CANCELLED,
                        Case.wrapped_key.is_not(None),
                        Case.held_at.is_(None),
                    )
                )
            )
        for case_id in shredded:
            self._finish_shredding(case_id)
        for job_id in cancelled:
            self._delete_job(job_id)
        with self._database.write() as session:
            old = Idempotency.created_at < self._database.clock() - IDEMPOTENCY_KEPT_FOR
            session.execute(delete(Idempotency).where(old))
        # A concurrent reader may have prevented an earlier attempt.
        self._database.purge_deleted()

    def _expire_jobs(self) -> None:
        """End jobs that were not examined in time, so that their media expire."""
        with self._database.read() as session:
            late = session.scalars(
                select(Job.id)
                .join(Case, Job.case_id == Case.id)
                .where(
                    Job.state.in_(UNFINISHED),
                    Job.created_at <= self._database.clock() - self._longest_wait,
                    Case.held_at.is_(None),
                )
                .limit(SWEEP_BATCH)
            ).all()
        for job_id in late:
            with self._database.write() as session:
                late_job = session.get(Job, job_id)
                case = lock_case(session, late_job.case_id) if late_job else None
                job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
                if job is None or job.state in ENDED or case is None or case.held_at is not None:
                    continue
                job.state, job.finished_at = JobState.EXPIRED, self._database.clock()
                media = session.get_one(Media, job.media_id)
                media.expires_at = media.expires_at or self._database.clock()
                release_callbacks(session, job_id)
                append_entry(session, SERVICE, Action.JOB_FINISHED, job_id, JobState.EXPIRED)
            self._queue.cancel(job_id)
            _log.warning("job_expired", job_id=job_id)

    def _expire_media(self) -> None:
        now = self._database.clock()
        with self._database.read() as session:
            due = list(
                session.scalars(
                    select(Media)
                    .join(Case, Media.case_id == Case.id)
                    .where(
                        Media.blob.is_not(None),
                        Case.held_at.is_(None),
                        Media.expires_at.is_not(None),
                        or_(Media.expires_at <= now, Case.reviewed_at <= now - self._after_review),
                    )
                    .limit(SWEEP_BATCH)
                )
            )
        count = sum(expire(self._database, self._vault, medium.id) for medium in due)
        if count:
            _log.info("media_expired", count=count)

    def delete_orphans(self) -> None:
        """Delete blobs that no row names, which interrupted uploads and deletions leave behind.

        This lists the whole store, so that it should not run every minute.
        """
        before = self._database.clock() - ORPHANED_AFTER
        blobs = self._vault.blobs
        for prefix, find_orphans in (
            ("media/", self._orphaned_media),
            ("work/", self._orphaned_work),
            ("cases/", self._orphaned_case_files),
        ):
            old = list(blobs.older_than(prefix, before))
            for start in range(0, len(old), BLOBS_PER_QUERY):
                with self._database.read() as session:
                    orphans = find_orphans(session, old[start : start + BLOBS_PER_QUERY])
                for name in orphans:
                    blobs.delete(name)
        blobs.delete_unfinished(before)

    @staticmethod
    def _orphaned_case_files(session: Session, names: Sequence[str]) -> list[str]:
        """Return those of a case's blobs that no row names, by the kind and id in their names.

        Nothing of a case under a legal hold is returned.
        """
        case_ids = {name: name.split("/")[1] for name in names}
        held = set(
            session.scalars(
                select(Case.id).where(
                    Case.id.in_(set(case_ids.values())), Case.held_at.is_not(None)
                )
            )
        )
        ids_of: dict[str, list[str]] = {}
        for name in names:
            kind, _, row_id = name.rpartition("/")[2].partition("-")
            ids_of.setdefault(kind, []).append(row_id)
        kinds = (
            ("edition", Edition.id, Edition.blob.is_not(None)),
            ("material", Job.id, Job.evidence_expired_at.is_(None)),
            ("screenshot", Occurrence.id, true()),
        )
        in_use = {
            f"{kind}-{row_id}"
            for kind, column, is_kept in kinds
            for row_id in session.scalars(
                select(column).where(column.in_(ids_of.get(kind, ())), is_kept)
            )
        }
        return [n for n in names if n.rpartition("/")[2] not in in_use and case_ids[n] not in held]

    @staticmethod
    def _orphaned_media(session: Session, names: Sequence[str]) -> list[str]:
        """Return those blobs of media that no row names."""
        ids = [n.partition("/")[2] for n in names]
        in_use = set(session.scalars(select(Media.blob).where(Media.id.in_(ids))))
        return [n for n in names if n not in in_use]

    @staticmethod
    def _orphaned_work(session: Session, names: Sequence[str]) -> list[str]:
        """Return the intermediate results of jobs that have ended or were deleted.

        A step that was still writing when its job was deleted leaves some.
        """
        job_ids = {name: name.split("/")[1] for name in names}
        unfinished = set(
            session.scalars(
                select(Job.id).where(Job.id.in_(set(job_ids.values())), Job.state.in_(UNFINISHED))
            )
        )
        return [n for n in names if job_ids[n] not in unfinished]


def _find_deletable(
    session: Session, caller: Caller, model: type[OfAccount], row_id: str
) -> OfAccount:
    row = session.get(model, row_id)
    if row is None or not may_delete(caller, row.account_id):
        raise NotFound
    return row
