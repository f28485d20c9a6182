"""How much waits in the queue, and how many workers it takes: the signals to scale by.

Every process reads the same figures, at most once in ``MAX_AGE_S``. The number of workers wanted is

    ceil((running + waiting * seconds / target) / slots), at least 1

``running`` and ``waiting`` count jobs. ``seconds`` is what the latest ``SAMPLE`` examinations took
on average, from their first step to their verdict. A worker has ``slots`` jobs at a time, so within
``target`` seconds it begins ``slots * target / seconds`` more of them. One worker is wanted even if
nothing waits, because workers also delete what expires and send webhooks.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deepfake_service.cases.turns import latest_times, mean_s
from deepfake_service.examination.workflow_rows import job_version
from deepfake_service.platform.db import Database, Job, Lease
from deepfake_service.platform.db.column_types import Moment
from deepfake_service.platform.db.enums import UNFINISHED, JobState, Priority
from deepfake_service.platform.errors import DatabaseDamaged, DatabaseUnavailable
from deepfake_service.platform.metrics import QueueState

MAX_AGE_S = 5.0
"""How long figures are reused: scrapes of many processes must not become a load."""
OUTDATED_AFTER_S = 300.0
"""How long the last figures are told while the database does not answer: no workers are stopped or
started for the sake of a short outage."""
TARGET_WAIT_S = 60.0
"""Within how many seconds a job should begin. For another time, scale the number of workers."""
SAMPLE = 50
"""Ended examinations whose duration counts."""
DEFAULT_SECONDS = 10.0
"""What a job is taken to last before any has ended."""


class Backlog:
    """Reads the state of the queue.

    Args:
        database: the database with the queue.
        slots: jobs that a worker examines at a time, where no worker lives to tell.
        ticks: a monotonic clock.
    """

    def __init__(
        self, database: Database, slots: int, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._slots = slots
        self._ticks = ticks
        self._lock = threading.Lock()
        self._last: tuple[float, QueueState] | None = None

    def state(self) -> QueueState | None:
        """Return the state of the queue, at most ``MAX_AGE_S`` seconds old.

        While the database does not answer or is damaged, it is the last one, and ``None`` once that
        is older than ``OUTDATED_AFTER_S``.
        """
        with self._lock:
            now = self._ticks()
            if self._last is None or now - self._last[0] >= MAX_AGE_S:
                try:
                    with self._database.read() as session:
                        self._last = now, self._read(session)
                except (DatabaseUnavailable, DatabaseDamaged):
                    if self._last is not None and now - self._last[0] >= OUTDATED_AFTER_S:
                        self._last = None
            return self._last[1] if self._last else None

    def _read(self, session: Session) -> QueueState:
        now = self._database.clock()
        waiting = {str(priority): 0 for priority in Priority}
        oldest_s = {str(priority): 0.0 for priority in Priority}
        oldest = func.min(Job.created_at, type_=Moment)
        queued = select(Job.priority, func.count(), oldest).where(Job.state == JobState.QUEUED)
        for priority, count, first in session.execute(queued.group_by(Job.priority)):
            waiting[str(priority)] = count
            oldest_s[str(priority)] = max(0.0, (now - first).total_seconds())
        unfinished = select(Job.bundle_sha256, func.count()).where(Job.state.in_(UNFINISHED))
        by_bundle = session.execute(unfinished.group_by(Job.bundle_sha256)).all()
        running = session.scalar(select(func.count()).where(Job.state == JobState.RUNNING)) or 0
        is_worker = Lease.version.is_not(None), Lease.expires_at > now
        workers = session.scalars(select(Lease).where(*is_worker)).all()
        served, slots = {w.version for w in workers}, [w.slots or 1 for w in workers]
        ended = session.execute(latest_times(SAMPLE, Job.state == JobState.SUCCEEDED))
        each_s = mean_s((start, end) for start, end in ended)
        return QueueState(
            waiting,
            oldest_s,
            sum(count for bundle, count in by_bundle if job_version(bundle) not in served),
            len(workers),
            self._wanted(sum(waiting.values()), running, slots, each_s),
        )

    def _wanted(self, waiting: int, running: int, slots: list[int], each_s: float | None) -> int:
        each_s = DEFAULT_SECONDS if each_s is None else each_s
        each = sum(slots) / len(slots) if slots else self._slots
        needed = (running + waiting * each_s / TARGET_WAIT_S) / each
        return max(1, math.ceil(needed))
