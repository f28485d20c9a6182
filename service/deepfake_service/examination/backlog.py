"""How much waits in the queue, and how many workers it takes: the signals to scale by.

Every process reads the same figures. The number of workers wanted is

    ceil((running + waiting * seconds / target) / slots), at least 1

``running`` and ``waiting`` count jobs. ``seconds`` is what the latest ``SAMPLE`` examinations took
on average, from their first step to their verdict. A worker has ``slots`` jobs at a time, so within
``target`` seconds it begins ``slots * target / seconds`` more of them. One worker is wanted even if
nothing waits, because workers also delete what expires and send webhooks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deepfake_service.cases.filters import mean_examination_s
from deepfake_service.examination.queue import job_version
from deepfake_service.platform.db import Database, Job, Lease
from deepfake_service.platform.db.columns import Moment
from deepfake_service.platform.enums import UNFINISHED, JobState, Priority
from deepfake_service.platform.errors import DatabaseDamaged, DatabaseUnavailable

TARGET_WAIT_S = 60.0
"""Within how many seconds a job should begin. For another time, scale the number of workers."""
SAMPLE = 50
"""Ended examinations whose duration counts."""
DEFAULT_SECONDS = 10.0
"""What a job is taken to last before any has ended."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """How long the queue is. ``waiting`` and ``oldest_s`` are by priority."""

    waiting: Mapping[str, int]
    oldest_s: Mapping[str, float]
    without_worker: int
    """Unfinished jobs whose model or version no living worker has."""
    workers_alive: int
    workers_wanted: int


class QueueCollector(Collector):
    """Gauges of the queue, read at every scrape, and left out where ``queue_state`` is ``None``."""

    def __init__(self, database: Database, slots: int) -> None:
        self._database, self._slots = database, slots

    def describe(self) -> Iterator[Metric]:
        """Return nothing, so that a registry does not read the database to learn the names."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges as they are now."""
        state = queue_state(self._database, self._slots)
        if state is None:
            return
        for name, text, values in (
            ("deepfake_jobs_waiting", "Jobs that no worker has started.", state.waiting),
            (
                "deepfake_jobs_oldest_waiting_seconds",
                "Age of the oldest job that no worker has started; 0 if none waits.",
                state.oldest_s,
            ),
        ):
            gauge = GaugeMetricFamily(name, text, labels=["priority"])
            for priority, value in values.items():
                gauge.add_metric([priority], value)
            yield gauge
        yield GaugeMetricFamily(
            "deepfake_jobs_without_worker",
            "Unfinished jobs whose model bundle or version no living worker has.",
            state.without_worker,
        )
        yield GaugeMetricFamily(
            "deepfake_workers_alive", "Workers that renew their lease.", state.workers_alive
        )
        yield GaugeMetricFamily(
            "deepfake_workers_wanted",
            "Workers with which waiting jobs would begin within a minute.",
            state.workers_wanted,
        )


def queue_state(database: Database, slots: int) -> QueueState | None:
    """Return the state of the queue; ``None`` while the database does not answer or is damaged.
    Where no worker lives to tell, one is taken to examine ``slots`` jobs at a time."""
    try:
        with database.read() as session:
            return _read(session, database.clock(), slots)
    except (DatabaseUnavailable, DatabaseDamaged):
        return None


def _read(session: Session, now: datetime, slots: int) -> QueueState:
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
    served, own = {w.version for w in workers}, [w.slots or 1 for w in workers]
    each_s = mean_examination_s(session, SAMPLE)
    each_s = DEFAULT_SECONDS if each_s is None else each_s
    work = running + sum(waiting.values()) * each_s / TARGET_WAIT_S
    needed = work / (sum(own) / len(own) if own else slots)
    return QueueState(
        waiting,
        oldest_s,
        sum(count for bundle, count in by_bundle if job_version(bundle) not in served),
        len(workers),
        max(1, math.ceil(needed)),
    )
