"""Run jobs: DBOS in this process, and a lease that shows other workers that this one is alive.

DBOS returns the jobs of a dead worker only to a worker of the same name. Here every start of a
worker has its own name, and a living worker takes over the jobs of workers whose lease has stopped
changing.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

from dbos import DBOS, DBOSConfig, WorkflowStatus
from sqlalchemy import delete, select

from deepfake_service.db import Database, Lease
from deepfake_service.errors import DatabaseUnavailable
from deepfake_service.jobs.heartbeats import BEAT_S, LEASE_S, Heartbeats
from deepfake_service.jobs.queue import (
    APPLICATION,
    EXAMINE,
    QUEUE,
    WORKFLOW_VERSION,
    PlainJson,
    quieten,
)
from deepfake_service.jobs.workflow import ExaminationSteps, ExaminationWorkflow
from deepfake_service.observability.logs import describe, logger

_TAKING_OVER = "taking-over"
"""The lease of the worker that takes jobs over: one at a time, or two would queue the same jobs."""

_log = logger("deepfake_service.jobs")


class Runner:
    """Runs examinations until it is stopped. One for each process, because DBOS is a singleton."""

    def __init__(
        self,
        database: Database,
        steps: ExaminationSteps,
        *,
        at_once: int,
        on_step: Callable[[str, float], None],
        polling_s: float = 0.5,
    ) -> None:
        quieten()
        self._database = database
        self._at_once = at_once
        self._polling_s = polling_s
        self.executor_id = f"{socket.gethostname()[:32]}-{secrets.token_hex(6)}"
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._strays: set[str] = set()
        self._heartbeats = Heartbeats()
        # Each chore has its own thread: taking over may wait for the database, and a worker that
        # waits must still renew its lease.
        chores = (
            ("lease", self._renew_lease, self._ended),
            ("rescue", self._take_over, self._stop),
        )
        self._threads = [
            threading.Thread(target=self._repeat, args=chore, name=chore[0], daemon=True)
            for chore in chores
        ]
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": database.url,
            "application_version": WORKFLOW_VERSION,
            "executor_id": self.executor_id,
            "serializer": PlainJson(),
            "log_level": "CRITICAL",
        }
        DBOS.destroy(destroy_registry=True)
        DBOS(config=config)
        workflow = ExaminationWorkflow(steps, on_step, self._stop)
        workflow.register()
        self._active = workflow.active

    def start(self) -> None:
        """Begin to take jobs from the queue."""
        self._renew_lease()
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=self._at_once,
            polling_interval_sec=self._polling_s,
            on_conflict="always_update",
        )
        for thread in self._threads:
            thread.start()

    def stop(self, *, drain_s: float) -> None:
        """Stop; wait up to ``drain_s`` seconds for running jobs. Other workers resume the rest."""
        self._stop.set()
        DBOS.destroy(workflow_completion_timeout_sec=max(0, round(drain_s)), destroy_registry=True)
        # The lease is renewed until here, or others would take over jobs that are being finished.
        self._ended.set()
        for thread in self._threads:
            thread.join(timeout=2 * BEAT_S)
        try:
            with self._database.write() as session:
                session.execute(delete(Lease).where(Lease.executor_id == self.executor_id))
        except DatabaseUnavailable:
            return  # the lease no longer changes, and others notice

    def _repeat(self, name: str, chore: Callable[[], None], until: threading.Event) -> None:
        while not until.wait(BEAT_S):
            try:
                chore()
            except DatabaseUnavailable:
                _log.warning("database_unavailable", thread=name)
            except Exception as error:  # a thread that ended would go unnoticed
                _log.error("housekeeping_failed", thread=name, failure=describe(error))

    def _renew_lease(self) -> None:
        with self._database.write() as session:
            # From the moment that the lock was acquired: a worker that waits for it is alive.
            until = self._database.clock() + timedelta(seconds=LEASE_S)
            session.merge(Lease(executor_id=self.executor_id, expires_at=until))

    def _take_over(self) -> None:
        """Requeue the jobs of workers that are no longer alive."""
        orphans = self._orphans()
        self._delete_old_leases()
        if not orphans:
            return
        if not self._claim():
            return
        try:
            for job_id in self._orphans():
                DBOS.resume_workflow(job_id, queue_name=QUEUE)
                _log.warning("job_taken_over", job_id=job_id)
        finally:
            with self._database.write() as session:
                session.execute(delete(Lease).where(Lease.executor_id == _TAKING_OVER))

    def _orphans(self) -> list[str]:
        # Listed before the leases are read: a worker that starts in between has a lease first.
        running = DBOS.list_workflows(
            status="PENDING", name=EXAMINE, load_input=False, load_output=False
        )
        with self._database.read() as session:
            leases = {row.executor_id: row.expires_at for row in session.scalars(select(Lease))}
        self._heartbeats.watch(leases)
        alive = self._heartbeats.alive()
        dead = [
            w.workflow_id
            for w in running
            if w.executor_id not in alive and w.workflow_id not in self._active
        ]
        return dead + self._own_strays(running)

    def _own_strays(self, running: Sequence[WorkflowStatus]) -> list[str]:
        """Return this worker's jobs that none of its threads runs.

        Such a job is left over when the result of a step could not be written. It must be seen
        twice in a row, because a job may be about to begin.
        """
        assigned = {w.workflow_id for w in running if w.executor_id == self.executor_id}
        strays = assigned - self._active
        lasting, self._strays = strays & self._strays, strays
        return sorted(lasting)

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
            until = self._database.clock() + timedelta(seconds=LEASE_S)
            session.merge(Lease(executor_id=_TAKING_OVER, expires_at=until))
        return True
