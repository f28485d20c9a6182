"""What the page of an item shows, read in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import find_visible, may_delete
from deepfake_service.cases.cases import open_post
from deepfake_service.cases.posts import Post
from deepfake_service.evidence.bundle.builder import VERDICT
from deepfake_service.evidence.bundle.custody import found_by
from deepfake_service.evidence.bundle.documents import Failed, VerdictDocument, read
from deepfake_service.evidence.bundle.signs import MAX_SIGNS, Sign, SignCode
from deepfake_service.evidence.bundle.zip_format import member
from deepfake_service.evidence.chain_of_custody import altered_jobs, reviews_of
from deepfake_service.evidence.editions import IssuedEdition, editions_of
from deepfake_service.evidence.store import EvidenceStore
from deepfake_service.hashes.hash_bank import SimilarCase, similar_cases
from deepfake_service.platform.db import Case, Database, Job, Media, Occurrence
from deepfake_service.platform.enums import JobState
from deepfake_service.platform.errors import (
    EvidenceMissing,
    Forbidden,
    ServiceError,
)
from deepfake_service.platform.findings import MANIPULATED, Finding
from deepfake_service.platform.storage import Vault
from deepfake_service.review.queries import Queries, job_rows
from deepfake_service.review.reviews import (
    OnHold,
    Opinion,
    Reviews,
    Standing,
    on_hold_of,
    opinions_of,
)
from deepfake_service.review.shapes import Item, PlainJob
from deepfake_service.review.triage import Place, places_of

LISTED = 50
"""Posts, other examinations of the file and similar cases that the page lists."""


@dataclass(frozen=True, slots=True)
class Original:
    """A confirmed item that an item is a copy of."""

    copy: SimilarCase
    finding: Finding
    taken_over: dict[SignCode, Sign] | None
    """The signs that a reviewer takes over with the finding: those that its reviewers stated, with
    their places if the bytes are the same, and each once. ``None`` if the item is decided, or
    awaits a second person."""


@dataclass(frozen=True, slots=True)
class ItemPage:
    """What the page of an item shows."""

    job: Item
    others: list[PlainJob]
    """The other examinations of the same file, with other numbers of frames."""
    occurrences: list[Post]
    more_occurrences: bool
    place: Place | None
    reviews: list[Opinion]
    found_by: int
    """How many people state the finding."""
    on_hold: OnHold | None
    standing: Standing
    original: Original | None
    matches: list[SimilarCase]
    """The other cases that it resembles. They and the original are left out for a second person,
    who decides on her own."""
    editions: Sequence[IssuedEdition]
    deletable: bool
    captured_until: datetime | None
    """Until when captures keep the file; ``None`` if none does."""
    alone: bool
    """Whether it is the only item of its case."""
    document: VerdictDocument | None = None
    """The ``verdict.json`` of the newest edition of its evidence."""
    missing: ServiceError | None = None
    """Why there is none, although the job has succeeded."""


@dataclass(frozen=True, slots=True)
class ItemPages:
    """Reads pages of items for callers, who find only what they may see."""

    database: Database
    vault: Vault
    queries: Queries
    evidence: EvidenceStore
    reviews: Reviews

    def read(self, caller: Caller, job_id: str) -> ItemPage:
        """Return what the page of an item shows. Audited as a reading of the case, and of that of
        the original of a copy.

        The newest edition of its evidence is issued first if that is due. Showing it is audited
        once in ten minutes. ``NotFound`` if there is no such job, or the caller may not see it;
        ``Overloaded`` if others issue editions of its evidence at this moment.
        """
        missing: ServiceError | None = None
        edition = None
        try:
            self.evidence.issue_if_due(caller, job_id)
        except EvidenceMissing as error:
            missing = error
        with self.database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
            if job.state == JobState.SUCCEEDED and missing is None:
                try:
                    edition = self.evidence.find(session, caller, job_id, None)
                except (EvidenceMissing, Forbidden) as error:
                    missing = error
            shown = self._shown(session, caller, job, case)
        self.queries.audit_case(caller, case.id)
        if shown.original:
            self.queries.audit_case(caller, shown.original.copy.case_id)
        if shown.matches:
            self.queries.audit(caller)
        document = None
        if edition is not None:
            try:
                stored = self.evidence.open(caller, *edition, shown=True)
                document = read(VerdictDocument, member(stored, VERDICT), VERDICT)
            except EvidenceMissing as error:
                missing = error
            except Failed:
                missing = EvidenceMissing(
                    "A newer version of the service wrote this evidence. Update this one."
                )
        missing = missing if job.state == JobState.SUCCEEDED else None
        return replace(shown, document=document, missing=missing)

    def _shown(self, session: Session, caller: Caller, job: Job, case: Case) -> ItemPage:
        key = self.vault.case_key(case)
        row = session.execute(job_rows().where(Job.id == job.id)).one()
        of_file = job_rows().where(
            Job.case_id == case.id,
            Media.sha256 == row[1].sha256,
            Job.id != job.id,
            Job.state != JobState.CANCELLED,
        )
        seen = (
            select(Occurrence)
            .where(Occurrence.media_id == job.media_id)
            .order_by(Occurrence.created_at.desc(), Occurrence.id.desc())
        )
        others = session.execute(of_file.order_by(Job.created_at, Job.id).limit(LISTED))
        occurrences = session.scalars(seen.limit(LISTED + 1)).all()
        waiting = [job.id] if job.state == JobState.QUEUED else []
        posts = [open_post(key, occurrence) for occurrence in occurrences[:LISTED]]
        captures = {post.capture for post in posts} - {None}
        items = select(func.count(Job.id)).where(Job.case_id == case.id)
        kept = select(func.max(Media.expires_at)).where(
            Media.capture_id.in_(captures), Media.blob.is_not(None)
        )
        standing = self.reviews.standing(session, caller, job)
        withheld = standing.decides_next
        opinions, people = opinions_of(session, job, key, withheld=withheld)
        open_to = [] if withheld else [job.id]
        similar = similar_cases(session, self.vault, caller, open_to).get(job.id, [])
        original = self._original(session, similar, job)
        return ItemPage(
            job=self.queries.item(row),
            others=[self.queries.plain(other) for other in others],
            occurrences=posts,
            more_occurrences=len(occurrences) > LISTED,
            place=places_of(session, waiting).get(job.id),
            reviews=opinions,
            found_by=people,
            on_hold=on_hold_of(session, job, key),
            standing=standing,
            original=original,
            matches=[s for s in similar if original is None or s is not original.copy][:LISTED],
            editions=editions_of(session, job, case),
            deletable=may_delete(caller, job.account_id) and case.held_at is None,
            captured_until=session.scalar(kept),
            alone=session.scalar(items) == 1,
        )

    def _original(
        self, session: Session, similar: Sequence[SimilarCase], job: Job
    ) -> Original | None:
        """Return the first of similar items that was confirmed, and is as the audit log has it;
        ``None`` for an item that was confirmed itself."""
        for copy in similar if job.finding not in MANIPULATED else ():
            known = session.get(Job, copy.job_id) if copy.job_id else None
            if known is None or known.finding not in MANIPULATED or altered_jobs(session, [known]):
                continue
            taken_over: dict[SignCode, Sign] | None = None
            is_open = job.finding in (None, Finding.UNDECIDED)
            if is_open and job.state == JobState.SUCCEEDED:
                key = self.vault.case_key(session.get_one(Case, known.case_id))
                stated = found_by(known.finding, reviews_of(session, known, key))
                taken_over = {}
                for sign in [sign for review in stated for sign in review.signs][:MAX_SIGNS]:
                    placed = sign if copy.same_file else Sign(code=sign.code)
                    taken_over.setdefault(sign.code, placed)
            return Original(copy, known.finding, taken_over)
        return None
