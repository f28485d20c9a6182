"""The durable workflow of an examination: which steps there are, in which order.

What a step returns is kept by DBOS; a worker that takes a job up skips the steps that were done.
Steps take and give ids and counts alone: what they find lies sealed in the vault.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from dbos import DBOS, StepOptions
from sqlalchemy.exc import SQLAlchemyError

from deepfake_service.errors import DatabaseUnavailable, StorageUnavailable
from deepfake_service.jobs.queue import EXAMINE
from deepfake_service.observability.logs import describe, logger

_RETRIED: StepOptions = {"retries_allowed": True, "max_attempts": 3, "interval_seconds": 0.5}

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0

P = ParamSpec("P")
T = TypeVar("T")

_log = logger("deepfake_service.jobs")


class JobOver(Exception):
    """The job was cancelled, shredded or ended by another worker: nothing is left to do."""


class Steps(Protocol):
    """What is done in each step. All may be done again after a crash in the midst of them."""

    def take_up(self, job_id: str) -> None:
        """Note that a worker begins the job, or goes on with it.

        Raises:
            JobOver: it is over, or was taken up too often already (and is failed now).
        """
        ...

    def look(self, job_id: str) -> int:
        """Open the media and plan; in how many parts it is to be examined (0: not at all)."""
        ...

    def part(self, job_id: str, number: int) -> None:
        """Examine part ``number``."""
        ...

    def further(self, job_id: str, parts: int) -> int:
        """How many parts more it takes to look closely at what is suspect in the ``parts``."""
        ...

    def conclude(self, job_id: str, parts: int) -> None:
        """Judge the ``parts`` and end the job."""
        ...

    def fail(self, job_id: str, code: str) -> None:
        """End the job as failed: a fault of the service."""
        ...


class Stopping(BaseException):
    """The worker stops while a step waits: its job is left for another worker to go on with."""


def register(
    steps: Steps,
    on_step: Callable[[str, float], None],
    stopping: threading.Event,
    active: set[str],
) -> None:
    """Make the workflow known to DBOS, before it is launched. ``on_step`` is told of each step's
    name and seconds; once ``stopping`` is set, no step waits any longer; ``active`` holds the jobs
    that run in this process."""

    def patiently(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Wait for a database or a store that has gone away: that is no fault of the job's."""
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return step(*args, **kwargs)
            except (DatabaseUnavailable, StorageUnavailable) as error:
                _log.warning("waiting", step=step.__name__, failure=describe(error))
                if stopping.wait(wait_s):
                    raise Stopping from error
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def run(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        started = time.monotonic()
        options: StepOptions = {**_RETRIED, "name": step.__name__}

        def kept() -> list[T]:
            """What DBOS keeps; an empty list where the job is over, which is no failure."""
            try:
                return [patiently(step, *args, **kwargs)]
            except JobOver:
                return []

        done = DBOS.run_step(options, kept)
        if not done:
            raise JobOver
        on_step(step.__name__, time.monotonic() - started)
        return done[0]

    def examine(job_id: str) -> None:
        active.add(job_id)
        try:
            examined(job_id)
        finally:
            active.discard(job_id)

    def examined(job_id: str) -> None:
        try:
            # Not a step: what is kept would not be counted again.
            patiently(steps.take_up, job_id)
            parts = run(steps.look, job_id)
            for number in range(parts):
                run(steps.part, job_id, number)
            more = run(steps.further, job_id, parts) if parts else 0
            for number in range(parts, parts + more):
                run(steps.part, job_id, number)
            run(steps.conclude, job_id, parts + more)
        except JobOver:
            return
        except Exception as error:
            if isinstance(_last(error), SQLAlchemyError):
                # DBOS could not write what a step gave, for instance on a full disk: no fault of
                # the job's, which is taken up again.
                raise Stopping from error
            _log.error("job_failed", job_id=job_id, failure=describe(error))
            run(steps.fail, job_id, type(_last(error)).__name__)

    DBOS.workflow(name=EXAMINE)(examine)


def _last(error: Exception) -> Exception:
    """What went wrong: in the last attempt, where a step was tried several times."""
    attempts = getattr(error, "errors", None)
    last: Exception = attempts[-1] if attempts else error
    return last
