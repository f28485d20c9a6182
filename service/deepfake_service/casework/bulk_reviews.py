"""One decision on many items. Each is a review of its own, with the rules and records of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepfake_service.casework.reviews import Reviews
from deepfake_service.db.enums import Decision, Finding
from deepfake_service.errors import DatabaseUnavailable, ServiceError
from deepfake_service.security.accounts import Caller

MAX_ITEMS = 50
"""As many as a page of the queue has: nobody decides about what they have not seen listed."""


@dataclass(frozen=True, slots=True)
class ReviewOutcome:
    """What became of the decision on one item: the resulting finding, or why it was refused."""

    job_id: str
    finding: Finding | None
    refusal: ServiceError | None = None


def decide_each(
    reviews: Reviews, caller: Caller, job_ids: Sequence[str], decision: Decision, reason: str
) -> list[ReviewOutcome]:
    """Record the caller's decision on each of some items. A refusal does not stop the others.

    Raises:
        DatabaseUnavailable: nothing further can be recorded. Earlier decisions stay recorded.
    """
    outcomes = []
    for job_id in dict.fromkeys(job_ids):
        try:
            outcomes.append(ReviewOutcome(job_id, reviews.decide(caller, job_id, decision, reason)))
        except DatabaseUnavailable:
            raise
        except ServiceError as error:
            outcomes.append(ReviewOutcome(job_id, None, error))
    return outcomes
