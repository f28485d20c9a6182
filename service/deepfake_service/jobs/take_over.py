"""Take over jobs that no worker goes on with.

1. Jobs of a worker that died are queued again for workers of the same version, that is, with the
   same workflow and the same model bundle (``names.job_version``).
2. Jobs of a version that no living worker has belong to nobody.

   a. If their workflow and their bundle are those of this worker, it takes them over at once and
      goes on where they are. An earlier program named versions otherwise.
   b. If they have not begun, it takes them over after ``UNCLAIMED_AFTER_S`` seconds, and examines
      them with its own bundle.
   c. If they have begun, they wait ``take_over_s`` seconds for a worker of theirs, with the stage
      ``awaiting_model``. Only then this worker takes them over: it examines them anew from the
      beginning, and nothing that another model found goes into the result.

What is taken over in b and c is in the audit log, with the bundle.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dbos import DBOS
from sqlalchemy import delete, select

from deepfake_service.db import Database, Job, Lease
from deepfake_service.db.enums import AWAITING_MODEL, ENDED, JobState
from deepfake_service.jobs import heartbeats
from deepfake_service.jobs.names import QUEUE, has_our_workflow, job_version
from deepfake_service.jobs.workflow import ExaminationSteps
from deepfake_service.jobs.workflow_rows import WorkflowRow, WorkflowRows
from deepfake_service.observability.logs import logger

UNCLAIMED_AFTER_S = 30.0
"""How long jobs that have not begun wait for a worker of theirs. In an upgrade, the first new
worker is often a little later than the first job for it."""
WATCHERS = 10
"""Workers of each version that look every ``BEAT_S`` seconds, the first by name. Each look reads
the leases of all workers: if all of them looked, that would be the square of their number."""
RARELY_S = 30.0
"""How often the others look, so that they notice if all of the first have died."""
BATCH = 100
"""Jobs of one version that one look takes over."""
_TAKING_OVER = "taking-over"
"""The lease of the worker that takes jobs over: one at a time, or two would queue the same jobs."""

_log = logger("deepfake_service.jobs")


@dataclass(frozen=True, slots=True)
class Taker:
    """The worker that takes jobs over."""

    executor_id: str
    bundle_sha256: str
    active: set[str]
    """The ids of the jobs that run in this process."""

    @property
    def version(self) -> str:
        return job_version(self.bundle_sha256)


@dataclass(frozen=True, slots=True)
class _Found:
    """Jobs and versions that no worker seems to go on with, in one reading of the database."""

    dead: set[str]
    """Jobs of this version whose worker died."""
    strays: set[str]
    """Jobs of this worker that none of its threads runs.

    Such a job is left over when the result of a step could not be written, or is about to begin.
    """
    unserved: set[str]
    """Versions of unfinished jobs that no living worker has."""


class TakeOver:
    """Looks for such jobs. ``ticks`` returns seconds from a clock that cannot be set."""

    def __init__(
        self,
        database: Database,
        steps: ExaminationSteps,
        taker: Taker,
        *,
        take_over_s: float,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._steps = steps
        self._taker = taker
        self._take_over_s = take_over_s
        self._rows = WorkflowRows(database)
        self._heartbeats = heartbeats.Heartbeats(ticks)
        self._ticks = ticks
        self._strays: set[str] = set()
        """Those of the last look."""
        self._last_look: float | None = None
        self._watches = True
        self.workers = 1
        """The number of living workers at the last look."""
        self._unserved_s: dict[str, float] = {}
        """For how long each version of unfinished jobs has had no living worker."""

    def look_in_turn(self) -> None:
        """Take over what is due, if it is this worker's turn. Call it every ``BEAT_S`` seconds."""
        last = self._last_look
        if self._watches or last is None or self._ticks() - last >= RARELY_S:
            self.look()

    def look(self) -> None:
        """Take over what is due."""
        found = self._find()
        # One that was there at the last look as well: a job may be about to begin.
        lasting, self._strays = found.strays & self._strays, found.strays
        self._delete_old_leases()
        if not (found.dead or lasting or found.unserved) or not self._claim():
            return
        try:
            found = self._find()  # another worker may have taken jobs over meanwhile
            for job_id in sorted(found.dead | (found.strays & lasting)):
                DBOS.resume_workflow(job_id, queue_name=QUEUE)
                _log.warning("job_taken_over", job_id=job_id)
            for version in found.unserved:
                with self._database.read() as session:
                    rows = self._rows.of_version(session, version, BATCH)
                for row in rows:
                    self._take(row, self._unserved_s.get(version, 0.0))
        finally:
            with self._database.write() as session:
                session.execute(delete(Lease).where(Lease.executor_id == _TAKING_OVER))

    def _find(self) -> _Found:
        own = self._taker.version
        with self._database.read() as session:
            # Listed before the leases are read: a worker that starts in between has a lease first.
            running = self._rows.pending(session, own)
            versions = self._rows.versions(session) - {own}
            leases = {lease.executor_id: lease for lease in session.scalars(select(Lease))}
        self._heartbeats.watch({name: lease.expires_at for name, lease in leases.items()})
        alive = self._heartbeats.alive()
        workers = [leases[name] for name in alive & set(leases) - {_TAKING_OVER}]
        served = {lease.version for lease in workers}
        peers = sorted(lease.executor_id for lease in workers if lease.version == own)
        self.workers = max(1, len(workers))
        # Not yet among them: its own lease is young.
        self._watches = self._taker.executor_id not in peers[WATCHERS:]
        unserved = versions - served
        self._count(unserved)
        idle = [row for row in running if row.job_id not in self._taker.active]
        return _Found(
            {row.job_id for row in idle if row.executor_id not in alive},
            {row.job_id for row in idle if row.executor_id == self._taker.executor_id},
            unserved,
        )

    def _count(self, unserved: set[str]) -> None:
        now = self._ticks()
        elapsed = now - self._last_look if self._last_look is not None else 0.0
        # As in ``Heartbeats``: a pause of this process says nothing about the others.
        elapsed, self._last_look = min(elapsed, 2 * heartbeats.BEAT_S), now
        self._unserved_s = {v: self._unserved_s.get(v, -elapsed) + elapsed for v in unserved}

    def _take(self, row: WorkflowRow, unserved_s: float) -> None:
        """Take over a job of a version without a worker, if it is due by the rules above."""
        with self._database.write() as session:
            job = session.get(Job, row.job_id, with_for_update=True)
            if not self._rows.lock(session, row):
                return  # a worker of its version has just started, or it was cancelled
            if job is None or job.state in ENDED or self._can_go_on(row, job):
                self._rows.requeue(session, row.job_id, self._taker.version)
            elif unserved_s >= self._wait_s(job):
                self._rows.forget_steps(session, row.job_id)
                self._rows.requeue(session, row.job_id, self._taker.version)
                self._steps.begin_anew(session, job)
            else:
                if job.state == JobState.RUNNING:
                    job.state, job.stage = JobState.QUEUED, AWAITING_MODEL
                return
        _log.warning("job_of_another_version_taken_over", job_id=row.job_id, version=row.version)

    def _can_go_on(self, row: WorkflowRow, job: Job) -> bool:
        return has_our_workflow(row.version) and job.bundle_sha256 == self._taker.bundle_sha256

    def _wait_s(self, job: Job) -> float:
        return UNCLAIMED_AFTER_S if job.started_at is None else self._take_over_s

    def _delete_old_leases(self) -> None:
        for executor_id, last in self._heartbeats.long_dead().items():
            with self._database.write() as session:
                # A worker that was merely slow has changed its lease, and keeps it.
                session.execute(
                    delete(Lease).where(Lease.executor_id == executor_id, Lease.expires_at == last)
                )

    def _claim(self) -> bool:
        with self._database.write() as session:
            held = session.get(Lease, _TAKING_OVER, with_for_update=True)
            if held is not None and not self._heartbeats.is_dead(_TAKING_OVER, held.expires_at):
                return False
            heartbeats.renew(session, Lease(executor_id=_TAKING_OVER))
        return True
