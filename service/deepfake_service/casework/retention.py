"""The end of things: jobs cancelled, media expired, cases shredded, holds that stop it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, or_, select, true
from sqlalchemy.orm import Session

from deepfake_service.casework.core.cases import folder_of
from deepfake_service.casework.core.media_expiry import expire
from deepfake_service.casework.core.permissions import may_delete, may_see
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
from deepfake_service.errors import CaseHeld, NotFound
from deepfake_service.jobs import JobQueue
from deepfake_service.observability.logs import logger
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.storage import Vault

ORPHANED_AFTER = timedelta(hours=2)
ASKED_AT_ONCE = 500
"""Blobs whose rows are looked for in one question."""
"""Age at which sealed bytes that no record names are deleted: longer than any upload takes."""
IDEMPOTENCY_KEPT = timedelta(days=7)
SWEPT_AT_ONCE = 200

_log = logger("deepfake_service.lifecycle")


class Retention:
    """Deletes what is to be deleted. Everything may be done again after a crash in between."""

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
        """Stop a job and shred what belongs to it; its case too, when nothing else is in it.

        Raises:
            NotFound: there is none that the caller may delete.
            CaseHeld: a legal hold keeps it.
        """
        with self._database.write() as session:
            job = session.get(Job, job_id)
            if job is None or not may_delete(caller, job.account_id):
                raise NotFound
            self._database.one_at_a_time(session, job.account_id)
            case = session.get_one(Case, job.case_id, populate_existing=True)
            if case.held_at is not None:
                raise CaseHeld
            if job.state not in ENDED:
                job.finished_at = self._database.clock()
                append_entry(session, caller.actor, Action.JOB_CANCELLED, job_id)
            # From here on it is the sweep's, should this be interrupted.
            job.state = JobState.CANCELLED
            # Others that are being deleted as well keep nothing alive.
            others = select(Job.id).where(
                Job.case_id == case.id,
                Job.id != job_id,
                Job.state != JobState.CANCELLED,
            )
            alone = not session.scalars(others.limit(1)).first()
            if alone:
                self._forget_key(session, caller, case)
        if alone:
            self._finish_shredding(case.id)
        else:
            self._delete_job(job_id)

    def shred(self, case_id: str, caller: Caller) -> None:
        """Forget a case: its key, and then everything that it opened.

        1. The wrapped key is overwritten. From here on nothing of the case can be read.
        2. Its blobs are deleted, then its rows, and what DBOS keeps of its jobs.
        3. What the database's log still holds of them is brought to the file and gone.

        Raises:
            NotFound: there is none that the caller may delete.
            CaseHeld: a legal hold keeps it.
        """
        with self._database.write() as session:
            case = session.get(Case, case_id)
            if case is None or not may_delete(caller, case.account_id):
                raise NotFound
            self._database.one_at_a_time(session, case.account_id)
            session.refresh(case)
            if case.held_at is not None:
                raise CaseHeld
            self._forget_key(session, caller, case)
        self._finish_shredding(case_id)

    @staticmethod
    def _forget_key(session: Session, caller: Caller, case: Case) -> None:
        case.wrapped_key = case.sealed = None
        append_entry(session, caller.actor, Action.CASE_SHREDDED, case.id)

    def _finish_shredding(self, case_id: str) -> None:
        self._database.forget_deleted()
        with self._database.read() as session:
            jobs = list(session.scalars(select(Job.id).where(Job.case_id == case_id)))
            media = list(session.scalars(select(Media).where(Media.case_id == case_id)))
        for medium in media:
            if medium.blob:
                self._vault.blobs.delete(medium.blob)
        self._forget_below(folder_of(case_id))
        for job_id in jobs:
            self._queue.cancel(job_id)
            self._forget_below(f"work/{job_id}/")
            self._queue.forget(job_id)
        with self._database.write() as session:
            session.execute(delete(Case).where(Case.id == case_id))
        self._database.forget_deleted()

    def _delete_job(self, job_id: str) -> None:
        self._queue.cancel(job_id)
        with self._database.read() as session:
            job = session.get(Job, job_id)
            medium = session.get(Media, job.media_id) if job else None
            if job is None or medium is None:
                return  # somebody else was faster
            shared = session.scalars(
                select(Job.id).where(Job.media_id == medium.id, Job.id != job_id).limit(1)
            ).first()
        if medium.blob and not shared:
            self._vault.blobs.delete(medium.blob)
        self._forget_evidence(job)
        self._forget_below(f"work/{job_id}/")
        self._queue.forget(job_id)
        with self._database.write() as session:
            session.execute(delete(KnownHashes).where(KnownHashes.job_id == job_id))
            session.execute(delete(Job).where(Job.id == job_id))
            if not shared:
                session.execute(delete(Media).where(Media.id == medium.id))
        self._database.forget_deleted()

    def _forget_evidence(self, job: Job, *, expiring: bool = False) -> None:
        """Delete the bytes of a job's evidence; what editions there were stays on record.

        Where it is ``expiring``, a legal hold stops it, also one that was set just now. Should this
        be interrupted, the sweep finds blobs that no row names any more.
        """
        with self._database.write() as session:
            case = session.get(Case, job.case_id, with_for_update=True)
            if case is None or (expiring and case.held_at is not None):
                return
            editions = session.scalars(select(Edition).where(Edition.job_id == job.id)).all()
            blobs = [e.blob for e in editions if e.blob]
            for edition in editions:
                edition.blob = None
            there = session.get(Job, job.id)
            if there is None:
                return
            there.evidence_expired_at = self._database.clock()
            if expiring:
                append_entry(session, SERVICE, Action.EVIDENCE_EXPIRED, job.id)
        for name in (material_of(job), *blobs):
            self._vault.blobs.delete(name)

    def _expire_evidence(self) -> None:
        """Delete evidence whose own time is over, which a legal hold or a notice extends."""
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
                .limit(SWEPT_AT_ONCE)
            ).all()
        for job in due:
            self._forget_evidence(job, expiring=True)

    def _forget_below(self, prefix: str) -> None:
        for name in list(
            self._vault.blobs.older_than(prefix, self._database.clock() + timedelta(days=1))
        ):
            self._vault.blobs.delete(name)

    def hold(self, caller: Caller, case_id: str, *, wanted: bool) -> None:
        """Set or lift a legal hold: while it is set, the case's media do not expire.

        Raises:
            NotFound: there is no such case that the caller may see.
        """
        with self._database.write() as session:
            case = session.get(Case, case_id)
            if case is None or not may_see(caller, case):
                raise NotFound
            session.refresh(case, with_for_update=True)
            if bool(case.held_at) != wanted:
                case.held_at = self._database.clock() if wanted else None
                action = Action.HOLD_SET if wanted else Action.HOLD_LIFTED
                append_entry(session, caller.actor, action, case_id)

    def sweep(self) -> None:
        """Delete what is due: expired media, half-shredded cases, old idempotency keys."""
        self._expire_jobs()
        self._expire_media()
        self._expire_evidence()
        with self._database.read() as session:
            halves = list(session.scalars(select(Case.id).where(Case.wrapped_key.is_(None))))
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
        for case_id in halves:
            self._finish_shredding(case_id)
        for job_id in cancelled:
            self._delete_job(job_id)
        with self._database.write() as session:
            old = Idempotency.created_at < self._database.clock() - IDEMPOTENCY_KEPT
            session.execute(delete(Idempotency).where(old))
        # A reader can have kept an earlier attempt from finishing.
        self._database.forget_deleted()

    def _expire_jobs(self) -> None:
        """Give up jobs that nobody examined in time: their media must not wait for ever."""
        with self._database.read() as session:
            late = session.scalars(
                select(Job.id)
                .join(Case, Job.case_id == Case.id)
                .where(
                    Job.state.in_(UNFINISHED),
                    Job.created_at <= self._database.clock() - self._longest_wait,
                    Case.held_at.is_(None),
                )
                .limit(SWEPT_AT_ONCE)
            ).all()
        for job_id in late:
            with self._database.write() as session:
                job = session.get(Job, job_id, with_for_update=True)
                if job is None or job.state in ENDED:
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
                    .limit(SWEPT_AT_ONCE)
                )
            )
        count = sum(expire(self._database, self._vault, medium.id) for medium in due)
        if count:
            _log.info("media_expired", count=count)

    def delete_orphans(self) -> None:
        """Delete blobs that no row names, as an upload or a deletion that was killed leaves them.
        It lists the whole store: not to be done every minute."""
        before = self._database.clock() - ORPHANED_AFTER
        blobs = self._vault.blobs
        for prefix, find in (
            ("media/", self._unnamed),
            ("work/", self._unused),
            ("cases/", self._of_nothing),
        ):
            every = list(blobs.older_than(prefix, before))
            for start in range(0, len(every), ASKED_AT_ONCE):
                with self._database.read() as session:
                    found = find(session, every[start : start + ASKED_AT_ONCE])
                for name in found:
                    blobs.delete(name)
        blobs.delete_unfinished(before)

    @staticmethod
    def _of_nothing(session: Session, names: Sequence[str]) -> list[str]:
        """Blobs of cases that no row names, by the kind and the id in their names."""
        rows: dict[str, list[str]] = {}
        for name in names:
            kind, _, row = name.rpartition("/")[2].partition("-")
            rows.setdefault(kind, []).append(row)
        named = (
            ("edition", Edition.id, Edition.blob.is_not(None)),
            ("material", Job.id, Job.evidence_expired_at.is_(None)),
            ("screenshot", Occurrence.id, true()),
        )
        there = {
            f"{kind}-{row}"
            for kind, number, kept in named
            for row in session.scalars(select(number).where(number.in_(rows.get(kind, ())), kept))
        }
        return [n for n in names if n.rpartition("/")[2] not in there]

    @staticmethod
    def _unnamed(session: Session, names: Sequence[str]) -> list[str]:
        ids = [n.partition("/")[2] for n in names]
        there = set(session.scalars(select(Media.blob).where(Media.id.in_(ids))))
        return [n for n in names if n not in there]

    @staticmethod
    def _unused(session: Session, names: Sequence[str]) -> list[str]:
        """Of what steps kept: that of jobs which are over or gone, as of a step that was still
        writing when its job was deleted."""
        live = set(session.scalars(select(Job.id).where(Job.state.in_(UNFINISHED))))
        return [n for n in names if n.split("/")[1] not in live]
