"""What a notice rests on: the newest examination of each file, with what was decided on it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_models.bundle.results import VerdictCode
from deepfake_service.evidence.dossiers import recorded_custody
from deepfake_service.evidence.editions import (
    examination_of,
    is_outdated,
    is_withdrawn,
    newest_edition,
)
from deepfake_service.notices.compose import Basis
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import Case, Edition, Job, Media
from deepfake_service.platform.db.enums import Finding, JobState
from deepfake_service.platform.db.row_authentication import refuse
from deepfake_service.platform.errors import NoticeRefused
from deepfake_service.platform.storage import BlobMissing, Vault, open_json

AGAINST = frozenset({Finding.REJECTED, Finding.UNDECIDED, Finding.AWAITING_SECOND})
"""Findings that no notice may rest on."""


class NoticeBasis:
    """Finds the examinations that a notice may rest on."""

    def __init__(self, vault: Vault, *, two_people: bool) -> None:
        """Create a reader of what notices rest on.

        Args:
            two_people: whether two people have to confirm a finding.
        """
        self._vault = vault
        self._two_people = two_people

    def of(
        self, session: Session, case: Case, key: bytes, media_ids: set[str]
    ) -> tuple[list[Basis], int]:
        """Return the newest examination of each medium, and how many of their reports there are.

        Reviews count for all examinations of the same bytes: what was rejected in one examination
        must not be reported on the basis of another.

        Raises:
            NoticeRefused: a finding was not confirmed, or there is none.
        """
        basis, reported = [], set()
        for media_id in sorted(media_ids):
            job = self.founding(session, case, media_id)
            # The result is sealed: in the column, anybody could have written another verdict.
            if job.result is None or open_json(key, job)["verdict"] != job.verdict:
                raise refuse(session, "jobs", job.id, "verdict")
            edition = newest_edition(session, job.id)
            basis.append(
                Basis(
                    sha256=session.get_one(Media, media_id).sha256,
                    verdict=str(job.verdict),
                    finding=job.finding,
                    job=job.id,
                    edition=edition.number if edition else 1,
                    examined_at=self._examined_at(job, key),
                )
            )
            if _has_report(session, job, edition, minor=case.minor_at is not None):
                reported.add(job.id)
        return basis, len(reported)

    def founding(self, session: Session, case: Case, media_id: str) -> Job:
        """Return the examination of a medium that a notice may rest on.

        Raises:
            NoticeRefused: its finding was not confirmed, or there is none. RecordAltered: a finding
                differs from the audit log.
        """
        digest = session.get_one(Media, media_id).sha256
        jobs = session.scalars(
            select(Job)
            .join(Media, Job.media_id == Media.id)
            .where(
                Job.case_id == case.id,
                Media.sha256 == digest,
                Job.state == JobState.SUCCEEDED,
            )
            .order_by(Job.created_at.desc())
        ).all()
        for job in jobs:
            recorded_custody(session, job)
        job = self._founding(jobs)
        if job.evidence_expired_at is None and is_outdated(session, job.id):
            raise NoticeRefused(
                "The evidence does not contain the last decision yet. Request the evidence, "
                "and create the notice after that."
            )
        return job

    def _founding(self, jobs: Sequence[Job]) -> Job:
        """Return the examination that a notice may rest on.

        That is a confirmed one. Where reviews by two people are not required, it may also be one
        that nobody has reviewed and whose verdict is that a face is manipulated.
        """
        if not jobs:
            raise NoticeRefused(
                "The file has no verdict. Wait until it is examined, or submit it again if its "
                "examination has failed."
            )
        against = [j.finding for j in jobs if j.finding in AGAINST]
        if against and all(finding == Finding.AWAITING_SECOND for finding in against):
            raise NoticeRefused("A second reviewer has not confirmed the finding yet.")
        if against:
            raise NoticeRefused("The review did not confirm manipulation.")
        confirmed = [j for j in jobs if j.finding == Finding.CONFIRMED]
        if confirmed:
            return confirmed[0]
        if self._two_people:
            raise NoticeRefused("Two people have to confirm the finding before a notice is made.")
        if jobs[0].verdict != VerdictCode.LIKELY_MANIPULATED:
            raise NoticeRefused(
                'The verdict is not "probably manipulated", and no reviewer has confirmed '
                "manipulation."
            )
        return jobs[0]

    def _examined_at(self, job: Job, key: bytes) -> str:
        try:
            return str(examination_of(self._vault, job, key)["examined_at"])
        except BlobMissing:
            return str(iso_time(job.finished_at))


def _has_report(session: Session, job: Job, edition: Edition | None, *, minor: bool) -> bool:
    """Return whether the package of a notice has the report of an edition.

    An edition that does not exist yet is created when it is read, without faces if a person shown
    may be a ``minor``.
    """
    if edition is None:
        return job.evidence_expired_at is None
    is_withheld = (edition.imagery and minor) or is_withdrawn(session, edition.sha256)
    return edition.blob is not None and not is_withheld


def digests_against(session: Session, case: Case) -> set[str]:
    """Return the SHA-256 of the files of a case that no notice may rest on, by their reviews."""
    return set(
        session.scalars(
            select(Media.sha256)
            .join(Job, Job.media_id == Media.id)
            .where(
                Job.case_id == case.id,
                Job.state == JobState.SUCCEEDED,
                Job.finding.in_(AGAINST),
            )
        )
    )
