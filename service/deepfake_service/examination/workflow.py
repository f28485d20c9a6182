"""The durable workflow of an examination: its steps and their order.

DBOS stores the result of each step; a worker that resumes a job skips the steps that were done.
Steps take and return ids and counts alone, since DBOS's tables are not encrypted: what a step finds
is sealed in the vault.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from dbos import DBOS, StepOptions
from sqlalchemy.exc import SQLAlchemyError

from deepfake_service.examination.queue import EXAMINE
from deepfake_service.examination.steps import Examination, JobOver, Stopping
from deepfake_service.platform.errors import DatabaseUnavailable, StorageUnavailable
from deepfake_service.platform.logs import describe, logger

_RETRIES: StepOptions = {"retries_allowed": True, "max_attempts": 3, "interval_seconds": 0.5}

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
_SLOT_WAIT_S = 0.2
"""How long a job that a worker has no slot for waits there before it is queued again."""

P = ParamSpec("P")
T = TypeVar("T")

_log = logger("deepfake_service.jobs")


@dataclass
class ExaminationWorkflow:
    """Runs the steps of examinations in order and has DBOS store their results.

    Any step may be repeated after a crash in the middle of it, and raises ``JobOver`` if the job
    has ended. ``on_step`` is called with the name and the seconds of each finished step. Once the
    worker stops, no step waits for a database or store any longer. ``active`` holds the ids of the
    jobs that run in this process. DBOS may give this worker more than ``at_once`` jobs, as many as
    another one takes: ``give_back`` queues those again for which no slot becomes free.
    """

    _steps: Examination
    _on_step: Callable[[str, float], None]
    at_once: int
    _give_back: Callable[[str], None]
    active: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._slots = threading.BoundedSemaphore(self.at_once)

    def register(self) -> None:
        """Make the workflow known to DBOS. Must be called before DBOS is launched."""

        # DBOS sets attributes on what it registers, which a bound method does not allow.
        def examine(job_id: str) -> None:
            self.run(job_id)

        DBOS.workflow(name=EXAMINE)(examine)

    def run(self, job_id: str) -> None:
        """Examine a job, from the first step that DBOS has no result of."""
        self.active.add(job_id)
        try:
            with self._slot(job_id):
                self._run(job_id)
        finally:
            self.active.discard(job_id)

    @contextlib.contextmanager
    def _slot(self, job_id: str) -> Iterator[None]:
        if not self._slots.acquire(timeout=_SLOT_WAIT_S):
            if not self._steps.stopping.is_set():
                self._give_back(job_id)
            raise Stopping
        try:
            yield
        finally:
            self._slots.release()

    def _run(self, job_id: str) -> None:
        steps = self._steps
        # DBOS stores the names of steps with running jobs, which are resumed by them.
        try:
            # Not a step of DBOS: it must be counted each time a worker resumes the job.
            self._wait_through_outages("claim_job", steps.claim_job, job_id)
            overview = self._step("plan_overview", steps.plan_overview, job_id)
            for number in range(overview):
                self._step("examine_chunk", steps.examine_chunk, job_id, number)
            dense = self._step("plan_dense", steps.plan_dense, job_id, overview) if overview else 0
            for number in range(overview, overview + dense):
                self._step("examine_chunk", steps.examine_chunk, job_id, number)
            self._step("conclude", steps.conclude, job_id, overview + dense)
            self._step("issue_evidence", steps.issue_evidence, job_id)
        except JobOver:
            return
        except Exception as error:
            # DBOS raises the errors of all attempts at a step together.
            cause: Exception = [error, *getattr(error, "errors", ())][-1]
            if isinstance(cause, SQLAlchemyError) or steps.stopping.is_set():
                # DBOS could not store the result of a step, for instance on a full disk, or stores
                # none any more. That is no fault of the job, which is resumed later.
                raise Stopping from error
            _log.error("job_failed", job_id=job_id, failure=describe(error))
            self._step("fail", steps.fail, job_id, type(cause).__name__)

    def _step(self, name: str, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``do`` as the DBOS step ``name``, or return the result that DBOS has stored of it;
        ``JobOver`` if the job has ended."""
        started = time.monotonic()

        def run() -> list[T]:
            # DBOS takes an exception for a failure and retries; an ended job is none. So the result
            # is a list, which is empty where the job has ended.
            try:
                return [self._wait_through_outages(name, do, *args, **kwargs)]
            except JobOver:
                return []

        result = DBOS.run_step({**_RETRIES, "name": name}, run)
        if not result:
            raise JobOver
        self._on_step(name, time.monotonic() - started)
        return result[0]

    def _wait_through_outages(
        self, name: str, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``do`` again until the database and the store are there: no outage fails a job."""
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return do(*args, **kwargs)
            except (DatabaseUnavailable, StorageUnavailable) as error:
                _log.warning("waiting", step=name, failure=describe(error))
                if self._steps.stopping.wait(wait_s):
                    raise Stopping from error
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
