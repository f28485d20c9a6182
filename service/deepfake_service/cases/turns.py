"""Turns: the order of waiting jobs, in which the accounts alternate.

This is round robin: the first waiting job of an account has the turn that is being served, and each
further one the turn after it. So an account with many jobs does not delay those of others by more
than one job each.
"""

from __future__ import annotations

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from deepfake_service.platform.db import Job
from deepfake_service.platform.db.enums import UNFINISHED, JobState, Priority

_BAND = 2**31 // len(Priority) - 1
"""How many turns each priority has: DBOS takes priorities from 1 to 2^31 - 1."""


def next_turn(session: Session, account_id: str, priority: Priority) -> int:
    """Return the turn of a new job of an account. Call it for one job of the account at a time."""
    # A job that waits for its model has begun: its turn was served long ago.
    queued = and_(Job.state == JobState.QUEUED, Job.started_at.is_(None))
    waiting = select(func.min(Job.turn)).where(queued, Job.priority == priority)
    unfinished = Job.state.in_(UNFINISHED), Job.priority == priority
    latest = select(func.max(Job.turn)).where(*unfinished)
    served = session.scalar(waiting)
    if served is None:  # then all turns have begun, and the last one is being served
        served = session.scalar(latest) or 0
    last = session.scalar(latest.where(Job.account_id == account_id))
    return served if last is None else max(served, last + 1)


def queue_rank(priority: Priority, turn: int) -> int:
    """Return the rank of a job in the queue: lower ones are served first."""
    return (priority.rank - 1) * _BAND + 1 + min(turn, _BAND - 1)


def mean_examination_s(session: Session, latest: int) -> float | None:
    """Return the mean duration in seconds of the ``latest`` examinations; ``None`` before any."""
    ended = session.execute(
        select(Job.started_at, Job.finished_at)
        .where(
            Job.state == JobState.SUCCEEDED,
            Job.started_at.is_not(None),
            Job.finished_at.is_not(None),
        )
        .order_by(Job.created_at.desc())
        .limit(latest)
    )
    seconds = [(end - start).total_seconds() for start, end in ended if start and end]
    return sum(seconds) / len(seconds) if seconds else None
