"""The composition root: open the vault and the services of the rooms."""

from __future__ import annotations

import contextlib
import functools
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version

from deepfake_models.sandbox.decoder import Decoder
from deepfake_service.accounts.organisation import Sender
from deepfake_service.accounts.second_factors import SecondFactors
from deepfake_service.audit.checkpoints import Checkpoints, open_checkpoints
from deepfake_service.audit.journal import Journal, open_journal
from deepfake_service.capture.captures import Captures
from deepfake_service.capture.links import Links
from deepfake_service.capture.wacz import CaptureExports
from deepfake_service.cases.cases import BlindIndex, Cases
from deepfake_service.evidence.editions import RevocationList
from deepfake_service.evidence.signing_keys import SigningKeys, open_signing_keys
from deepfake_service.evidence.store import EvidenceStore
from deepfake_service.examination.backlog import queue_state
from deepfake_service.examination.queue import JobQueue
from deepfake_service.examination.submissions import Submissions
from deepfake_service.examination.uploads import Uploads
from deepfake_service.examination.webhook_deliveries import WebhookSecrets, count_due
from deepfake_service.notices.desk import NoticeDesk
from deepfake_service.notices.documents import NoticeDocuments
from deepfake_service.notices.states import NoticeClock
from deepfake_service.platform import timestamps
from deepfake_service.platform.db import Database
from deepfake_service.platform.errors import RecordAltered, SettingsError
from deepfake_service.platform.logs import logger
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import (
    EpochKeys,
    Vault,
    open_case_keys,
    open_keys,
    open_vault,
)
from deepfake_service.removal.looks import Looks
from deepfake_service.removal.posts import Posts
from deepfake_service.removal.statistics import RemovalStatistics
from deepfake_service.retention.deletion import Retention
from deepfake_service.retention.due import RetentionPeriods
from deepfake_service.retention.key_epochs import KeyEpochs
from deepfake_service.retention.orphans import Orphans
from deepfake_service.retention.restoration import merge_journal
from deepfake_service.retention.sweeps import Sweeps
from deepfake_service.review.exports import EXPORT_FOLDER, Exports
from deepfake_service.review.hash_bank import HashBank
from deepfake_service.review.item_page import ItemPages
from deepfake_service.review.minor_flags import MinorFlags
from deepfake_service.review.queries import Queries
from deepfake_service.review.reviews import ReviewEffects, ReviewRules, Reviews
from deepfake_service.review.triage import Triage

CERTIFICATE_WARNING = timedelta(days=30)
"""How long before the certificate of reports expires a start warns of it."""
EPOCH_KEY_AGE = timedelta(days=1)
"""Age of an epoch key before it is destroyed because a case was deleted. The remaining cases are
then wrapped again, a second or two for 10,000 of them."""
MEDIA_UNEXAMINED = timedelta(days=7)
"""How long media are kept that no worker examines; they would otherwise stay for ever."""
FLAGGED_HASHES_KEPT = timedelta(days=1825)
"""How long hashes of a case that was flagged for a possible minor outlive it, so that copies are
flagged as well: five years, as long as such material is known to come back."""

_log = logger("deepfake_service.container")


@dataclass(frozen=True, slots=True)
class Services:
    """The services of the rooms: what happens to cases, jobs, evidence and notices."""

    captures: Captures
    capture_exports: CaptureExports
    links: Links
    submissions: Submissions
    uploads: Uploads
    cases: Cases
    queries: Queries
    item_pages: ItemPages
    retention: Retention
    sweeps: Sweeps
    orphans: Orphans
    key_epochs: KeyEpochs
    webhook_secrets: WebhookSecrets
    exports: Exports
    evidence_store: EvidenceStore
    revocation_list: RevocationList
    checkpoints: Checkpoints
    notice_desk: NoticeDesk
    notice_clock: NoticeClock
    looks: Looks
    posts: Posts
    removal_statistics: RemovalStatistics
    sender: Sender
    hash_bank: HashBank
    minor_flags: MinorFlags
    reviews: Reviews
    second_factors: SecondFactors
    triage: Triage


@dataclass(frozen=True, slots=True)
class Container:
    """An open installation: its settings, its stores, and the services that work on them."""

    settings: Settings
    database: Database
    vault: Vault
    journal: Journal
    queue: JobQueue
    services: Services


@functools.cache
def program_version() -> str:
    """Return the installed version of this program."""
    try:
        return version("deepfake-service")
    except PackageNotFoundError:
        return "0+unknown"


