"""The composition root: open the vault and the services of the rooms."""

from __future__ import annotations

import math
from datetime import timedelta
from functools import partial

from deepfake_models.sandbox.decoder import Decoder
from deepfake_service.accounts.organisation import Sender
from deepfake_service.accounts.second_factors import SecondFactors
from deepfake_service.audit.checkpoints import Checkpoints
from deepfake_service.audit.journal import open_journal
from deepfake_service.capture.captures import Captures
from deepfake_service.capture.links import Links
from deepfake_service.cases.cases import BlindIndex, Cases
from deepfake_service.evidence.revocations import RevocationList
from deepfake_service.evidence.signing_keys import SigningKeys, open_signing_keys
from deepfake_service.evidence.store import EvidenceStore
from deepfake_service.examination.backlog import QueueCollector
from deepfake_service.examination.queue import JobQueue
from deepfake_service.examination.submissions import Submissions
from deepfake_service.examination.uploads import Uploads
from deepfake_service.examination.webhook_deliveries import WebhookSecrets, count_due
from deepfake_service.hashes.hash_bank import HashBank
from deepfake_service.hashes.minor_flags import MinorFlags
from deepfake_service.notices.desk import NoticeDesk
from deepfake_service.notices.documents import NoticeDocuments
from deepfake_service.platform.db import Database
from deepfake_service.platform.disk_space import DiskSpace
from deepfake_service.platform.errors import SettingsError
from deepfake_service.platform.logs import logger
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import (
    EpochKeys,
    open_case_keys,
    open_keys,
    open_vault,
)
from deepfake_service.removal.looks import Looks
from deepfake_service.removal.posts import Posts
from deepfake_service.removal.statistics import RemovalStatistics
from deepfake_service.removal.watches import follow_notice
from deepfake_service.retention.deletion import Retention
from deepfake_service.retention.due import RetentionPeriods
from deepfake_service.retention.key_epochs import KeyEpochs
from deepfake_service.retention.restoration import merge_journal
from deepfake_service.retention.sweeps import Sweeps
from deepfake_service.review.exports import EXPORT_FOLDER, Exports
from deepfake_service.review.item_page import ItemPages
from deepfake_service.review.media_viewer import MediaViewer
from deepfake_service.review.queries import Queries
from deepfake_service.review.reviews import ReviewEffects, Reviews
from deepfake_service.review.triage import Triage

CERTIFICATE_WARNING = timedelta(days=30)
"""How long before the certificate of reports expires a start warns of it."""

_log = logger("deepfake_service.container")


