"""What the page of an item shows, read in one transaction."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import find_visible, may_delete
from deepfake_service.evidence.bundle.builder import VERDICT
from deepfake_service.evidence.bundle.zip_format import member
from deepfake_service.evidence.chain_of_custody import reviews_of
from deepfake_service.evidence.editions import editions_of
from deepfake_service.evidence.listings import open_listing
from deepfake_service.evidence.store import EvidenceStore
from deepfake_service.hashes.hash_bank import similar_cases
from deepfake_service.platform.db import Case, Database, Job, Listing, Media, Occurrence
from deepfake_service.platform.db.enums import JobState
from deepfake_service.platform.errors import (
    EvidenceMissing,
    EvidenceTooLarge,
    ImageryWithheld,
    ServiceError,
)
from deepfake_service.platform.storage import Vault
from deepfake_service.platform.texts.formatting import found_by
from deepfake_service.review.queries import Queries, occurrences_json
from deepfake_service.review.reviews import Reviews, on_hold_of
from deepfake_service.review.triage import places_of

LISTED = 50
"""Posts and other examinations of the file that the page lists."""


@dataclass(frozen=True, slots=True)
class ItemPages:
    """Reads pages of items for callers, who find only what they may see."""

    database: Database
    vault: Vault
    queries: Queries
    evidence: EvidenceStore
    reviews: Reviews

    def read(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """Return what the page of an item shows. Audited as a reading of the case.

        ``document`` is the ``verdict.json`` of the newest edition of its evidence, which is issued
        first if that is due. Showing it is audited once in ten minutes. ``missing`` is the error
        that says why there is none, although the job has succeeded. ``NotFound`` if there is no
        such job, or the caller may not see it; ``EvidenceBusy`` if others issue editions of its
        evidence at this moment.
        """
        missing: ServiceError | None = None
        edition, document = None, None
        try:
            self.evidence.issue_if_due(caller, job_id)
        except (EvidenceMissing, EvidenceTooLarge) as error:
            missing = error
        with self.database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
            succeeded = job.state == JobState.SUCCEEDED
            if succeeded and missing is None:
                try:
                    edition = self.evidence.find(session, caller, job_id, None)
                except (EvidenceMissing, ImageryWithheld) as error:
                    missing = error
            shown = self._shown(session, caller, job, case)
        self.queries.audit_case(caller, case.id)
        if edition is not None:
            try:
                stored = self.evidence.open(caller, *edition, shown=True)
                document = json.loads(member(stored, VERDICT))
            except EvidenceMissing as error:
                missing = error
        return {
            **shown,
            "document": document,
            "missing": missing if succeeded else None,
        }

    def _shown(self, session: Session, caller: Caller, job: Job, case: Case) -> dict[str, Any]:
        key = self.vault.case_key(case)
        digest = session.get_one(Media, job.media_id).sha256
        of_file = select(Job).join(Media, Job.media_id == Media.id)
        of_file = of_file.where(
            Job.case_id == case.id,
            Media.sha256 == digest,
            Job.id != job.id,
            Job.state != JobState.CANCELLED,
        )
        seen = (
            select(Occurrence)
            .where(Occurrence.media_id == job.media_id)
            .order_by(Occurrence.created_at.desc(), Occurrence.id.desc())
        )
        others = session.scalars(of_file.order_by(Job.created_at, Job.id).limit(LISTED)).all()
        occurrences = session.scalars(seen.limit(LISTED + 1)).all()
        waiting = [job.id] if job.state == JobState.QUEUED else []
        posts = occurrences_json(occurrences[:LISTED], key)
        captures = {post.get("capture") for post in posts} - {None}
        items = select(func.count(Job.id)).where(Job.case_id == case.id)
        reviews = reviews_of(session, job, key)
        return {
            "job": self.queries.plain(session, job),
            "case": self.queries.case_json(case),
            "listing": open_listing(key, session.get(Listing, job.id)),
            # The other examinations of the same file, with other numbers of frames.
            "others": [self.queries.plain(session, other) for other in others],
            "occurrences": posts,
            "more_occurrences": len(occurrences) > LISTED,
            "place": places_of(session, waiting).get(job.id),
            "reviews": reviews,
            "on_hold": on_hold_of(session, job, key),
            "found_by": len(found_by(job.finding, reviews)),
            "standing": self.reviews.standing(session, caller, job),
            "matches": similar_cases(session, self.vault, caller, [job.id]).get(job.id, []),
            "editions": editions_of(session, job, case),
            "deletable": may_delete(caller, job.account_id) and case.held_at is None,
            # Until when captures keep the file; ``None`` if none does.
            "captured_until": session.scalar(
                select(func.max(Media.expires_at)).where(
                    Media.capture_id.in_(captures), Media.blob.is_not(None)
                )
            ),
            # Whether it is the only item of its case.
            "alone": session.scalar(items) == 1,
        }
