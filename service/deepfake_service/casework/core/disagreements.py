"""Whether the reviewers of an examination disagree.

The finding is then ``undecided``, as if somebody had chosen that: the formats of evidence and of
the database have no state of its own for it. It is told from the decisions.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session, aliased

from deepfake_service.db import Job, Review
from deepfake_service.db.enums import Decision, Finding


def disagreed() -> ColumnElement[bool]:
    """Return the condition, in a query on ``Job``, that its reviewers disagree.

    An undecided finding with a rejection has a confirmation as well, or it would be ``rejected``.
    The latest decision of each person counts.
    """
    last, later = aliased(Review), aliased(Review)
    replaced = exists().where(
        later.job_id == last.job_id,
        later.account_id == last.account_id,
        or_(
            later.created_at > last.created_at,
            and_(later.created_at == last.created_at, later.id > last.id),
        ),
    )
    rejected = exists().where(
        last.job_id == Job.id, last.decision == Decision.REJECTED, ~replaced.correlate(last)
    )
    return and_(Job.finding == Finding.UNDECIDED, rejected.correlate(Job))


def is_disagreed(session: Session, job: Job) -> bool:
    """Return whether the reviewers of a job disagree."""
    if job.finding != Finding.UNDECIDED:
        return False
    return session.scalar(select(Job.id).where(Job.id == job.id, disagreed())) is not None
