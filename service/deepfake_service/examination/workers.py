"""Which workers live, and what becomes of the jobs of those that do not.

DBOS returns the jobs of a dead worker only to a worker of the same name, and without a service of
its maker it does not learn that one has died. Here every start of a worker has a name of its own
and renews a lease, and the others queue again what it leaves:

1. Jobs of a worker that died are queued again for workers of the same version, that is, with the
   same workflow and the same model bundle (``job_version``).
2. Jobs of a version that no living worker has belong to no one.

   a. If they have not begun, this worker takes them over after ``UNCLAIMED_AFTER_S`` seconds, and
      examines them with its own bundle.
   b. If they have begun, they wait ``TAKE_OVER_S`` seconds for a worker of theirs, with the stage
      ``awaiting_model``. Only then this worker takes them over: it examines them from the
      beginning, and nothing that another model found goes into the result. That is in the audit
      log, as it is in a, with the bundle.

All workers look, and none waits for another. Two that queue a job again at the same moment do no
harm: DBOS lets only the worker that had it last store a step.

A worker is alive if its lease changes while this process watches it. The time in a lease is only
compared with the time that was in it before, never with the clock, so that a worker that died while
a clock was ahead is not taken for alive until that time comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime

from dbos import WorkflowStatus
from sqlalchemy import delete, func, select

from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.examination import queue
from deepfake_service.platform.db import Database, Job, Lease
from deepfake_service.platform.db.columns import Moment
from deepfake_service.platform.enums import ENDED, UNFINISHED, JobStage, JobState
from deepfake_service.platform.logs import logger

# Other modules read these two where they use them, so that a program may have shorter ones.
BEAT_S = 2.0
"""How often a worker renews its lease."""
LEASE_S = 10.0
"""How long a lease may stay the same: several beats, so that a worker on a slow disk does not look
dead."""
FORGOTTEN_AFTER_S = 60.0
"""How long the lease of a dead worker is kept."""
UNCLAIMED_AFTER_S = 30.0
"""How long jobs that have not begun wait for a worker of theirs. In an upgrade, the first new
worker is often a little later than the first job for it."""
TAKE_OVER_S = 600.0
"""How long a job that was begun waits for a worker with its model bundle and version. After that, a
worker with another one examines it anew. A worker restarts within minutes."""

_log = logger("deepfake_service.jobs")


class Heartbeats:
    """The leases that this process has seen, and for how long each has stayed the same. ``ticks``
    returns seconds from a monotonic clock."""

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        self._last_look: float | None = None
        self._seen: dict[str, tuple[datetime, float]] = {}

    def watch(self, leases: Mapping[str, datetime]) -> float:
        """Compare the leases in the database, by worker, with those of the last look, and return
        the seconds since then that count."""
        now = self._ticks()
        elapsed = now - self._last_look if self._last_look is not None else 0.0
        # A pause of this process or of the database says nothing about the other workers.
        elapsed, self._last_look = min(elapsed, 2 * BEAT_S), now
        seen = {}
        for executor_id, value in leases.items():
            before, unchanged_s = self._seen.get(executor_id, (None, 0.0))
            seen[executor_id] = value, unchanged_s + elapsed if before == value else 0.0
        self._seen = seen
        return elapsed

    def alive(self) -> set[str]:
        """Return the workers whose lease has changed in the last ``LEASE_S`` seconds."""
        return {name for name, (_, unchanged_s) in self._seen.items() if unchanged_s < LEASE_S}

    def long_dead(self) -> dict[str, datetime]:
        """Return the leases that have not changed for ``FORGOTTEN_AFTER_S`` seconds."""
        return {
            name: value
            for name, (value, unchanged_s) in self._seen.items()
            if unchanged_s >= FORGOTTEN_AFTER_S
        }


@dataclass
class Rescue:
    """Queues the jobs of dead workers again, for a worker with a ``model``, the SHA-256 of its
    bundle. ``active`` holds the ids of the jobs that run in this process."""

    _database: Database
    _queue: queue.JobQueue
    _executor_id: str
    _model: str
    _active: set[str]
    ticks: Callable[[], float] = time.monotonic
    _lost: set[tuple[str, str | None]] = field(default_factory=set)
    """Jobs that no living worker seemed to have at the last look, and who had them. Some are about
    to begin, or a worker has them that has just started: one that was there at the last look as
    well is queued again."""
    _unserved_s: dict[str, float] = field(default_factory=dict)
    """For how long each version of unfinished jobs has had no living worker."""

    def __post_init__(self) -> None:
        self._version = queue.job_version(self._model)
        self._workflows = {*self._queue.workflow_versions(), queue.WORKFLOW_VERSION}
        self._heartbeats = Heartbeats(self.ticks)

    def look(self) -> None:
        """Queue again what is due. Call it every ``BEAT_S`` seconds."""
        unfinished = (
            select(Job.bundle_sha256, func.min(Job.created_at, type_=Moment).label("first"))
            .where(Job.state.in_(UNFINISHED))
            .group_by(Job.bundle_sha256)
        )
        with self._database.read() as session:
            leases = {lease.executor_id: lease for lease in session.scalars(select(Lease))}
            oldest = {row.bundle_sha256: row.first for row in session.execute(unfinished)}
        elapsed = self._heartbeats.watch({name: x.expires_at for name, x in leases.items()})
        alive = self._heartbeats.alive()
        served = {lease.version for name, lease in leases.items() if name in alive}
        versions = {version for bundle in oldest for version in self._versions_of(bundle)}
        unserved = versions - served - {self._version}
        self._unserved_s = {v: self._unserved_s.get(v, -elapsed) + elapsed for v in unserved}
        self._delete_old_leases()
        before, self._lost = self._lost, set()
        if not oldest:
            return  # and no question to DBOS, which has to read all jobs since the oldest
        since = min(oldest.values())
        for row in self._queue.listed((queue.PENDING, queue.CANCELLED), since):
            if row.status == queue.PENDING and row.app_version in unserved:
                self._take(row)
            elif self._is_lost(row, alive):
                self._lost.add((row.workflow_id, row.executor_id))
                if (row.workflow_id, row.executor_id) in before:
                    self._queue_again(row)
        if unserved:
            for row in self._queue.listed((queue.ENQUEUED,), since, unserved):
                self._take(row)

    def _versions_of(self, bundle_sha256: str) -> set[str]:
        return {queue.job_version(bundle_sha256, workflow) for workflow in self._workflows}

    def _is_lost(self, row: WorkflowStatus, alive: Set[str | None]) -> bool:
        """Return whether no living worker has a job, as far as this one knows."""
        if row.status == queue.CANCELLED:
            return True  # by a person, or by a worker that died while it took the job over
        if row.app_version != self._version or row.workflow_id in self._active:
            return False
        return row.executor_id == self._executor_id or row.executor_id not in alive

    def _queue_again(self, row: WorkflowStatus) -> None:
        with self._database.read() as session:
            job = session.get(Job, row.workflow_id)
        if job is None or job.state in ENDED or not self._queue.is_unchanged(row):
            return
        if row.status == queue.CANCELLED:
            self._queue.restart(job.id, queue.job_version(job.bundle_sha256))
        else:
            self._queue.resume(job.id)
        _log.warning("job_taken_over", job_id=job.id)

    def _take(self, row: WorkflowStatus) -> None:
        """Take over a job of a version without a worker, if it is due by the rules above."""
        unserved_s = self._unserved_s[row.app_version or ""]
        with self._database.write() as session:
            job = session.get(Job, row.workflow_id, with_for_update=True)
            if job is None or job.state in ENDED or not self._queue.is_unchanged(row):
                return  # a worker of its version has just started, or it was cancelled
            if unserved_s < (TAKE_OVER_S if job.started_at else UNCLAIMED_AFTER_S):
                if job.state == JobState.RUNNING:
                    job.state, job.stage = JobState.QUEUED, JobStage.AWAITING_MODEL
                return
            if row.app_version in self._versions_of(job.bundle_sha256):
                # What was examined of it so far is not used.
                job.bundle_sha256 = self._model
                job.state, job.started_at, job.attempts = JobState.QUEUED, None, 0
                job.stage, job.done, job.total, job.overview = None, 0, None, None
                append_entry(session, SERVICE, Action.JOB_REASSIGNED, job.id, self._model)
        # If this process ends before the last call, the next look finds the job.
        self._queue.cancel(job.id)
        self._queue.restart(job.id, queue.job_version(job.bundle_sha256))
        _log.warning("job_of_another_version_taken_over", job_id=job.id, version=row.app_version)

    def _delete_old_leases(self) -> None:
        for executor_id, last in self._heartbeats.long_dead().items():
            with self._database.write() as session:
                # A worker that was merely slow has changed its lease, and keeps it.
                session.execute(
                    delete(Lease).where(Lease.executor_id == executor_id, Lease.expires_at == last)
                )
