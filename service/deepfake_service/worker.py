"""The worker: takes up jobs until it is stopped, in the service's process or in one of its own."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from types import FrameType

from prometheus_client import start_http_server

from deepfake_models.decode.decoder import Decoder, ProcessDecoder
from deepfake_models.decode.limits import DecodeLimits
from deepfake_models.scorer import Scorer
from deepfake_service.casework.core.blind_index import Digests
from deepfake_service.casework.core.cases import Cases
from deepfake_service.casework.core.queries import Reading
from deepfake_service.casework.evidence_store import Evidence
from deepfake_service.casework.examination import Examination
from deepfake_service.casework.exports import EXPORT_FOLDER, Exports
from deepfake_service.casework.hash_bank import Known
from deepfake_service.casework.notice_desk import Notices
from deepfake_service.casework.retention import Lifecycle
from deepfake_service.casework.reviews import Reviews
from deepfake_service.casework.submissions import Intake
from deepfake_service.casework.webhook_deliveries import Deliveries, WebhookSecrets
from deepfake_service.casework.work import Work
from deepfake_service.evidence.keys import open_signing_keys
from deepfake_service.jobs import JobQueue, Runner
from deepfake_service.logs import describe, logger
from deepfake_service.metrics import Metrics
from deepfake_service.records import Database, open_database
from deepfake_service.settings import Settings
from deepfake_service.storage import BLOB_FOLDER, Vault, open_blobs, open_keys

SWEEP_EVERY_S = 60.0
ORPHANS_EVERY_S = 3600.0
SEND_EVERY_S = 1.0
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


def program_version() -> str:
    """This program's version."""
    try:
        return version("deepfake-service")
    except PackageNotFoundError:
        return "0+unknown"


@contextlib.contextmanager
def opened_work(
    settings: Settings, database: Database, bundle_sha256: str
) -> Iterator[tuple[Work, Vault]]:
    """Open the vault and the queue, and what jobs are made, read and ended with."""
    keys = open_keys(settings)
    vault = Vault(open_blobs(settings.blob_url, settings.data_dir / BLOB_FOLDER), keys)
    with contextlib.closing(JobQueue(database)) as queue:
        digests = Digests(database, keys)
        cases = Cases(database, vault, digests)
        evidence = Evidence(
            database,
            vault,
            open_signing_keys(settings, database, keys),
            issuer=settings.issuer,
            software=f"deepfake-service {program_version()}",
            timestamp_url=settings.timestamp_url,
        )
        notices = Notices(
            database, vault, issuer=settings.issuer, two_people=settings.two_person_review
        )
        known = Known(
            database,
            vault,
            keys,
            enabled=settings.matching,
            kept_for=timedelta(days=settings.known_hash_days),
        )
        yield (
            Work(
                Intake(database, vault, queue, digests, cases, bundle_sha256),
                cases,
                Reading(database, vault),
                Lifecycle(
                    database,
                    vault,
                    queue,
                    after_review=timedelta(hours=settings.media_hours_after_review),
                    longest_wait=timedelta(days=settings.media_days_unexamined),
                    evidence_kept=timedelta(days=settings.evidence_days),
                ),
                WebhookSecrets(database, keys),
                Exports(vault, settings.data_dir / EXPORT_FOLDER),
                evidence,
                notices,
                known,
                Reviews(
                    database, vault, evidence, notices, known, two_people=settings.two_person_review
                ),
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
        work.evidence,
        work.known,
        max_attempts=settings.max_attempts,
        keep_after_verdict=timedelta(days=settings.media_days_after_verdict),
        anchors=settings.content_credential_anchors,
    )
    deliveries = Deliveries(
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
        Chore("sweep", work.lifecycle.sweep, SWEEP_EVERY_S),
        Chore("orphans", work.lifecycle.delete_orphans, ORPHANS_EVERY_S),
        Chore("known", work.known.forget_expired, SWEEP_EVERY_S),
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
