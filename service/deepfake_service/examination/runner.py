"""Run jobs: DBOS in this process, and a lease that shows other workers that this one is alive."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from dbos import DBOS, DBOSConfig
from sqlalchemy import ColumnElement, delete, exists, func, select

from deepfake_service.examination import workers
from deepfake_service.examination.queue import APPLICATION, QUEUE, JobQueue, PlainJson, job_version
from deepfake_service.examination.steps import Examination
from deepfake_service.examination.workflow import ExaminationWorkflow
from deepfake_service.platform.chores import Chore
from deepfake_service.platform.db import Database, Job, Lease
from deepfake_service.platform.enums import UNFINISHED
from deepfake_service.platform.errors import DatabaseUnavailable
from deepfake_service.platform.settings import Settings

POLL_S = 0.5
"""Poll interval of a worker, with DBOS's jitter: a worker idles half of it after each job."""
IDLE_S = 60.0
"""How long DBOS still runs when there are no jobs: starting it takes a part of a second."""


class Runner:
    """Runs examinations until it is stopped. One for each process, because DBOS is a singleton.

    DBOS makes at least six transactions a second as long as it runs: it is started when jobs wait,
    and stopped when none has for ``IDLE_S``.
    """

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        steps: Examination,
        settings: Settings,
        on_step: Callable[[str, float], None],
    ) -> None:
        self._database = database
        self._at_once = settings.jobs_at_once
        self.executor_id = f"{socket.gethostname()[:32]}-{secrets.token_hex(6)}"
        self._stopping = steps.stopping
        self._workflow = ExaminationWorkflow(steps, on_step, self._at_once, queue.resume)
        self._version = job_version(steps.model)
        self._rescue = workers.Rescue(
            database, queue, self.executor_id, steps.model, self._workflow.active
        )
        self._lock = threading.Lock()
        self._busy_at: float | None = None
        """When jobs waited last, by the monotonic clock; ``None`` while DBOS does not run."""

    def start(self) -> None:
        """Begin to take jobs from the queue."""
        self._renew_lease()
        self.wake()
        # Each has its own thread: taking over may wait for the database, and a worker that waits
        # must still renew its lease.
        self._look = Chore("rescue", self._tend, workers.BEAT_S)
        self._beat = Chore("lease", self._renew_lease, workers.BEAT_S)

    @staticmethod
    def is_due(_: datetime) -> ColumnElement[bool]:
        """Return the condition that there are jobs."""
        return exists().where(Job.state.in_(UNFINISHED))

    def wake(self) -> None:
        """Start DBOS unless it runs: there are jobs."""
        with self._lock:
            if self._busy_at is None and not self._stopping.is_set():
                self._launch()
            self._busy_at = time.monotonic()

    def stop(self, *, drain_s: float) -> None:
        """Stop; wait up to ``drain_s`` seconds for running jobs. Other workers resume the rest."""
        self._stopping.set()
        self._look.stop()
        with self._lock:
            DBOS.destroy(
                workflow_completion_timeout_sec=max(0, round(drain_s)), destroy_registry=True
            )
        # The lease is renewed until here, or others would take over jobs that are being finished.
        self._beat.stop()
        try:
            with self._database.write() as session:
                session.execute(delete(Lease).where(Lease.executor_id == self.executor_id))
        except DatabaseUnavailable:
            return  # the lease no longer changes, and others notice

    def _launch(self) -> None:
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self._database.url,
            "application_version": self._version,
            "executor_id": self.executor_id,
            "serializer": PlainJson(),
            "log_level": "CRITICAL",
        }
        DBOS.destroy(destroy_registry=True)  # also what is left of a start that failed
        DBOS(config=config)
        self._workflow.register()
        DBOS.launch()
        # DBOS has one limit for all workers of a queue, as the one that started last wrote it: that
        # of the worker with most slots. The workflow keeps the limit of this one.
        with self._database.read() as session:  # the leases of the dead are deleted in a minute
            most = session.scalar(select(func.max(Lease.slots)))
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=max(self._at_once, most or 0),
            polling_interval_sec=POLL_S,
            on_conflict="always_update",
        )

    def _tend(self) -> None:
        """Look after the jobs of dead workers while there are jobs, and stop DBOS after that."""
        if self._busy_at is None:
            return
        self._rescue.look()
        with self._lock:
            if time.monotonic() - self._busy_at > IDLE_S and not self._workflow.active:
                DBOS.destroy(destroy_registry=True)
                self._busy_at = None

    def _renew_lease(self) -> None:
        with self._database.write() as session:  # a worker that waited for the lock is alive
            session.merge(
                Lease(
                    executor_id=self.executor_id,
                    expires_at=self._database.clock() + timedelta(seconds=workers.LEASE_S),
                    version=self._version,
                    slots=self._at_once,
                )
            )
