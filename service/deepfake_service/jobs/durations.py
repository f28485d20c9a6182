"""How long the latest jobs took, from their first step to their end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Select, select

from deepfake_service.db import Job


def latest_times(
    count: int, *conditions: ColumnElement[bool]
) -> Select[datetime | None, datetime | None]:
    """Return the statement for the begin and the end of the latest ``count`` jobs that have both
    and meet ``conditions``."""
    return (
        select(Job.started_at, Job.finished_at)
        .where(Job.started_at.is_not(None), Job.finished_at.is_not(None), *conditions)
        .order_by(Job.created_at.desc())
        .limit(count)
    )


def mean_s(times: Iterable[tuple[datetime | None, datetime | None]]) -> float | None:
    """Return the mean duration in seconds; ``None`` if none has both ``times``."""
    seconds = [(end - start).total_seconds() for start, end in times if start and end]
    return sum(seconds) / len(seconds) if seconds else None
