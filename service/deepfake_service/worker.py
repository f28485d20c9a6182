"""The worker: takes up jobs until it is stopped, in the service's process or in one of its own."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from types import FrameType

from deepfake_models.decoding import Decoder, ProcessDecoder
from deepfake_models.scorer import Scorer
from deepfake_models.spec import DecodeLimits
from deepfake_service.jobs import JobQueue, Runner
from deepfake_service.logs import logger
from deepfake_service.metrics import Metrics
from deepfake_service.pipeline.digests import Digests
from deepfake_service.pipeline.examination import Examination
from deepfake_service.pipeline.intake import Intake
from deepfake_service.pipeline.lifecycle import Lifecycle
from deepfake_service.pipeline.reading import Reading
from deepfake_service.pipeline.work import Work
from deepfake_service.records import Database, open_database
from deepfake_service.settings import Settings
from deepfake_service.storage import Vault, open_blobs, open_keys

BLOB_FOLDER = "blobs"
SWEEP_EVERY_S = 60.0
DRAIN_S = 20.0
"""Of the time that a stop leaves, so much goes to jobs: they can be gone on with by others."""

_log = logger("deepfake_service.worker")


def open_scorer(settings: Settings) -> Scorer:
    """Load the bundle that ``settings`` names.

    Raises:
        BundleError: it is incomplete or altered; EngineMissing: onnxruntime is not installed.
    """
    return Scorer.open(settings.bundle_dir, device=settings.device, threads=settings.threads)


def open_decoder(settings: Settings) -> ProcessDecoder:
    """Start the decoder processes. Close it with ``close()``."""
    limits = DecodeLimits(max_pixels=settings.max_pixels, timeout_s=settings.decode_timeout_s)
    return ProcessDecoder(limits, settings.decode_workers)


@contextlib.contextmanager
def opened_work(
    settings: Settings, database: Database, bundle_sha256: str
) -> Iterator[tuple[Work, Vault]]:
    """Open the vault and the queue, and what jobs are made, read and ended with."""
    keys = open_keys(settings)
    vault = Vault(open_blobs(settings.blob_url, settings.data_dir / BLOB_FOLDER), keys)
    with contextlib.closing(JobQueue(database)) as queue:
        after_review = timedelta(hours=settings.media_hours_after_review)
        yield (
            Work(
                Intake(database, vault, queue, Digests(database, keys), bundle_sha256),
                Reading(database, vault),
                Lifecycle(database, vault, queue, after_review=after_review),
            ),
            vault,
        )


@contextlib.contextmanager
def working(
    settings: Settings,
    database: Database,
    vault: Vault,
    work: Work,
    scorer: Scorer,
    decoder: Decoder,
    metrics: Metrics,
) -> Iterator[None]:
    """Take up jobs for as long as the context lasts; at its end, quick ones are finished."""
    steps = Examination(
        database,
        vault,
        scorer,
        decoder,
        metrics,
        max_attempts=settings.max_attempts,
        keep_after_verdict=timedelta(days=settings.media_days_after_verdict),
    )
    swept = 0.0

    def housekeeping() -> None:
        nonlocal swept
        if time.monotonic() - swept >= SWEEP_EVERY_S:
            swept = time.monotonic()
            work.lifecycle.sweep()

    runner = Runner(database, steps, at_once=settings.jobs_at_once, housekeeping=housekeeping)
    runner.start()
    try:
        yield
    finally:
        runner.stop(drain_s=min(DRAIN_S, settings.shutdown_timeout_s))


def run_worker(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    stop = threading.Event()

    def stopped(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stopped)
    scorer = open_scorer(settings)
    with (
        contextlib.closing(open_database(settings)) as database,
        contextlib.closing(open_decoder(settings)) as decoder,
        opened_work(settings, database, scorer.bundle.sha256) as (work, vault),
        working(settings, database, vault, work, scorer, decoder, Metrics()),
    ):
        _log.info("worker_started")
        stop.wait()
    _log.info("worker_stopped")
