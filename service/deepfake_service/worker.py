"""The worker: examines jobs until it is stopped, in the service's process or in its own."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial

from prometheus_client import start_http_server

from deepfake_models.sandbox.decoder import Decoder
from deepfake_models.scorer import Scorer
from deepfake_service.audit.records import open_database
from deepfake_service.capture.browser import PageBrowser
from deepfake_service.capture.fetcher import find_program
from deepfake_service.capture.fetches import Fetches
from deepfake_service.capture.imports import Imports
from deepfake_service.capture.readers import CaptureReaders
from deepfake_service.capture.registries import Registries
from deepfake_service.container import Services
from deepfake_service.examination.engine import engine_running
from deepfake_service.examination.runner import Runner
from deepfake_service.examination.steps import Examination
from deepfake_service.examination.webhook_deliveries import WebhookDeliveries
from deepfake_service.platform.chores import Chore, Waiting, wake_due
from deepfake_service.platform.db import Database, Fact
from deepfake_service.platform.errors import SettingsError
from deepfake_service.platform.logs import logger
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.pages import Pages
from deepfake_service.platform.settings import PREFIX, Settings
from deepfake_service.post_pages.reading import PageReaders
from deepfake_service.removal.lane import LookLane
from deepfake_service.removal.page_looks import PostLooker
from deepfake_service.retention.due import is_clock_confirmed
from deepfake_service.retention.orphans import delete_orphans
from deepfake_service.retention.restoration import merge_journal

SWEEP_EVERY_S = 60.0
ORPHANS_EVERY_S = 3600.0
CHECKPOINT_EVERY_S = 3600.0
INTEGRITY_EVERY_S = 24 * 3600.0
JOURNAL_EVERY_S = 5.0
REST = 20
"""With 200,000 deletions, writing the journal takes two seconds, and comparing it one."""
DUE_EVERY_S = 1.0
"""How often a worker asks what waits for it."""
POLL_S = 60.0
"""How often a worker asks whether a shared chore is due, at least. One that waited for the chore's
whole period would never do it if it is restarted more often than that."""
EARLY_SHARE, EARLY_S = 0.1, 6.0
"""How long before the end of its period a chore may be done again, of which the shorter one counts:
workers' minutes differ."""
DRAIN_S = 20.0
"""How long a stopping worker waits for running steps. Another worker resumes what is left."""

_log = logger("deepfake_service.worker")


@contextlib.contextmanager
def worker_running(
    services: Services, scorer: Scorer, decoder: Decoder, metrics: Metrics
) -> Iterator[None]:
    """Examine jobs while the context lasts; when it ends, finish those that are nearly done."""
    settings, database, vault = services.settings, services.database, services.vault
    runner = Runner(
        database,
        services.queue,
        _examination(services, scorer, decoder, metrics),
        settings,
        lambda name, seconds: metrics.step_seconds.labels(name).observe(seconds),
    )
    lanes: dict[str, WebhookDeliveries | Imports | Fetches | LookLane] = {
        "webhooks": WebhookDeliveries(
            database,
            vault,
            services.webhook_secrets,
            metrics,
            runner.executor_id,
            allowed=CallbackHosts.of(settings.callback_hosts),
        ),
        "captures": Imports(
            database,
            vault,
            services.disk,
            CaptureReaders(require=settings.sandbox == "require"),
            services.evidence_store,
            services.submissions,
            executor_id=runner.executor_id,
            kept_for=timedelta(days=settings.media_days_after_verdict),
        ),
    }
    if settings.capture_links:
        lanes["links"] = _fetches(services, decoder, runner.executor_id)
    if settings.looks_from is not None:  # else nothing leaves this machine
        looker = PostLooker(Pages(), PageReaders(require=settings.sandbox == "require"))
        lanes["looks"] = LookLane(database, runner.executor_id, vault, services.looks, looker)

    # Each chore has a thread of its own: a webhook receiver that does not answer must not delay
    # the other chores or make this worker look dead.
    chores = _repeated(services)
    waiting = [Waiting(runner.is_due, runner.wake)]

    runner.start()
    for name, lane in lanes.items():
        chores.append(Chore(name, lane.run_due))
        waiting.append(Waiting(lane.is_due, chores[-1].wake))
    chores.append(Chore("due", lambda: wake_due(database, waiting), DUE_EVERY_S))
    try:
        yield
    finally:
        for lane in lanes.values():
            lane.stop()  # with much that is due, its chore would not end
        for chore in chores:
            chore.stop()
        for lane in lanes.values():
            lane.close()
        runner.stop(drain_s=DRAIN_S)


def _examination(
    services: Services, scorer: Scorer, decoder: Decoder, metrics: Metrics
) -> Examination:
    anchors = services.settings.content_credential_anchors
    return Examination(
        services.database,
        services.vault,
        scorer,
        decoder,
        services.evidence_store,
        services.hash_bank,
        services.minor_flags,
        metrics,
        timedelta(days=services.settings.media_days_after_verdict),
        anchors.read_text(errors="replace") if anchors else None,  # PEM, with any comments
    )