class Services:
    """An open installation: its settings, its stores, and the services of the rooms, which say what
    happens to cases, jobs, evidence and notices. Close it."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        bundle_sha256: str,
        decoder: Decoder,
        metrics: Metrics,
    ) -> None:
        """Open the vault, the queue and the services of the rooms.

        Args:
            settings: where everything is, and how long it is retained.
            database: stays open.
            bundle_sha256: the identity of the model bundle that new jobs are examined with.
            decoder: decodes the screenshots that notices enclose, and media that people look at
                or mark.
            metrics: count the jobs that end.

        Raises:
            StorageError: the blob store cannot be opened. DataDirError: the epoch keys are not
                those of the database. SettingsError: the certificate of reports cannot be used.
        """
        keys = open_keys(settings)
        case_keys = open_case_keys(settings, keys, database.clock)
        self.signing_keys = signing_keys = open_signing_keys(settings, database, keys)
        blind_index = BlindIndex(database, keys)
        media_kept = timedelta(days=settings.media_days_after_verdict)
        after_review = timedelta(hours=settings.media_hours_after_review)

        self.settings, self.database = settings, database
        self.disk = DiskSpace(settings)
        self.vault = vault = open_vault(settings, case_keys)
        self.key_epochs: KeyEpochs | None = None
        if isinstance(case_keys, EpochKeys):  # else the master key wraps the keys of cases
            self.key_epochs = KeyEpochs(database, case_keys)
            self.key_epochs.check()
        self.journal = open_journal(settings, database)
        merge_journal(database, self.journal, signing_keys)
        end = signing_keys.certificate_end()
        if end is not None and end - database.clock() < CERTIFICATE_WARNING:
            _log.warning("report_certificate_expires", at=end.isoformat())
        self.checkpoints = Checkpoints(settings, database, keys)
        self.queue = queue = JobQueue(database)

        self.second_factors = SecondFactors(database, keys, settings.issuer)
        self.sender = Sender(database, keys, settings.issuer)
        self.cases = Cases(database, vault, blind_index)
        self.retention = Retention(database, vault, queue, metrics)
        periods = RetentionPeriods(settings)
        self.sweeps = Sweeps(database, self.retention, queue, vault, periods, metrics)
        self.uploads = Uploads(database, vault)
        self.webhook_secrets = WebhookSecrets(database, keys)
        self.revocation_list = RevocationList(database, signing_keys, issuer=settings.issuer)
        self.evidence_store = EvidenceStore(database, vault, signing_keys, self.sender, decoder)
        self.looks = Looks(database, vault, signing_keys, vantage=settings.looks_from)
        self.posts = Posts(database, vault, looks=settings.looks_from is not None)
        self.removal_statistics = RemovalStatistics(database, vault)
        documents = NoticeDocuments(database, vault, signing_keys, decoder, self.sender)
        follow = partial(follow_notice, blind_index)
        self.notice_desk = NoticeDesk(database, vault, documents, follow)
        self.hash_bank = HashBank(database, vault, keys)
        self.minor_flags = MinorFlags(database, vault, keys, blind_index)
        self.reviews = Reviews(
            database,
            vault,
            ReviewEffects(self.evidence_store, self.hash_bank, self.minor_flags),
            two_people=settings.two_person_review,
            submitter_confirms=settings.submitter_confirms,
            longest_hold=periods.evidence,
        )
        self.queries = queries = Queries(database, vault, after_review)
        self.triage = Triage(database, vault, queries)
        self.exports = Exports(
            database, vault, self.disk, queries, settings.data_dir / EXPORT_FOLDER
        )
        self.item_pages = ItemPages(database, vault, queries, self.evidence_store, self.reviews)
        self.media_viewer = MediaViewer(database, vault, queries, decoder)
        self.submissions = Submissions(
            database, vault, queue, self.minor_flags, self.cases, bundle_sha256
        )
        self.links = Links(database, self.cases, enabled=settings.capture_links)
        self.captures = Captures(
            database, vault, self.disk, self.minor_flags, self.cases, self.submissions, media_kept
        )

    def close(self) -> None:
        """Close the queue. The database stays open."""
        self.queue.close()

    def watch(self, metrics: Metrics) -> None:
        """Read the gauges of the installation from it at every scrape. Each process exports them:
        it finds damage and altered records by itself."""
        database, settings = self.database, self.settings
        metrics.registry.register(QueueCollector(database, settings.jobs_at_once))
        metrics.watch(
            {
                "deepfake_oldest_job_seconds": self.queries.oldest_s,
                "deepfake_notices_overdue": self.notice_desk.count_overdue,
                "deepfake_webhooks_due": lambda: count_due(database),
                "deepfake_disk_free_bytes": self.disk.free_bytes,
                "deepfake_deletions_marked": self.sweeps.count_marked,
                "deepfake_database_intact": lambda: database.damage is None,
                "deepfake_records_altered": database.count_altered,
                "deepfake_report_certificate_end_seconds": lambda: _certificate_end_s(
                    self.evidence_store.keys
                ),
            }
        )


def _certificate_end_s(signing_keys: SigningKeys) -> float:
    """Return the Unix time at which the certificate of reports expires: 0 if it cannot be read."""
    try:
        end = signing_keys.certificate_end()
    except SettingsError:
        return 0.0
    return end.timestamp() if end is not None else math.nan
