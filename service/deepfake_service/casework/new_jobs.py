"""How a job begins, whether a medium was submitted or is examined again."""

from __future__ import annotations

from sqlalchemy.orm import Session

from deepfake_service.casework.core.listings import begin_listing
from deepfake_service.db import Case, Job, current_time
from deepfake_service.db.enums import JobState
from deepfake_service.jobs import JobQueue
from deepfake_service.jobs.turns import next_turn


def begin_job(
    session: Session,
    queue: JobQueue,
    case_key: bytes,
    job: Job,
    *,
    name: str | None,
    platform: str | None,
) -> None:
    """Store a new job with its turn and its entry in lists, and put it into the queue.

    Call it for one job of the account at a time. ``name`` and ``platform`` are what lists show of
    the medium.
    """
    job.state = JobState.QUEUED
    job.turn = next_turn(session, job.account_id, job.priority)
    job.created_at = current_time(session)
    # The case now contains something that nobody has reviewed.
    session.get_one(Case, job.case_id).reviewed_at = None
    session.add(job)
    session.flush()
    begin_listing(session, case_key, job.id, name, platform)
    queue.put(session, job)
