"""Who has to agree before a finding is confirmed: one or two people, not the submitter alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import ENVIRONMENT_ID, MAY_REVIEW, Caller
from deepfake_service.accounts.admin_key import FIRST_ACCOUNT
from deepfake_service.platform.db import Account, Job, Review
from deepfake_service.platform.errors import NotReviewable

SubmitterConfirms = Literal["if_alone", "always", "never"]

_ONE_PERSON = frozenset({FIRST_ACCOUNT, ENVIRONMENT_ID})
"""Names of the two accounts that the installer of the service has: they are one person."""


@dataclass(frozen=True, slots=True)
class ReviewRules:
    """What the settings say about reviews."""

    two_people: bool = False
    """Whether two people have to confirm."""
    submitter_confirms: SubmitterConfirms = "if_alone"
    """Whether the account that submitted an item can confirm it without a second person."""

    def is_enough(self, session: Session, job_id: str, confirmed_by: Collection[str]) -> bool:
        """Return whether a finding is confirmed by the accounts with these ids, at least one."""
        if len(confirmed_by) >= 2:
            return True
        if self.two_people:
            return False
        (reviewer,) = confirmed_by
        submitter = session.get_one(Job, job_id).account_id
        if self.submitter_confirms == "always" or not _is_same(session, reviewer, submitter):
            return True
        return self.submitter_confirms == "if_alone" and not _others(session, reviewer)


@dataclass(frozen=True, slots=True)
class ReviewerStatus:
    """Where a person stands in the review of a job."""

    reviewed: bool
    """Whether they have recorded a decision."""
    submitted: bool
    """Whether they submitted the job."""
    needs_another: bool
    """Whether another reviewer would still have to confirm if they confirmed now."""


def standing_of(
    session: Session, rules: ReviewRules, account_id: str, job: Job, confirmed_by: Collection[str]
) -> ReviewerStatus:
    """Return where the person with an account stands in the review of a job, for its page.

    Args:
        confirmed_by: ids of the accounts whose last decision is that the job is manipulated.
    """

    def is_own(other: str) -> bool:
        return _is_same(session, other, account_id)

    reviewers = select(Review.account_id).where(Review.job_id == job.id).distinct()
    enough = rules.is_enough(session, job.id, {*confirmed_by, account_id})
    return ReviewerStatus(
        reviewed=any(is_own(reviewer) for reviewer in session.scalars(reviewers)),
        submitted=is_own(job.account_id),
        needs_another=not enough,
    )


def check_same_person(session: Session, caller: Caller, job_id: str) -> None:
    """Raise ``NotReviewable`` if the same person has reviewed a job with another account."""
    reviewers = select(Review.account_id).where(Review.job_id == job_id).distinct()
    for account_id in session.scalars(reviewers):
        if account_id != caller.account_id and _is_same(session, account_id, caller.account_id):
            raise NotReviewable(
                "You have reviewed this examination with another account of yours. Use that one."
            )


def _is_same(session: Session, first: str, second: str) -> bool:
    """Return whether two accounts belong to one person."""
    if first == second:
        return True
    names = {session.get_one(Account, first).name, session.get_one(Account, second).name}
    return names == _ONE_PERSON


def _others(session: Session, account_id: str) -> bool:
    """Return whether another person could review.

    All accounts are loaded, because only the code of a row that is loaded is compared.
    """
    people = [
        account.id
        for account in session.scalars(select(Account))
        if account.kind == "person" and account.role in MAY_REVIEW and account.disabled_at is None
    ]
    return any(not _is_same(session, o, account_id) for o in people)
