"""Take over jobs that no worker goes on with.

1. Jobs of a worker that died are queued again for workers of the same version, that is, with the
   same workflow and the same model bundle (``job_version``).
2. Jobs of a version that no living worker has belong to nobody.

   a. If they have not begun, this worker takes them over after ``UNCLAIMED_AFTER_S`` seconds, and
      examines them with its own bundle.
   b. If they have begun, they wait ``TAKE_OVER_S`` seconds for a worker of theirs, with the stage
      ``awaiting_model``. Only then this worker takes them over: it examines them from the
      beginning, and nothing that another model found goes into the result. That is in the audit
      log, as it is in a, with the bundle.

All workers look, and none waits for another: a row is changed only if it is still as it was read.

A worker is alive if its lease changes while this process watches it. The time in a lease is only
compared with the time that was in it before, never with the clock, so that a worker that died while
a clock was ahead is not taken for alive until that time comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, exists, select

from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.examination.workflow_rows import (
    PENDING,
    WorkflowRow,
    WorkflowRows,
    job_version,
)
from deepfake_service.platform.db import Database, Job, Lease
from deepfake_service.platform.db.enums import AWAITING_MODEL, ENDED, JobState
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
BATCH = 100
"""Jobs of one version that one look takes over."""

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
class TakeOver:
    """Looks for such jobs, for a worker with a ``model``, the SHA-256 of its bundle. ``active``
    holds the ids of the jobs that run in this process."""

    _database: Database
    _executor_id: str
    _model: str
    _active: set[str]
    ticks: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._version = job_version(self._model)
        self._rows = WorkflowRows(self._database)
        self._heartbeats = Heartbeats(self.ticks)
        self._strays: set[str] = set()
        """Jobs of this worker that none of its threads ran at the last look.

        Such a job is left over when the result of a step could not be written, or is about to
        begin: one that was there at the last look as well is queued again.
        """
        self._unserved_s: dict[str, float] = {}
        """For how long each version of unfinished jobs has had no living worker."""

    def look(self) -> None:
        """Take over what is due. Call it every ``BEAT_S`` seconds."""
        with self._database.read() as session:
            # Listed before the leases are read: a worker that starts in between has a lease first.
            is_taken = self._rows.table.c.status == PENDING
            running = self._rows.unfinished(session, self._version, is_taken)
            versions = self._rows.versions(session) - {self._version}
            leases = {lease.executor_id: lease for lease in session.scalars(select(Lease))}
        elapsed = self._heartbeats.watch({name: x.expires_at for name, x in leases.items()})
        alive = self._heartbeats.alive()
        unserved = versions - {lease.version for name, lease in leases.items() if name in alive}
        self._unserved_s = {v: self._unserved_s.get(v, -elapsed) + elapsed for v in unserved}
        self._delete_old_leases()
        before, self._strays = self._strays, set()
        for row in running:
            if row.job_id in self._active:
                continue
            if row.executor_id == self._executor_id:
                self._strays.add(row.job_id)
                if row.job_id in before:
                    self._queue_again(row)
            elif row.executor_id not in alive:
                self._queue_again(row)
        for version, seconds in self._unserved_s.items():
            with self._database.read() as session:
                # Those that wait for their model must not hide the ones that have not begun.
                waits = exists().where(
                    Job.id == self._rows.table.c.workflow_uuid, Job.stage == AWAITING_MODEL
                )
                due = () if seconds >= TAKE_OVER_S else (~waits,)
                rows = self._rows.unfinished(session, version, *due, limit=BATCH)
            for row in rows:
                self._take(row, seconds)

    def _queue_again(self, row: WorkflowRow) -> None:
        with self._database.write() as session:
            if not self._rows.lock(session, row):
                return  # another worker was faster
            self._rows.requeue(session, row.job_id, self._version)
        _log.warning("job_taken_over", job_id=row.job_id)

    def _take(self, row: WorkflowRow, unserved_s: float) -> None:
        """Take over a job of a version without a worker, if it is due by the rules above."""
        with self._database.write() as session:
            job = session.get(Job, row.job_id, with_for_update=True)
            if not self._rows.lock(session, row):
                return  # a worker of its version has just started, or it was cancelled
            if job is not None and job.state not in ENDED:
                begun = job.started_at is not None
                if unserved_s < (TAKE_OVER_S if begun else UNCLAIMED_AFTER_S):
                    if job.state == JobState.RUNNING:
                        job.state, job.stage = JobState.QUEUED, AWAITING_MODEL
                    return
                self._rows.forget_steps(session, row.job_id)
                # What was examined of it so far is not used.
                job.bundle_sha256 = self._model
                job.state, job.started_at, job.attempts = JobState.QUEUED, None, 0
                job.stage, job.done, job.total, job.overview = None, 0, None, None
                append_entry(session, SERVICE, Action.JOB_REASSIGNED, job.id, self._model)
            self._rows.requeue(session, row.job_id, self._version)
        _log.warning("job_of_another_version_taken_over", job_id=row.job_id, version=row.version)

    def _delete_old_leases(self) -> None:
        for executor_id, last in self._heartbeats.long_dead().items():
            with self._database.write() as session:
                # A worker that was merely slow has changed its lease, and keeps it.
                session.execute(
                    delete(Lease).where(Lease.executor_id == executor_id, Lease.expires_at == last)
                )
