"""Run jobs: DBOS in this process, and a lease that shows other workers that this one is alive."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from datetime import timedelta

from dbos import DBOS, DBOSConfig
from sqlalchemy import delete

from deepfake_service.examination import workers
from deepfake_service.examination.queue import APPLICATION, QUEUE, JobQueue, PlainJson, job_version
from deepfake_service.examination.steps import Examination
from deepfake_service.examination.workflow import ExaminationWorkflow
from deepfake_service.platform.chores import Chore
from deepfake_service.platform.db import Database, Lease
from deepfake_service.platform.errors import DatabaseUnavailable
from deepfake_service.platform.settings import Settings

SUSPECTS_FILE = "suspects.lock"
"""In the data directory, which the workers of a machine share."""
POLL_S = 1.0
"""How often a worker asks for a job, in two transactions: it idles half of it after each job."""


class Runner:
    """Runs examinations until it is stopped. One for each process, because DBOS is a singleton."""

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
        suspects = settings.data_dir / SUSPECTS_FILE
        workflow = ExaminationWorkflow(steps, on_step, suspects, self._at_once)
        self._version = job_version(steps.model)
        self._rescue = workers.Rescue(
            database, queue, self.executor_id, steps.model, workflow.active
        )
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": database.url,
            "application_version": self._version,
            "executor_id": self.executor_id,
            "serializer": PlainJson(),
            "log_level": "CRITICAL",
        }
        DBOS.destroy(destroy_registry=True)
        DBOS(config=config)
        workflow.register()

    def start(self) -> None:
        """Begin to take jobs from the queue."""
        self._renew_lease()
        DBOS.launch()
        # DBOS has one limit for the workers of a queue, as the one that started last wrote it. The
        # workflow keeps that of this worker.
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=self._at_once,
            polling_interval_sec=POLL_S,
            on_conflict="always_update",
        )
        # Each has its own thread: taking over may wait for the database, and a worker that waits
        # must still renew its lease.
        self._look = Chore("rescue", self._rescue.look, workers.BEAT_S)
        self._beat = Chore("lease", self._renew_lease, workers.BEAT_S)

    def stop(self, *, drain_s: float) -> None:
        """Stop; wait up to ``drain_s`` seconds for running jobs. Other workers resume the rest."""
        self._stopping.set()
        self._look.stop()
        DBOS.destroy(workflow_completion_timeout_sec=max(0, round(drain_s)), destroy_registry=True)
        # The lease is renewed until here, or others would take over jobs that are being finished.
        self._beat.stop()
        try:
            with self._database.write() as session:
                session.execute(delete(Lease).where(Lease.executor_id == self.executor_id))
        except DatabaseUnavailable:
            return  # the lease no longer changes, and others notice

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
