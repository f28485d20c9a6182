"""The state of the queue as metrics: what waits, and how many workers there are and should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class QueueState:
    """How long the queue is. ``waiting`` and ``oldest_s`` are by priority."""

    waiting: Mapping[str, int]
    oldest_s: Mapping[str, float]
    without_worker: int
    """Unfinished jobs that no living worker may examine, for want of their model or version."""
    workers_alive: int
    workers_wanted: int


class QueueCollector(Collector):
    """Gauges of the queue. While ``read`` returns ``None`` they are left out."""

    def __init__(self) -> None:
        self.read: Callable[[], QueueState | None] = lambda: None

    def describe(self) -> Iterator[Metric]:
        """Return nothing, so that a registry does not read the database to learn the names."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges as they are now."""
        state = self.read()
        if state is None:
            return
        waiting = GaugeMetricFamily(
            "deepfake_jobs_waiting", "Jobs that no worker has started.", labels=["priority"]
        )
        oldest = GaugeMetricFamily(
            "deepfake_jobs_oldest_waiting_seconds",
            "Age of the oldest job that no worker has started; 0 if none waits.",
            labels=["priority"],
        )
        for priority, count in state.waiting.items():
            waiting.add_metric([priority], count)
            oldest.add_metric([priority], state.oldest_s[priority])
        yield waiting
        yield oldest
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
