"""Results that are copied from an equal examination, so that nothing is scored twice.

The same bytes in two cases are two items. What the model makes of them is the same, and is all that
one gives the other: each has its own key, posts, reviews, flags, evidence and retention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_models.results import VerdictCode
from deepfake_service.casework.core.listings import ListedResult, end_listing, listed_result
from deepfake_service.casework.core.media_deletion import expire
from deepfake_service.casework.evidence_material import material_of
from deepfake_service.casework.hash_bank import HashBank
from deepfake_service.casework.minor_flags import MinorFlags
from deepfake_service.casework.webhook_deliveries import release_callbacks
from deepfake_service.db import Case, Database, Job, Media, current_time
from deepfake_service.db.enums import JobState, RetentionPolicy
from deepfake_service.evidence.artifacts import Material
from deepfake_service.observability.logs import describe, logger
from deepfake_service.observability.metrics import Metrics
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.storage import BlobMissing, Vault, open_json, seal_json

_log = logger("deepfake_service.copies")


@dataclass(frozen=True, slots=True)
class EndedJob:
    """What an examination leaves in the record of its job."""

    result: Mapping[str, Any]
    bundle_sha256: str
    shown: bool
    """Whether its evidence can show faces."""
    listed: ListedResult


def end_job(
    session: Session, job: Job, case_key: bytes, ended: EndedJob, keep_after_verdict: timedelta
) -> None:
    """Record that a job has succeeded, let its medium expire, and release its webhooks."""
    now = current_time(session)
    seal_json(case_key, job, dict(ended.result))
    job.state, job.bundle_sha256 = JobState.SUCCEEDED, ended.bundle_sha256
    job.verdict, job.leaning = ended.result["verdict"], ended.result.get("leaning")
    job.shown = ended.shown
    end_listing(session, case_key, job, ended.listed)
    job.started_at, job.finished_at = job.started_at or now, now
    job.stage, job.done = None, job.total or 0
    let_expire(session.get_one(Media, job.media_id), job, keep_after_verdict)
    release_callbacks(session, job.id)
    append_entry(session, SERVICE, Action.JOB_FINISHED, job.id, JobState.SUCCEEDED)


def let_expire(media: Media, job: Job, keep_after_verdict: timedelta) -> None:
    """Set when a medium expires whose job ends now."""
    now = job.finished_at
    assert now is not None
    media.expires_at = now if job.retention == RetentionPolicy.ZERO else now + keep_after_verdict


class ResultCopies:
    """Ends new jobs with the result of an equal job of the same account."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        hash_bank: HashBank,
        minor_flags: MinorFlags,
        metrics: Metrics,
        *,
        keep_after_verdict: timedelta,
    ) -> None:
        self._database = database
        self._vault = vault
        self._hash_bank = hash_bank
        self._minor_flags = minor_flags
        self._metrics = metrics
        self._keep_after_verdict = keep_after_verdict

    def end_early(self, job_id: str) -> None:
        """End a queued job at once if there is a result to copy.

        Otherwise, and if anything fails, the job stays queued and is examined.
        """
        try:
            if self._copy(job_id):
                _log.info("result_copied", job_id=job_id)
        except Exception as error:
            _log.error("copy_failed", job_id=job_id, failure=describe(error))

    def _copy(self, job_id: str) -> bool:
        with self._database.read() as session:
            job = session.get_one(Job, job_id)
            case = session.get_one(Case, job.case_id)
            twin = self._twin(session, job) if job.state == JobState.QUEUED else None
            twin_case = session.get_one(Case, twin.case_id) if twin else None
        if twin is None or twin_case is None:
            return False
        twin_key, case_key = self._vault.case_key(twin_case), self._vault.case_key(case)
        try:
            packed = self._vault.read(material_of(twin), twin_key)
        except BlobMissing:
            return False
        material = Material.unpack(packed)
        # As at the end of an examination: the material first, then flags, then the result. A worker
        # may have been faster: what it gathered from the media must not be replaced.
        self._vault.create(material_of(job), case_key, packed)
        result = open_json(twin_key, twin)
        listed = listed_result(result, material)
        ended = EndedJob(result, twin.bundle_sha256, twin.shown, listed)
        hashes = material.examination["hashes"]
        self._minor_flags.follow(job, hashes)
        self._hash_bank.link_similar(job, hashes)
        with self._database.write() as session:
            current = session.get(Job, job_id, with_for_update=True)
            if current is None or current.state != JobState.QUEUED:
                return False  # a worker was faster, or the job was deleted
            append_entry(session, SERVICE, Action.RESULT_COPIED, job_id)
            end_job(session, current, case_key, ended, self._keep_after_verdict)
        self._metrics.job_ended(JobState.SUCCEEDED)
        # Flags that were set meanwhile were not compared with this job, which had not begun.
        self._minor_flags.follow(job, hashes)
        if job.retention == RetentionPolicy.ZERO:
            # At once; should this be interrupted, the next sweep does it.
            expire(self._database, self._vault, job.media_id)
        return True

    @staticmethod
    def _twin(session: Session, job: Job) -> Job | None:
        """Return the newest job with the same request for the same bytes, and a result.

        A file that could not be examined is worth another attempt.
        """
        media = session.get_one(Media, job.media_id)
        return session.scalars(
            select(Job)
            .join(Media, Job.media_id == Media.id)
            .join(Case, Job.case_id == Case.id)
            .where(
                Case.wrapped_key.is_not(None),
                Job.id != job.id,
                Job.account_id == job.account_id,
                Media.sha256 == media.sha256,
                Job.kind == job.kind,
                Job.frames.is_(None) if job.frames is None else Job.frames == job.frames,
                Job.bundle_sha256 == job.bundle_sha256,
                Job.state == JobState.SUCCEEDED,
                Job.verdict != VerdictCode.UNABLE_TO_EVALUATE,
                Job.evidence_expired_at.is_(None),
                Job.result.is_not(None),
            )
            .order_by(Job.created_at.desc())
            .limit(1)
        ).first()
