"""How much waits in the queue, and how many workers it takes: the signals to scale by.

Every process reads the same figures. The number of workers wanted is

    ceil((running + waiting * seconds / target) / slots), at least 1

``running`` and ``waiting`` count jobs. ``seconds`` is what the latest ``SAMPLE`` examinations took
on average, from their first step to their verdict. A worker has ``slots`` jobs at a time, so within
``target`` seconds it begins ``slots * target / seconds`` more of them. One worker is wanted even if
nothing waits, because workers also delete what expires and send webhooks.
"""

from __future__ import annotations

import math
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deepfake_service.cases.turns import mean_examination_s
from deepfake_service.examination.workflow_rows import job_version
from deepfake_service.platform.db import Database, Job, Lease
from deepfake_service.platform.db.columns import Moment
from deepfake_service.platform.db.enums import UNFINISHED, JobState, Priority
from deepfake_service.platform.errors import DatabaseDamaged, DatabaseUnavailable
from deepfake_service.platform.metrics import QueueState

TARGET_WAIT_S = 60.0
"""Within how many seconds a job should begin. For another time, scale the number of workers."""
SAMPLE = 50
"""Ended examinations whose duration counts."""
DEFAULT_SECONDS = 10.0
"""What a job is taken to last before any has ended."""


def queue_state(database: Database, slots: int) -> QueueState | None:
    """Return the state of the queue; ``None`` while the database does not answer or is damaged.
    Where no worker lives to tell, one is taken to examine ``slots`` jobs at a time."""
    try:
        with database.read() as session:
            return _read(session, database.clock(), slots)
    except (DatabaseUnavailable, DatabaseDamaged):
        return None


def _read(session: Session, now: datetime, slots: int) -> QueueState:
    waiting = {str(priority): 0 for priority in Priority}
    oldest_s = {str(priority): 0.0 for priority in Priority}
    oldest = func.min(Job.created_at, type_=Moment)
    queued = select(Job.priority, func.count(), oldest).where(Job.state == JobState.QUEUED)
    for priority, count, first in session.execute(queued.group_by(Job.priority)):
        waiting[str(priority)] = count
        oldest_s[str(priority)] = max(0.0, (now - first).total_seconds())
    unfinished = select(Job.bundle_sha256, func.count()).where(Job.state.in_(UNFINISHED))
    by_bundle = session.execute(unfinished.group_by(Job.bundle_sha256)).all()
    running = session.scalar(select(func.count()).where(Job.state == JobState.RUNNING)) or 0
    is_worker = Lease.version.is_not(None), Lease.expires_at > now
    workers = session.scalars(select(Lease).where(*is_worker)).all()
    served, own = {w.version for w in workers}, [w.slots or 1 for w in workers]
    each_s = mean_examination_s(session, SAMPLE)
    each_s = DEFAULT_SECONDS if each_s is None else each_s
    work = running + sum(waiting.values()) * each_s / TARGET_WAIT_S
    needed = work / (sum(own) / len(own) if own else slots)
    return QueueState(
        waiting,
        oldest_s,
        sum(count for bundle, count in by_bundle if job_version(bundle) not in served),
        len(workers),
        max(1, math.ceil(needed)),
    )
