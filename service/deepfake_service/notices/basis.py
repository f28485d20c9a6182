"""What a notice rests on: a finding of reviewers, or a statement that nobody consented."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_models.bundle.results import VerdictCode
from deepfake_service.evidence.bundle.custody import found_by
from deepfake_service.evidence.bundle.documents import StatedDecision
from deepfake_service.evidence.chain_of_custody import require_recorded, reviews_of
from deepfake_service.evidence.editions import is_outdated, newest_edition
from deepfake_service.evidence.revocations import is_withdrawn
from deepfake_service.evidence.store import examination_of
from deepfake_service.notices.compose import Basis
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import Case, Edition, Job, Media
from deepfake_service.platform.db.row_authentication import refuse
from deepfake_service.platform.enums import JobState
from deepfake_service.platform.errors import Code, Conflict
from deepfake_service.platform.findings import AGAINST, MANIPULATED, Finding
from deepfake_service.platform.storage import BlobMissing, Vault, open_json

ReportChoice = Literal["supporting", "all", "none"]


def basis_of(
    session: Session, vault: Vault, case: Case, media_id: str, reports: ReportChoice
) -> Basis:
    """Return the finding about a medium with the reviewers' reasons, and its newest examination;
    ``Conflict`` or ``RecordAltered`` as ``confirmed_job``."""
    key = vault.case_key(case)
    job = confirmed_job(session, case, media_id)
    # The result is sealed: in the column, anybody could have written another verdict.
    if job.result is None or open_json(key, job)["verdict"] != job.verdict:
        raise refuse(session, "jobs", job.id, "verdict")
    found = supporting_reviews(session, job, key)
    edition = newest_edition(session, job.id)
    is_wanted = reports == "all" or (
        reports == "supporting" and job.verdict == VerdictCode.LIKELY_MANIPULATED
    )
    return Basis(
        sha256=session.get_one(Media, media_id).sha256,
        finding=str(job.finding),
        reviewers=len(found),
        reasons=list(dict.fromkeys(r.reason for r in found if r.reason)),
        signs=tuple(dict.fromkeys(sign for r in found for sign in r.signs)),
        verdict=str(job.verdict),
        is_part=job.around_s is not None,
        job=job.id,
        edition=edition.number if edition else 1,
        examined_at=_examined_at(vault, job, key),
        without_pictures=sum(r.pictures_withheld for r in found),
        report=is_wanted and _has_report(session, job, edition, minor=case.minor_at is not None),
    )


def supporting_reviews(session: Session, job: Job, key: bytes) -> list[StatedDecision]:
    """Return the latest review of each person who states the finding about a job."""
    return found_by(job.finding, reviews_of(session, job, key))


def confirmed_job(session: Session, case: Case, media_id: str) -> Job:
    """Return the examination of a medium in which reviewers found it manipulated.

    Reviews count for all examinations of the same bytes: what was rejected in one examination must
    not be reported on the basis of another.

    Raises:
        Conflict: nobody has found that yet, or a second person has to (``REVIEW_MISSING``);
            reviewers are against it, or there is no verdict (``NOTICE_REFUSED``).
        RecordAltered: a finding differs from the audit log.
    """
    digest = session.get_one(Media, media_id).sha256
    jobs = session.scalars(
        select(Job)
        .join(Media, Job.media_id == Media.id)
        .where(Job.case_id == case.id, Media.sha256 == digest, Job.state == JobState.SUCCEEDED)
        .order_by(Job.created_at.desc())
    ).all()
    for job in jobs:
        require_recorded(session, job)
    if not jobs:
        raise Conflict(
            "The file has no verdict. Wait until it is examined, or submit it again if its "
            "examination has failed.",
            code=Code.NOTICE_REFUSED,
        )
    against = {job.finding for job in jobs if job.finding in AGAINST}
    if against == {Finding.AWAITING_SECOND}:
        raise Conflict(
            "A second reviewer has not confirmed the finding yet.", code=Code.REVIEW_MISSING
        )
    if against:
        raise Conflict("The review did not confirm manipulation.", code=Code.NOTICE_REFUSED)
    found = next((j for j in jobs if j.finding in MANIPULATED), None)
    if found is None:
        raise Conflict(code=Code.REVIEW_MISSING)
    if found.evidence_expired_at is None and is_outdated(session, found.id):
        raise Conflict(
            "The evidence does not contain the last decision yet. Request the evidence, "
            "and create the notice after that.",
            code=Code.NOTICE_REFUSED,
        )
    return found


def _has_report(session: Session, job: Job, edition: Edition | None, *, minor: bool) -> bool:
    """Return whether the package of a notice can have the report of an edition.

    An edition that does not exist yet is created when it is read, without faces if a person shown
    may be a ``minor``.
    """
    if edition is None:
        return job.evidence_expired_at is None
    is_withheld = (edition.imagery and minor) or is_withdrawn(session, edition.sha256)
    return edition.blob is not None and not is_withheld


def _examined_at(vault: Vault, job: Job, key: bytes) -> str:
    try:
        return examination_of(vault, job, key).examined_at
    except BlobMissing:
        return str(iso_time(job.finished_at))