def _repeated(services: Services) -> list[Chore]:
    """Start the chores that are done again and again: by one worker of all, or by each."""
    database = services.database

    def when_confirmed(task: Callable[[], object]) -> Callable[[], object]:
        return lambda: is_clock_confirmed(database) and task()

    orphans = partial(delete_orphans, database, services.vault)
    keep = partial(merge_journal, database, services.journal, services.signing_keys)
    shared: dict[str, tuple[Callable[[], object], float]] = {
        "sweep": (services.sweeps.sweep, SWEEP_EVERY_S),
        "uploads": (when_confirmed(services.uploads.forget_expired), SWEEP_EVERY_S),
        "orphans": (when_confirmed(orphans), ORPHANS_EVERY_S),
        "known": (when_confirmed(services.hash_bank.forget_expired), SWEEP_EVERY_S),
        "copies": (at_leisure(services.hash_bank.catch_up), SWEEP_EVERY_S),
        "flags": (services.minor_flags.compare_earlier_jobs, SWEEP_EVERY_S),
        "flagged": (when_confirmed(services.minor_flags.forget_expired), ORPHANS_EVERY_S),
        "editions": (services.reviews.catch_up, SWEEP_EVERY_S),
        "checkpoints": (services.checkpoints.send, CHECKPOINT_EVERY_S),
    }
    chores = [
        *(shared_chore(database, name, *chore) for name, chore in shared.items()),
        Chore("journal", at_leisure(keep), JOURNAL_EVERY_S),
        Chore("integrity", database.check_integrity, INTEGRITY_EVERY_S),
    ]
    if services.key_epochs is not None:
        chores.append(Chore("epochs", services.key_epochs.advance, SWEEP_EVERY_S))
    return chores


def _fetches(services: Services, decoder: Decoder, executor_id: str) -> Fetches:
    settings = services.settings
    if find_program() is None or importlib.util.find_spec("whoisit") is None:
        raise SettingsError(
            f"{PREFIX}CAPTURE_LINKS needs yt-dlp and whoisit. Install the extra capture-link of "
            "this package, as docs/captures.md says."
        )
    program = settings.capture_browser
    browser = PageBrowser(program, decoder) if program else None
    return Fetches(
        services.database,
        services.vault,
        services.disk,
        executor_id,
        timedelta(days=settings.media_days_after_verdict),
        settings.looks_from,
        Registries(Pages()),
        browser,
    )


def at_leisure(task: Callable[[], object]) -> Callable[[], None]:
    """Return a task that rests for ``REST`` times as long as it took, whenever it is asked again:
    it never takes more than a twentieth of a core."""
    rests_until = -math.inf

    def when_rested() -> None:
        nonlocal rests_until
        started = time.monotonic()
        if started >= rests_until:
            try:
                task()
            finally:
                rests_until = started + (1 + REST) * (time.monotonic() - started)

    return when_rested


def shared_chore(
    database: Database, name: str, task: Callable[[], object], every_s: float
) -> Chore:
    """Start a chore that one of all workers does every ``every_s`` seconds.

    A sweep deletes at most a share of what there is. If each of twenty workers swept every minute,
    that limit would be twenty times as high.
    """

    def when_due() -> None:
        if claim_chore(database, name, every_s):
            task()

    return Chore(name, when_due, min(every_s, POLL_S))


def claim_chore(database: Database, name: str, every_s: float) -> bool:
    """Return whether a chore is due, and remember that it was begun. If this process dies
    meanwhile, another one does the chore at its next time."""
    fact = f"chore-{name}"
    period = timedelta(seconds=every_s - min(EARLY_SHARE * every_s, EARLY_S))
    with database.write() as session:
        database.one_at_a_time(session, fact)
        now, before = database.clock(), session.get(Fact, fact)
        # A time from the future is of a clock that was set back.
        if before is not None and abs(now - datetime.fromisoformat(before.value)) < period:
            return False
        session.merge(Fact(name=fact, value=now.isoformat()))
    return True


def _serve_metrics(settings: Settings, metrics: Metrics) -> None:
    host, port = settings.operations_host, settings.operations_port
    try:
        start_http_server(port, host, registry=metrics.registry)
    except OSError as error:
        raise SettingsError(
            f"Cannot serve metrics on {host} port {port}: {error.strerror}. Set "
            f"{PREFIX}OPERATIONS_PORT or {PREFIX}OPERATIONS_HOST to another one."
        ) from error


def run_worker(settings: Settings) -> None:
    """Examine jobs until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    metrics = Metrics()
    with contextlib.closing(open_database(settings)) as database:
        database.check_integrity()
        with (
            engine_running(settings) as (scorer, decoder),
            contextlib.closing(
                Services(settings, database, scorer.bundle.sha256, decoder, metrics)
            ) as services,
            worker_running(services, scorer, decoder, metrics),
        ):
            services.watch(metrics)
            if settings.operations_port:
                _serve_metrics(settings, metrics)
            _log.info("worker_started")
            stop.wait()
    _log.info("worker_stopped")
