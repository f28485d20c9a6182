"""Run jobs: DBOS in this process, and a lease that shows other workers that this one is alive.

DBOS returns the jobs of a dead worker only to a worker of the same name. Here every start of a
worker has its own name, and a living worker takes over the jobs of workers whose lease has stopped
changing.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from dbos import DBOS, DBOSConfig, Queue
from dbos._sys_db import SystemDatabase
from sqlalchemy import delete

from deepfake_service.examination import take_over
from deepfake_service.examination.queue import PlainJson, quieten
from deepfake_service.examination.steps import Examination
from deepfake_service.examination.workflow import ExaminationWorkflow
from deepfake_service.examination.workflow_rows import APPLICATION, QUEUE, job_version
from deepfake_service.platform.chores import Chore
from deepfake_service.platform.db import Database, Lease
from deepfake_service.platform.errors import DatabaseUnavailable
from deepfake_service.platform.settings import Settings

SUSPECTS_FILE = "suspects.lock"
"""In the data directory, which the workers of a machine share."""
POLL_S = 0.5
"""Poll interval of a worker, with DBOS's jitter: a worker idles half of it after each job."""


class _LimitedDBOS(DBOS):
    """DBOS with a limit of each worker's own on the jobs that it examines at a time.

    DBOS keeps that limit in the database for all workers, as the worker which started last wrote
    it, and reads it at each poll: a machine with much memory would overload a small one. DBOS 3.4
    offers no call for a worker's own limit; ``test_worker_limits.py`` fails if this stops working.
    """

    at_once: int

    @property
    def _sys_db(self) -> SystemDatabase:
        records = super()._sys_db
        # Launching reads this property before it starts the thread that polls, so not even the
        # first poll is by another worker's limit.
        if "get_queue" not in vars(records):
            of_all_workers = records.get_queue

            def get_queue(name: str, **options: Any) -> Queue | None:
                queue = of_all_workers(name, **options)
                if queue is not None and name == QUEUE:
                    queue._worker_concurrency = self.at_once
                return queue

            records.get_queue = get_queue  # type: ignore[method-assign]
        return records


class Runner:
    """Runs examinations until it is stopped. One for each process, because DBOS is a singleton."""

    def __init__(
        self,
        database: Database,
        steps: Examination,
        settings: Settings,
        on_step: Callable[[str, float], None],
    ) -> None:
        quieten()
        self._database = database
        self._at_once = settings.jobs_at_once
        self.executor_id = f"{socket.gethostname()[:32]}-{secrets.token_hex(6)}"
        self._stopping = steps.stopping
        workflow = ExaminationWorkflow(steps, on_step, settings.data_dir / SUSPECTS_FILE)
        self._version = job_version(steps.model)
        self._take_over = take_over.TakeOver(
            database, self.executor_id, steps.model, workflow.active
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
        _LimitedDBOS(config=config).at_once = self._at_once
        workflow.register()

    def start(self) -> None:
        """Begin to take jobs from the queue."""
        self._renew_lease()
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=self._at_once,
            polling_interval_sec=POLL_S,
            on_conflict="always_update",
        )
        # Each has its own thread: taking over may wait for the database, and a worker that waits
        # must still renew its lease.
        self._rescue = Chore("rescue", self._take_over.look, take_over.BEAT_S)
        self._beat = Chore("lease", self._renew_lease, take_over.BEAT_S)

    def stop(self, *, drain_s: float) -> None:
        """Stop; wait up to ``drain_s`` seconds for running jobs. Other workers resume the rest."""
        self._stopping.set()
        self._rescue.stop()
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
                    expires_at=self._database.clock() + timedelta(seconds=take_over.LEASE_S),
                    version=self._version,
                    slots=self._at_once,
                )
            )
