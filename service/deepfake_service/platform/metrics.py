"""Prometheus metrics of one app: only counts and durations, without scores, names or content."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from deepfake_models.bundle.results import Verdict, input_at_fault
from deepfake_service.platform.errors import DatabaseDamaged, DatabaseUnavailable, RecordAltered
from deepfake_service.platform.logs import ERRORS

KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"
"""Label for requests that match no route. Their path is chosen by the client, and every new path
would create a new time series."""
# A small picture takes 0.05 s on two cores; 64 pictures of the largest size take about a minute.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_JOB_SECONDS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
ENDED_STATES = ("succeeded", "failed", "cancelled", "expired")
_REQUEST = ("method", "route")
disable_created_metrics()  # type: ignore[no-untyped-call]  # second series that no one reads

GAUGES = {
    "deepfake_pictures_waiting": "Pictures of POST /v1/frames that wait for others.",
    "deepfake_upload_buffered_bytes": "Bytes of uploads held in memory.",
    "deepfake_oldest_job_seconds": "Age of the oldest unfinished job.",
    "deepfake_notices_overdue": "Notices sent whose deadline has passed without action.",
    "deepfake_webhooks_due": "Webhooks of ended jobs that are neither delivered nor given up.",
    "deepfake_disk_free_bytes": "Free space on the disk of the data directory.",
    "deepfake_deletions_marked": "Media, bundles of evidence and cases that will be deleted after "
    "a grace period.",
    "deepfake_database_intact": "0 once damage of the database was noticed, otherwise 1.",
    "deepfake_records_altered": "Records that this process has refused since it started, because "
    "they were altered.",
    "deepfake_report_certificate_end_seconds": "Unix time at which the certificate that signs "
    "reports expires.",
}
"""Gauges that are read from their source at every scrape."""


class Metrics:
    """The metrics of one app, in its own registry so that apps do not share them."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        registry.register(ERRORS)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"deepfake_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"deepfake_{name}", text, labels, buckets=buckets, registry=registry)

        self._requests = counter("http_requests", "Requests answered.", *_REQUEST, "status")
        self._seconds = histogram(
            "http_request_seconds",
            "Time from the first byte of a request to the last byte of its response.",
            _SECONDS,
            *_REQUEST,
        )
        self.in_progress = Gauge(
            "deepfake_http_requests_in_progress",
            "Requests being received, processed or answered.",
            registry=registry,
        )
        self._frames = counter("frames", "Pictures scored by POST /v1/frames.")
        self._decoder_failures = counter(
            "decoder_failures", "Inputs that could not be examined, by reason code.", "code"
        )
        self._jobs = counter(
            "jobs", "Jobs that ended since the start of this process, by state.", "state"
        )
        for state in ENDED_STATES:  # a rate misses the increase by which a series begins
            self._jobs.labels(state)
        self._job_seconds = histogram(
            "job_seconds", "Time from the first step of a job to its verdict.", _JOB_SECONDS
        )
        self.step_seconds = histogram(
            "step_seconds", "Duration of one step of a job.", _SECONDS, "step"
        )
        self.webhooks = counter("webhooks", "Webhook delivery attempts, by outcome.", "outcome")
        self._gauges = {name: Gauge(name, GAUGES[name], registry=registry) for name in GAUGES}

    def watch(self, reads: Mapping[str, Callable[[], float]]) -> None:
        """Read ``GAUGES`` from their sources at every scrape."""
        for name, read in reads.items():
            self._gauges[name].set_function(_or_nan(read))

    def request_ended(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request and record its duration in seconds."""
        self.in_progress.dec()
        self._requests.labels(known_method(method), route, str(status)).inc()
        self._seconds.labels(known_method(method), route).observe(seconds)

    def frame(self, verdict: Verdict) -> None:
        """Count one scored picture, and its failures if it could not be examined."""
        self._frames.inc()
        for reason in verdict.reasons:
            if input_at_fault(reason.code):
                self._decoder_failures.labels(str(reason.code)).inc()

    def job_ended(self, state: str, seconds: float | None = None) -> None:
        """Count one finished job and record its duration in seconds, if known."""
        # Not by verdict: this needs no key, and one reader after each job would learn it.
        self._jobs.labels(state).inc()
        if seconds is not None:
            self._job_seconds.observe(seconds)


def _or_nan(read: Callable[[], float]) -> Callable[[], float]:
    """Return a function that returns NaN while the database does not answer or is damaged, or if a
    record was altered, and otherwise what ``read`` does. The other metrics, which tell that, can
    then still be read."""

    def value() -> float:
        try:
            return float(read())
        except (DatabaseUnavailable, DatabaseDamaged, RecordAltered):
            return math.nan

    return value


def known_method(method: str) -> str:
    """Return ``method``, or ``OTHER`` for one that the client made up."""
    return method if method in KNOWN_METHODS else "OTHER"
