"""The place of waiting jobs in the queue, and about how long they wait."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deepfake_service.db import Job
from deepfake_service.db.enums import JobState, Priority
from deepfake_service.jobs.durations import EXAMINED, latest_times, mean_s

RECENT_JOBS = 20
"""Ended jobs by whose duration the wait is estimated."""


def add_places(session: Session, found: list[dict[str, Any]]) -> None:
    """Add the place of waiting jobs in the queue, and about how long they wait, in seconds."""
    if not any(job["state"] == JobState.QUEUED for job in found):
        return
    queued = session.execute(
        select(Job.id, Job.priority, Job.turn, Job.created_at).where(Job.state == JobState.QUEUED)
    ).all()
    ordered = sorted(queued, key=lambda r: (Priority(r[1]).rank, r[2] or 0, r[3], r[0]))
    places = {row[0]: number for number, row in enumerate(ordered, start=1)}
    each_s = _seconds_each(session)
    for job in found:
        place = places.get(job["id"])
        if place is not None:
            job["place"] = {"number": place, "wait_s": each_s and round(each_s * place)}


def _seconds_each(session: Session) -> float | None:
    """Return after how many seconds one job ends after another, by the latest ones."""
    rows = session.execute(latest_times(RECENT_JOBS, *EXAMINED))
    mean = mean_s((start, end) for start, end in rows)
    running = session.scalar(select(func.count()).where(Job.state == JobState.RUNNING))
    return mean and mean / max(running or 1, 1)
