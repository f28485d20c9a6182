"""How far a running job is, and about how long the frames that it still has take."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from deepfake_service.db import Job
from deepfake_service.db.enums import JobState

OVERVIEW, DENSE, EVIDENCE = "overview", "dense", "evidence"
"""The stages of an examination, in order."""
FEWEST_FRAMES = 8
SHORTEST_S = 3.0
"""Before so many frames and seconds, the time that a frame takes is not known: opening the media
takes longer than the first frames."""


def progress_json(job: Job, now: datetime) -> dict[str, Any]:
    """Return the progress of a job, in frames, and the seconds left at ``now``."""
    return {
        "stage": job.stage,
        "done": job.done or 0,
        "total": job.total,
        "overview": job.overview,
        "remaining_s": _remaining_s(job, now),
    }


def _remaining_s(job: Job, now: datetime) -> int | None:
    """Return about how many seconds the frames planned so far take, by those that are finished.

    ``None`` until that is known, and while no frames are examined. It counts from the beginning of
    the examination, so it grows while nothing is finished.
    """
    if job.state != JobState.RUNNING or job.stage not in (OVERVIEW, DENSE):
        return None
    if job.started_at is None or not job.total:
        return None
    spent_s, left = (now - job.started_at).total_seconds(), job.total - job.done
    if left <= 0 or job.done < FEWEST_FRAMES or spent_s < SHORTEST_S:
        return None
    return _rounded(left * spent_s / job.done)


def _rounded(seconds: float) -> int:
    """Round to ten seconds, or to minutes from a minute and a half on: it is no more exact."""
    step = 10 if seconds < 90 else 60
    return max(step, step * round(seconds / step))
