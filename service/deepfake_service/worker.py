"""The worker: takes up jobs until it is stopped, in the service's process or in one of its own."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import FrameType

from prometheus_client import start_http_server

from deepfake_models.decode.decoder import Decoder
from deepfake_models.scorer import Scorer
from deepfake_service.casework.examination import Examination
from deepfake_service.casework.webhook_deliveries import WebhookDeliveries
from deepfake_service.container import Work, open_decoder, open_scorer, opened_work
from deepfake_service.db import Database, open_database
from deepfake_service.jobs import Runner
from deepfake_service.observability.logs import describe, logger
from deepfake_service.observability.metrics import Metrics
from deepfake_service.settings import Settings
from deepfake_service.storage import Vault

SWEEP_EVERY_S = 60.0
ORPHANS_EVERY_S = 3600.0
SEND_EVERY_S = 1.0
DRAIN_S = 20.0
"""Of the time that a stop leaves, so much goes to jobs: they can be gone on with by others."""

_log = logger("deepfake_service.worker")


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
        work.evidence_store,
        work.hash_bank,
        max_attempts=settings.max_attempts,
        keep_after_verdict=timedelta(days=settings.media_days_after_verdict),
        anchors=settings.content_credential_anchors,
    )
    deliveries = WebhookDeliveries(
        database,
        vault,
        work.webhook_secrets,
        metrics,
        allow_private=settings.callbacks_to_private_addresses,
    )
    runner = Runner(database, steps, at_once=settings.jobs_at_once, on_step=metrics.step)
    runner.start()
    # Threads of their own: a receiver that does not answer must not make this worker look dead.
    chores = [
        Chore("sweep", work.retention.sweep, SWEEP_EVERY_S),
        Chore("orphans", work.retention.delete_orphans, ORPHANS_EVERY_S),
        Chore("known", work.hash_bank.forget_expired, SWEEP_EVERY_S),
        Chore("editions", work.reviews.catch_up, SWEEP_EVERY_S),
        Chore("webhooks", deliveries.send_due, SEND_EVERY_S),
    ]
    try:
        yield
    finally:
        for chore in chores:
            chore.stop()
        steps.stopping.set()
        runner.stop(drain_s=min(DRAIN_S, settings.shutdown_timeout_s))


class Chore:
    """Something done every ``every_s`` seconds in a thread of its own, whatever goes wrong."""

    def __init__(self, name: str, what: Callable[[], object], every_s: float) -> None:
        self._name, self._what, self._every_s = name, what, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it once what is being done is done, or leave it behind if that takes long."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self._what()
            except Exception as error:
                _log.error("chore_failed", chore=self._name, failure=describe(error))


def run_worker(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT."""
    stop = threading.Event()

    def stopped(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stopped)
    metrics = Metrics()
    scorer = open_scorer(settings)
    with (
        contextlib.closing(open_database(settings)) as database,
        contextlib.closing(open_decoder(settings)) as decoder,
        opened_work(settings, database, scorer.bundle.sha256) as (work, vault),
        working(settings, database, vault, work, scorer, decoder, metrics),
    ):
        if settings.worker_metrics_port:
            start_http_server(
                settings.worker_metrics_port, settings.host, registry=metrics.registry
            )
        _log.info("worker_started")
        stop.wait()
    _log.info("worker_stopped")
