"""The place of waiting jobs in the queue, and about how long they wait."""

from __future__ import annotations

from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from deepfake_service.db import Job
from deepfake_service.db.enums import JobState, Priority
from deepfake_service.jobs.turns import latest_times, mean_s

ESTIMATED_BY_JOBS = 20
"""Ended jobs by whose duration the wait is estimated: those of all accounts, which differ more than
those of one."""
_BY_PRIORITY = case({priority.value: priority.rank for priority in Priority}, value=Job.priority)
SERVED = _BY_PRIORITY, func.coalesce(Job.turn, 0), Job.created_at, Job.id
"""What the order in which waiting jobs are examined rises by."""
UNDER_WAY = case((Job.state == JobState.RUNNING, 0), else_=1), *SERVED
"""What the order of unfinished jobs rises by: those that are being examined are before those that
wait."""


def add_places(session: Session, found: list[dict[str, Any]]) -> None:
    """Add the place of waiting jobs in the queue, and about how long they wait, in seconds."""
    waiting = [job["id"] for job in found if job["state"] == JobState.QUEUED]
    if not waiting:
        return
    # Numbered by the database: many more jobs than those of a page may wait.
    number = func.row_number().over(order_by=SERVED).label("number")
    queue = select(Job.id, number).where(Job.state == JobState.QUEUED).subquery()
    rows = session.execute(select(queue.c.id, queue.c.number).where(queue.c.id.in_(waiting)))
    places = {row.id: row.number for row in rows}
    each_s = _seconds_each(session)
    for job in found:
        place = places.get(job["id"])
        if place is not None:
            job["place"] = {"number": place, "wait_s": each_s and round(each_s * place)}


def _seconds_each(session: Session) -> float | None:
    """Return after how many seconds one job ends after another, by the latest ones."""
    rows = session.execute(latest_times(ESTIMATED_BY_JOBS, Job.state == JobState.SUCCEEDED))
    mean = mean_s((start, end) for start, end in rows)
    running = session.scalar(select(func.count()).where(Job.state == JobState.RUNNING))
    return mean and mean / max(running or 1, 1)