@contextlib.contextmanager
def open_container(
    settings: Settings,
    database: Database,
    bundle_sha256: str,
    decoder: Decoder,
    metrics: Metrics,
) -> Iterator[Container]:
    """Open the vault, the queue and the services of the rooms.

    Args:
        settings: where everything is, and how long it is retained.
        database: stays open when the context ends.
        bundle_sha256: the identity of the model bundle that new jobs are examined with.
        decoder: decodes the screenshots that notices enclose.
        metrics: count the jobs that end.

    Raises:
        StorageError: the blob store cannot be opened. DataDirError: the epoch keys are not those
            of the database. SettingsError: the certificate of reports cannot be used.
    """
    keys = open_keys(settings)
    case_keys = open_case_keys(settings, keys, database.clock)
    vault = open_vault(settings, case_keys)
    key_epochs = KeyEpochs(
        database,
        vault,
        case_keys if isinstance(case_keys, EpochKeys) else None,
        min_age=EPOCH_KEY_AGE,
    )
    key_epochs.check()
    journal = open_journal(settings, database)
    signing_keys = open_signing_keys(settings, database, keys)
    merge_journal(database, journal, signing_keys)
    with contextlib.closing(JobQueue(database)) as queue:
        blind_index = BlindIndex(database, keys)
        retention = Retention(database, vault, queue, metrics)
        cases = Cases(database, vault, blind_index)
        _warn_of_certificate(signing_keys, database.clock())
        revocation_list = RevocationList(database, signing_keys, issuer=settings.issuer)
        sender = Sender(database, keys, settings.issuer)
        evidence_store = EvidenceStore(
            database,
            vault,
            signing_keys,
            sender=sender,
            software=f"deepfake-service {program_version()}",
            timestamp_url=settings.timestamp_url,
        )
        documents = NoticeDocuments(
            database,
            vault,
            signing_keys,
            decoder,
            sender=sender,
            post=timestamps.poster(settings.timestamp_url),
        )
        looks = Looks(database, vault, blind_index, signing_keys, vantage=settings.looks_from)
        notice_desk = NoticeDesk(database, vault, documents, looks)
        known_for = timedelta(days=settings.known_hash_days)
        hash_bank = HashBank(database, vault, keys, enabled=settings.matching, kept_for=known_for)
        minor_flags = MinorFlags(database, vault, keys, blind_index, kept_for=FLAGGED_HASHES_KEPT)
        queries = Queries(database, vault)
        reviews = Reviews(
            database,
            vault,
            ReviewEffects(evidence_store, notice_desk, hash_bank, minor_flags),
            rules=ReviewRules(settings.two_person_review, settings.submitter_confirms),
        )
        submissions = Submissions(database, vault, queue, blind_index, cases, bundle_sha256)
        kept_for = timedelta(days=settings.media_days_after_verdict)
        captures = Captures(database, vault, blind_index, cases, submissions, kept_for)
        exports = Exports(database, vault, queries, settings.data_dir / EXPORT_FOLDER)
        services = Services(
            captures=captures,
            capture_exports=CaptureExports(
                database, vault, captures, exports, require_sandbox=settings.sandbox == "require"
            ),
            links=Links(database, cases, enabled=settings.capture_links),
            submissions=submissions,
            uploads=Uploads(database, vault),
            cases=cases,
            queries=queries,
            item_pages=ItemPages(
                database=database,
                vault=vault,
                queries=queries,
                evidence=evidence_store,
                reviews=reviews,
                notices=notice_desk,
            ),
            retention=retention,
            sweeps=Sweeps(
                database,
                retention,
                queue,
                vault,
                _periods(settings),
                metrics,
            ),
            orphans=Orphans(database, vault),
            key_epochs=key_epochs,
            webhook_secrets=WebhookSecrets(database, keys),
            exports=exports,
            evidence_store=evidence_store,
            revocation_list=revocation_list,
            checkpoints=open_checkpoints(settings, database, keys),
            notice_desk=notice_desk,
            notice_clock=NoticeClock(database, vault),
            looks=looks,
            posts=Posts(database, vault),
            removal_statistics=RemovalStatistics(database, vault),
            sender=sender,
            hash_bank=hash_bank,
            minor_flags=minor_flags,
            reviews=reviews,
            second_factors=SecondFactors(database, keys, settings.issuer),
            triage=Triage(database, vault, queries),
        )
        yield Container(settings, database, vault, journal, queue, services)


def _warn_of_certificate(signing_keys: SigningKeys, now: datetime) -> None:
    try:
        end = signing_keys.certificate_end()
    except RecordAltered:  # which is logged, and counted in the metrics
        return
    if end is not None and end - now < CERTIFICATE_WARNING:
        _log.warning("report_certificate_expires", at=end.isoformat())


def _periods(settings: Settings) -> RetentionPeriods:
    return RetentionPeriods(
        media_after_review=timedelta(hours=settings.media_hours_after_review),
        media_after_verdict=timedelta(days=settings.media_days_after_verdict),
        media_unexamined=MEDIA_UNEXAMINED,
        evidence=timedelta(days=settings.evidence_days),
        case=timedelta(days=settings.case_days),
    )


def _certificate_end_s(signing_keys: SigningKeys) -> float:
    """Return the Unix time at which the certificate of reports expires: 0 if it cannot be read."""
    try:
        end = signing_keys.certificate_end()
    except SettingsError:
        return 0.0
    return end.timestamp() if end is not None else math.nan


def watch(container: Container, metrics: Metrics) -> None:
    """Read the gauges of an installation from it at every scrape. Each process exports them: it
    finds damage and altered records by itself."""
    services, database = container.services, container.database
    metrics.watch_queue(lambda: queue_state(database, container.settings.jobs_at_once))
    metrics.watch(
        {
            "deepfake_oldest_job_seconds": services.queries.oldest_s,
            "deepfake_notices_overdue": services.notice_desk.count_overdue,
            "deepfake_webhooks_due": lambda: count_due(database),
            "deepfake_disk_free_bytes": lambda: shutil.disk_usage(container.settings.data_dir).free,
            "deepfake_deletions_marked": services.sweeps.count_marked,
            "deepfake_database_intact": lambda: database.damage is None,
            "deepfake_records_altered": database.count_altered,
            "deepfake_report_certificate_end_seconds": lambda: _certificate_end_s(
                services.evidence_store.keys
            ),
        }
    )
