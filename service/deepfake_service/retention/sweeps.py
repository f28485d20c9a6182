"""Sweeps: delete what has reached the end of its retention, a little at a time and in two stages.

1. A grace period before something is due, it is marked.
2. Once it is due, and was marked for that long, it is deleted: a twentieth of what there is at most
   in one sweep.

So a wrong clock or a mistyped setting deletes nothing before that can be noticed: the metric
``deepfake_deletions_marked`` rises first. What is no longer due, or was put under a legal hold,
loses its mark. Nothing expires after a leap of the clock that no one has confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, exists, func, or_, select, true, update

from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.cases.case_lock import lock_case, lock_unheld
from deepfake_service.cases.media_deletion import expire, expire_screenshot
from deepfake_service.examination.queue import JobQueue
from deepfake_service.examination.webhook_deliveries import release_callbacks
from deepfake_service.platform.chores import for_each
from deepfake_service.platform.db import Capture, Case, Database, Job, Media, Occurrence
from deepfake_service.platform.enums import UNFINISHED, JobState, RetentionPolicy
from deepfake_service.platform.errors import DatabaseDamaged, DatabaseUnavailable
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.storage import Vault
from deepfake_service.retention.deletion import Retention, delete_case_key
from deepfake_service.retention.due import (
    MEDIA_UNEXAMINED,
    RetentionPeriods,
    being_examined,
    due_captures,
    due_cases,
    due_evidence,
    due_media,
    is_clock_confirmed,
    unheld,
)

MIN_SHARE, MAX_SHARE, SHARE = 5, 200, 20
"""One sweep deletes at most a ``SHARE``-th of the rows of a kind, within these bounds."""

_log = logger("deepfake_service.lifecycle")


@dataclass
class Sweeps:
    """Deletes what is due, and completes deletions that were interrupted."""

    _database: Database
    _retention: Retention
    _queue: JobQueue
    _vault: Vault
    _periods: RetentionPeriods
    _metrics: Metrics

    def sweep(self) -> None:
        """Mark and delete what is due, and complete deletions that were interrupted.

        The former only where the clock is confirmed. A stage that fails does not prevent the
        others: while the store does not answer, cases still lose their keys.

        Raises:
            Exception: the last one of a stage.
        """
        stages = [
            self._complete_shredding,
            self._complete_cancellations,
            # A concurrent reader may have prevented an earlier attempt.
            self._database.purge_deleted,
        ]
        if is_clock_confirmed(self._database):
            stages = [
                self._mark,
                self._expire_jobs,
                self._expire_media,
                self._expire_screenshots,
                self._expire_evidence,
                self._expire_captures,
                self._expire_cases,
                *stages,
            ]
        failure: Exception | None = None
        for stage in stages:
            try:
                stage()
            except (DatabaseUnavailable, DatabaseDamaged):
                raise  # no stage can do without the database
            except Exception as error:
                _log.error("sweep_failed", stage=stage.__name__, failure=describe(error))
                failure = error
        if failure is not None:
            raise failure

    def count_marked(self) -> int:
        """Return how many media, bundles and cases are marked to be deleted."""
        kept = (
            (Media.expiring_at, Media.blob.is_not(None)),
            (Job.expiring_at, Job.evidence_expired_at.is_(None)),
            (Capture.expiring_at, Capture.blob.is_not(None)),
            (Case.expiring_at, true()),
        )
        counts = [select(func.count()).where(at.is_not(None), there) for at, there in kept]
        with self._database.read() as session:
            return sum(session.scalar(count) or 0 for count in counts)

    def _complete_shredding(self) -> None:
        shredded = select(Case.id).where(Case.wrapped_key.is_(None))
        for_each(self._ids(shredded), self._retention.finish_shredding)

    def _complete_cancellations(self) -> None:
        cancelled = unheld(Job).where(
            Job.state == JobState.CANCELLED, Case.wrapped_key.is_not(None)
        )
        for_each(self._ids(cancelled), self._retention.delete_job)

    def _ids(self, statement: Select[str]) -> Sequence[str]:
        with self._database.read() as session:
            return session.scalars(statement).all()

    def _mark(self) -> None:
        """Mark what will be due after the grace period, and unmark what will not."""
        now = self._database.clock()
        for model, due_at in (
            (Media, due_media),
            (Job, due_evidence),
            (Capture, due_captures),
            (Case, due_cases),
        ):
            due = due_at(self._periods, now + self._periods.grace)
            change = update(model).execution_options(synchronize_session=False)
            marked = change.where(model.expiring_at.is_(None), model.id.in_(due))
            unmarked = change.where(model.expiring_at.is_not(None), model.id.not_in(due))
            with self._database.write() as session:
                session.execute(marked.values(expiring_at=now))
                session.execute(unmarked.values(expiring_at=None))

    def _expire(
        self,
        model: type[Media | Job | Capture | Case | Occurrence],
        due: Select[str],
        delete: Callable[[str], object],
    ) -> None:
        """Call ``delete`` with the ids of as many due rows of ``model`` as one sweep may delete."""
        with self._database.read() as session:
            total = session.scalar(select(func.count()).select_from(model)) or 0
        share = max(MIN_SHARE, min(MAX_SHARE, total // SHARE))
        for_each(self._ids(due.limit(share)), delete)

    def _marked(self, model: type[Job | Capture | Case], due: Select[str]) -> Select[str]:
        return due.where(model.expiring_at <= self._marked_before())

    def _marked_before(self) -> datetime:
        return self._database.clock() - self._periods.grace

    def _expire_jobs(self) -> None:
        """End jobs that were not examined in time, so that their media expire."""
        late = (
            unheld(Job)
            .join(Media, Job.media_id == Media.id)
            .where(
                Job.state.in_(UNFINISHED),
                Job.created_at <= self._database.clock() - MEDIA_UNEXAMINED,
                Media.expiring_at <= self._marked_before(),
            )
        )
        self._expire(Job, late, lambda job_id: self._expire_job(job_id, late))

    def _expire_job(self, job_id: str, late: Select[str]) -> None:
        with self._database.write() as session:
            job = lock_unheld(session, Job, job_id, late)
            if job is None:
                return
            job.state, job.finished_at = JobState.EXPIRED, self._database.clock()
            media = session.get_one(Media, job.media_id)
            media.expires_at = media.expires_at or self._database.clock()
            release_callbacks(session, job_id)
            append_entry(session, SERVICE, Action.JOB_FINISHED, job_id, JobState.EXPIRED)
        self._metrics.job_ended(JobState.EXPIRED)
        self._queue.cancel(job_id)
        _log.warning("job_expired", job_id=job_id)

    def _expire_media(self) -> None:
        now = self._database.clock()
        # Media that were not to be kept at all are left over from an interrupted job.
        unwanted = exists().where(
            Job.media_id == Media.id, Job.retention == RetentionPolicy.ZERO, Media.expires_at <= now
        )
        due = select(Media.id).where(
            Media.id.in_(due_media(self._periods, now)),
            Media.blob.is_not(None),
            Media.expires_at.is_not(None),
            or_(Media.expiring_at <= self._marked_before(), unwanted),
            ~being_examined(),
        )
        self._expire(Media, due, lambda row: expire(self._database, self._vault, row, due))

    def _expire_screenshots(self) -> None:
        """Delete screenshots that were added after their medium had been deleted. They are kept as
        long as a medium is."""
        kept_until = self._database.clock() - self._periods.media_after_verdict
        due = (
            unheld(Occurrence)
            .join(Media, Occurrence.media_id == Media.id)
            .where(
                Media.blob.is_(None),
                Media.expiring_at <= self._marked_before(),
                Occurrence.screenshot_expired_at.is_(None),
                Occurrence.created_at <= kept_until,
            )
        )
        self._expire(
            Occurrence, due, lambda row: expire_screenshot(self._database, self._vault, row)
        )

    def _expire_evidence(self) -> None:
        due = self._marked(Job, due_evidence(self._periods, self._database.clock()))
        self._expire(Job, due, lambda job_id: self._retention.delete_evidence(job_id, due))

    def _expire_captures(self) -> None:
        """Delete the bundles of captures. What was found in them stays with the case."""
        due = self._marked(Capture, due_captures(self._periods, self._database.clock()))

        def expire_bundle(capture_id: str) -> None:
            with self._database.write() as session:
                capture = lock_unheld(session, Capture, capture_id, due)
                if capture is None:
                    return
                blob, capture.blob = capture.blob, None
                append_entry(session, SERVICE, Action.CAPTURE_EXPIRED, capture_id)
            if blob:
                self._vault.blobs.delete(blob)

        self._expire(Capture, due, expire_bundle)

    def _expire_cases(self) -> None:
        """Delete cases, with results, notes and notices, at the end of their retention period."""
        due = self._marked(Case, due_cases(self._periods, self._database.clock()))

        def expire_case(case_id: str) -> None:
            with self._database.write() as session:
                case = lock_case(session, case_id)
                is_due = session.scalars(due.where(Case.id == case_id)).first() is not None
                if case is None or not is_due:
                    return
                delete_case_key(session, SERVICE, Action.CASE_EXPIRED, case)
            # Its blobs are deleted after all keys: that takes a store which answers.
            _log.info("case_expired", case_id=case_id)

        self._expire(Case, due, expire_case)
