"""Reviews: what people decide about an examination. The model's verdict is never overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import find_visible
from deepfake_service.audit.log import SERVICE, Action, Actor, append_entry
from deepfake_service.cases.case_lock import lock_open_case
from deepfake_service.evidence.dossiers import recorded_custody, reviews_of
from deepfake_service.evidence.editions import outdated_jobs
from deepfake_service.evidence.store import EvidenceStore
from deepfake_service.notices.desk import NoticeDesk
from deepfake_service.platform.db import Account, Case, Database, Job, Review, current_time, new_id
from deepfake_service.platform.db.enums import REUSED, Decision, Finding, JobState
from deepfake_service.platform.errors import (
    DatabaseUnavailable,
    EvidenceBusy,
    EvidenceMissing,
    EvidenceTooLarge,
    NotFound,
    NotReviewable,
    ServiceError,
    TooManyReviews,
)
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.storage import Vault, seal_json
from deepfake_service.review.hash_bank import HashBank
from deepfake_service.review.minor_flags import MinorFlags
from deepfake_service.review.review_rules import (
    ReviewerStatus,
    ReviewRules,
    check_same_person,
    standing_of,
)

CATCH_UP_BATCH = 100
MAX_REVIEWS = 100
"""Decisions of one account on one examination. Each has up to 12 kB, and all are in every edition
of the evidence, which must not become too large to read."""

_log = logger("deepfake_service.reviews")


@dataclass(frozen=True, slots=True)
class ReviewEffects:
    """What changes with a decision or a flag."""

    evidence: EvidenceStore
    notices: NoticeDesk
    hash_bank: HashBank
    minor_flags: MinorFlags


@dataclass(frozen=True, slots=True)
class ReviewOutcome:
    """What became of the decision on one item: the resulting finding, or why it was refused."""

    job_id: str
    finding: Finding | None
    refusal: ServiceError | None = None


class Reviews:
    """Records decisions and their effects.

    These are a new edition of the evidence, marks on notices, hashes that are stored or deleted,
    and the time at which media expire.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        effects: ReviewEffects,
        *,
        rules: ReviewRules,
    ) -> None:
        self._database = database
        self._vault = vault
        self._evidence = effects.evidence
        self._notices = effects.notices
        self._hash_bank = effects.hash_bank
        self._minor_flags = effects.minor_flags
        self._rules = rules
        self._without_edition: set[str] = set()
        """Ids of jobs for which no further edition can be created."""

    def decide(self, caller: Caller, job_id: str, decision: Decision, reason: str) -> Finding:
        """Record the caller's decision and its reason, and return the resulting finding.

        The latest decision of each person counts for the finding. All of them stay recorded. Once
        a decision is, no error of what follows from it is raised: it must not be made twice.

        Raises:
            NotFound: there is no such job, or the caller may not see it. NotReviewable: the job has
                no verdict, or the caller is not a person. TooManyReviews: the caller has made
                ``MAX_REVIEWS`` decisions on the job. RecordAltered: earlier ones differ from the
                audit log.
        """
        with self._database.write() as session:
            job, case = find_visible(session, caller, Job, job_id)
            self._database.one_at_a_time(session, case.account_id)
            lock_open_case(session, case.id)
            if session.get(Job, job_id, populate_existing=True) is None:
                raise NotFound
            if job.state != JobState.SUCCEEDED:
                raise NotReviewable("There is no verdict to review.")
            if session.get_one(Account, caller.account_id).kind != "person":
                raise NotReviewable("Only people can review; this is a system account.")
            recorded_custody(session, job)
            check_same_person(session, caller, job_id)
            made = select(func.count(Review.id)).where(
                Review.job_id == job_id, Review.account_id == caller.account_id
            )
            if (session.scalar(made) or 0) >= MAX_REVIEWS:
                raise TooManyReviews
            review = Review(
                id=new_id(),
                job_id=job_id,
                account_id=caller.account_id,
                decision=decision,
                created_at=current_time(session),
            )
            seal_json(self._vault.case_key(case), review, {"reason": reason})
            session.add(review)
            session.flush()
            before, finding = job.finding, self._finding_of(session, job_id)
            job.finding = finding
            append_entry(
                session, caller.actor, Action.CASE_REVIEWED, job_id, decision, at=review.created_at
            )
            session.flush()
            self._note_whether_reviewed(session, case)
            against = finding in (Finding.REJECTED, Finding.UNDECIDED)
            if against or before == Finding.CONFIRMED != finding:
                self._notices.mark_reversed(session, case, job)
            elif finding is Finding.CONFIRMED:
                self._notices.mark_upheld(session, case, job)
            if finding is not Finding.CONFIRMED:
                self._hash_bank.forget(session, job_id)
        # In transactions of their own. If the process stops here, ``catch_up`` does the rest.
        if finding is Finding.CONFIRMED:
            self._hash_bank.remember_if_possible(job_id)
        self._create_edition(caller.actor, job_id)
        return finding

    def decide_each(
        self, caller: Caller, job_ids: Sequence[str], decision: Decision, reason: str
    ) -> list[ReviewOutcome]:
        """Record the caller's decision on each of some items. A refusal does not stop the others.

        Raises:
            DatabaseUnavailable: nothing further can be recorded. Earlier decisions stay recorded.
        """
        outcomes = []
        for job_id in dict.fromkeys(job_ids):
            try:
                finding = self.decide(caller, job_id, decision, reason)
                outcomes.append(ReviewOutcome(job_id, finding))
            except DatabaseUnavailable:
                raise
            except ServiceError as error:
                outcomes.append(ReviewOutcome(job_id, None, error))
        return outcomes

    def _create_edition(self, actor: Actor, job_id: str) -> None:
        try:
            self._evidence.issue(job_id, actor)
        except (EvidenceMissing, EvidenceBusy, EvidenceTooLarge):
            # The evidence has expired, was not gathered by an early version, is being created by
            # another process, or is too large. ``catch_up`` tries again.
            _log.warning("no_new_edition", job_id=job_id)
        except Exception as error:
            _log.error("edition_failed", job_id=job_id, failure=describe(error))

    def _finding_of(self, session: Session, job_id: str) -> Finding:
        latest = _latest_decisions(session, job_id)
        decisions = list(latest.values())
        if Decision.REJECTED in decisions:
            # One rejection is enough: nothing is sent out against the opinion of a reviewer.
            return Finding.REJECTED if Decision.CONFIRMED not in decisions else Finding.UNDECIDED
        people = _confirming(latest)
        if not people:
            return Finding.UNDECIDED
        is_enough = self._rules.is_enough(session, job_id, people)
        return Finding.CONFIRMED if is_enough else Finding.AWAITING_SECOND

    @staticmethod
    def _note_whether_reviewed(session: Session, case: Case) -> None:
        """Set or clear the time at which the whole case was reviewed: its media expire after it."""
        unreviewed = session.scalars(
            select(Job.id).where(
                Job.case_id == case.id,
                Job.state.in_(REUSED),
                Job.finding.is_(None)
                | Job.finding.in_([Finding.AWAITING_SECOND, Finding.UNDECIDED]),
            )
        ).first()
        case.reviewed_at = None if unreviewed else case.reviewed_at or current_time(session)

    def of_job(self, caller: Caller, job_id: str) -> list[dict[str, Any]]:
        """List the decisions on a job, oldest first."""
        with self._database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
            return reviews_of(session, job, self._vault.case_key(case))

    def standing(self, session: Session, caller: Caller, job: Job) -> ReviewerStatus:
        """Return where the caller stands in the review of a job."""
        confirmed_by = _confirming(_latest_decisions(session, job.id))
        return standing_of(session, self._rules, caller.account_id, job, confirmed_by)

    def flag_minor(self, caller: Caller, case_id: str, *, enabled: bool) -> None:
        """Set or remove the flag that a person shown in a case may be a minor.

        While it is set, pictures are withheld from evidence and pages, and fewer accounts see the
        case. Every examination in the case gets a new edition of its evidence. Other cases with the
        same bytes or with pictures that look alike are flagged as well; ``catch_up`` creates their
        editions.

        Raises:
            NotFound: there is no such case, or the caller may not see it. Forbidden: another
                account set the flag, and the caller is not an administrator.
        """
        self._minor_flags.set(caller, case_id, enabled=enabled)
        # The chores of the worker compare what this leaves.
        self._minor_flags.compare_earlier_jobs(newest_only=True)
        self._create_editions(outdated_jobs().where(Job.case_id == case_id))

    def catch_up(self) -> None:
        """Create the editions that reviews and flags require and that do not exist yet."""
        self._create_editions(outdated_jobs())
        self._hash_bank.remember_recent()

    def _create_editions(self, jobs: Select[str]) -> None:
        statement = jobs.limit(CATCH_UP_BATCH + len(self._without_edition))
        with self._database.read() as session:
            outdated = session.scalars(statement).all()
        for job_id in [j for j in outdated if j not in self._without_edition][:CATCH_UP_BATCH]:
            try:
                self._evidence.issue(job_id, SERVICE)
            except (EvidenceMissing, EvidenceTooLarge):
                # Another attempt cannot succeed either. Nothing is deleted for that reason: the
                # older editions are retained, and evidence that is too large is not missing.
                self._without_edition.add(job_id)
            except Exception as error:
                _log.error("edition_failed", job_id=job_id, failure=describe(error))


def _latest_decisions(session: Session, job_id: str) -> dict[str, Decision]:
    """Return the latest decision of each account on a job."""
    latest: dict[str, Decision] = {}
    for review in session.scalars(
        select(Review).where(Review.job_id == job_id).order_by(Review.created_at, Review.id)
    ):
        latest[review.account_id] = review.decision
    return latest


def _confirming(latest: dict[str, Decision]) -> list[str]:
    return [account for account, d in latest.items() if d == Decision.CONFIRMED]
