"""The worker: DBOS in this process, and a lease by which others see that it is alive.

DBOS gives a dead worker's jobs back to a worker of the same name alone. So every start has a name
of its own, and whoever lives takes over the jobs of those whose lease has run out.
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

BEAT_S = 2.0
"""How often a worker says that it is alive."""
LEASE_S = 10.0
"""How long it is believed: a few beats, so that a slow disk does not make two of one worker."""
_TAKING_OVER = "taking-over"
"""The lease of whoever takes jobs over: one at a time, or two would both queue them."""

_log = logger("deepfake_service.jobs")


class Runner:
    """Runs examinations until it is stopped. One in a process: DBOS is a singleton."""

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
        # Two threads: taking over waits for the database as DBOS does, and a worker that waits is
        # alive.
        chores = (("lease", self._say_alive, self._ended), ("rescue", self._take_over, self._stop))
        self._threads = [
            threading.Thread(target=self._keep, args=chore, name=chore[0], daemon=True)
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
        """Take up jobs from now on."""
        self._say_alive()
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
        """Finish running jobs within ``drain_s`` seconds; what is not done is for others."""
        self._stop.set()
        DBOS.destroy(workflow_completion_timeout_sec=max(0, round(drain_s)), destroy_registry=True)
        # Alive until here: others would take over what is being finished.
        self._ended.set()
        for thread in self._threads:
            thread.join(timeout=2 * BEAT_S)
        try:
            with self._database.write() as session:
                session.execute(delete(Lease).where(Lease.executor_id == self.executor_id))
        except DatabaseUnavailable:
            return  # it runs out by itself

    def _keep(self, name: str, what: Callable[[], None], until: threading.Event) -> None:
        while not until.wait(BEAT_S):
            try:
                what()
            except DatabaseUnavailable:
                _log.warning("database_unavailable", thread=name)
            except Exception as error:  # the worker lives on, or nobody would notice
                _log.error("housekeeping_failed", thread=name, failure=describe(error))

    def _say_alive(self) -> None:
        with self._database.write() as session:
            # Counted from when the lock was had: waiting for it is not being dead.
            until = self._database.clock() + timedelta(seconds=LEASE_S)
            session.merge(Lease(executor_id=self.executor_id, expires_at=until))

    def _take_over(self) -> None:
        """Queue again the jobs of workers that are no longer alive."""
        if not self._orphans():
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
        running = DBOS.list_workflows(
            status="PENDING", name=EXAMINE, load_input=False, load_output=False
        )
        if not running:
            return []
        with self._database.read() as session:
            alive = set(
                session.scalars(
                    select(Lease.executor_id).where(Lease.expires_at > self._database.clock())
                )
            )
        dead = [
            w.workflow_id
            for w in running
            if w.executor_id not in alive and w.workflow_id not in self._active
        ]
        return dead + self._own(running)

    def _own(self, running: Sequence[WorkflowStatus]) -> list[str]:
        """Jobs that are this worker's by DBOS' tables, but that no thread of it runs: a step's
        outcome could not be written. Seen twice, as one may just be about to begin."""
        mine = {w.workflow_id for w in running if w.executor_id == self.executor_id}
        strays = mine - self._active
        found, self._strays = strays & self._strays, strays
        return sorted(found)

    def _claim(self) -> bool:
        now = self._database.clock()
        with self._database.write() as session:
            held = session.get(Lease, _TAKING_OVER, with_for_update=True)
            if held is not None and held.expires_at > now:
                return False
            until = now + timedelta(seconds=LEASE_S)
            session.merge(Lease(executor_id=_TAKING_OVER, expires_at=until))
        return True
