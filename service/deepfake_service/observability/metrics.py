"""Prometheus metrics of one app. Counts and durations only: no score, no name, no content."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from deepfake_models.results import Verdict

KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"
"""Route of a request that no route matched: its path is the client's text and would make a new
time series of every guess."""
# A small picture takes 0.05 s on two cores, 64 of the largest allowed about a minute.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_JOB_SECONDS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
_CROPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The metrics of one app, in a registry of its own, so that apps do not share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "deepfake_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "deepfake_http_request_seconds",
            "Time from a request's first byte to its answer's last.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._in_progress = Gauge(
            "deepfake_http_requests_in_progress",
            "Requests being received, worked on or answered.",
            registry=self.registry,
        )
        self._batches = Histogram(
            "deepfake_batch_crops",
            "Face crops classified together.",
            buckets=_CROPS,
            registry=self.registry,
        )
        self._batch_failures = Counter(
            "deepfake_batch_failures",
            "Batches that failed and were classified again crop by crop.",
            registry=self.registry,
        )
        self._frames = Counter(
            "deepfake_frames",
            "Pictures answered by POST /v1/frames, by verdict.",
            ["verdict"],
            registry=self.registry,
        )
        self._decoder_failures = Counter(
            "deepfake_decoder_failures",
            "Inputs that could not be examined, by reason code.",
            ["code"],
            registry=self.registry,
        )
        self._jobs = Counter(
            "deepfake_jobs", "Jobs ended, by verdict.", ["state", "verdict"], registry=self.registry
        )
        self._job_seconds = Histogram(
            "deepfake_job_seconds",
            "Time from a job's first step to its verdict.",
            buckets=_JOB_SECONDS,
            registry=self.registry,
        )
        self._step_seconds = Histogram(
            "deepfake_step_seconds",
            "Time that one step of a job took.",
            ["step"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._jobs_waiting = Gauge(
            "deepfake_jobs_waiting", "Jobs that no worker has begun.", registry=self.registry
        )
        self._oldest_job = Gauge(
            "deepfake_oldest_job_seconds",
            "Age of the oldest job that is not over.",
            registry=self.registry,
        )
        self._overdue = Gauge(
            "deepfake_notices_overdue",
            "Notices that were sent and ought to have been acted on by now.",
            registry=self.registry,
        )
        self._webhooks = Counter(
            "deepfake_webhooks",
            "Attempts at delivering webhooks, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self._queue_depth = Gauge(
            "deepfake_queue_depth", "Face crops waiting for the classifier.", registry=self.registry
        )
        self._buffered = Gauge(
            "deepfake_upload_buffered_bytes",
            "Bytes of uploads held in memory.",
            registry=self.registry,
        )

    def watch(self, *, queue_depth: Callable[[], float], buffered: Callable[[], float]) -> None:
        """Read these two gauges from their source whenever the metrics are asked for."""
        self._queue_depth.set_function(queue_depth)
        self._buffered.set_function(buffered)

    def watch_jobs(self, waiting: Callable[[], float], oldest_s: Callable[[], float]) -> None:
        """Read these two gauges from the database whenever the metrics are asked for."""
        self._jobs_waiting.set_function(waiting)
        self._oldest_job.set_function(oldest_s)

    def watch_notices(self, overdue: Callable[[], float]) -> None:
        """The same of overdue notices."""
        self._overdue.set_function(overdue)

    def step(self, name: str, seconds: float) -> None:
        """Note how long one step of a job took."""
        self._step_seconds.labels(name).observe(seconds)

    def request_started(self) -> None:
        self._in_progress.inc()

    def request_ended(self, method: str, route: str, status: int, seconds: float) -> None:
        self._in_progress.dec()
        self._requests.labels(known_method(method), route, str(status)).inc()
        self._seconds.labels(known_method(method), route).observe(seconds)

    def batch(self, crops: int) -> None:
        self._batches.observe(crops)

    def batch_failed(self) -> None:
        self._batch_failures.inc()

    def frame(self, verdict: Verdict) -> None:
        """Count one answered picture."""
        self._frames.labels(str(verdict.verdict)).inc()
        for reason in verdict.reasons:
            if reason.code.input_at_fault:
                self._decoder_failures.labels(str(reason.code)).inc()

    def job_ended(self, state: str, verdict: str | None, seconds: float | None = None) -> None:
        """Count one job that is over."""
        self._jobs.labels(state, verdict or "none").inc()
        if seconds is not None:
            self._job_seconds.observe(seconds)

    def webhook(self, outcome: str) -> None:
        """Count one attempt at delivering a webhook."""
        self._webhooks.labels(outcome).inc()

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def known_method(method: str) -> str:
    """``method``, or ``OTHER``: the method is the client's text too."""
    return method if method in KNOWN_METHODS else "OTHER"
