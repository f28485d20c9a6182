"""Queue jobs in DBOS, cancel them, and queue them again. This needs no worker in the process.

DBOS's tables are in the same database, on PostgreSQL in a schema of their own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from dbos import DBOS, DBOSClient, EnqueueOptions, Serializer, WorkflowStatus, error
from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from deepfake_service.platform import enums
from deepfake_service.platform.db import Database, Job
from deepfake_service.platform.db.database import translating

APPLICATION, EXAMINE, QUEUE = "deepfake-service", "examine", "examinations"
WORKFLOW_VERSION = "1"
"""Version of the workflow's steps and of their results. Raise it if the worker can no longer resume
a job that an older one began."""
_BUNDLE_CHARS = 32
PENDING, ENQUEUED, CANCELLED = "PENDING", "ENQUEUED", "CANCELLED"
UNFINISHED = (PENDING, ENQUEUED, "DELAYED")
"""States of jobs for DBOS."""
CLOCKS_DIFFER = timedelta(days=1)
"""DBOS's time of a job is compared with ours: that of the database server, or of this machine."""
_BAND = 2**31 // len(enums.Priority) - 1
"""How many turns each priority has: DBOS takes priorities from 1 to 2^31 - 1."""
BATCH = 1000
"""Jobs that are listed at once."""


def job_version(bundle_sha256: str, workflow: str | None = None) -> str:
    """Return the version of jobs that are examined with a model bundle, by this workflow or another
    version of it.

    DBOS gives a worker jobs of its own version only. So another model than the one that a job was
    begun with never goes on with it, nor does a workflow of other steps; see ``workers.py``.
    """
    return f"{workflow or WORKFLOW_VERSION}-{bundle_sha256[:_BUNDLE_CHARS]}"


class PlainJson(Serializer):
    """Serialises to JSON instead of DBOS's pickle, so that its tables hold ids and counts alone. An
    exception is stored as the name of its class, because its text may quote content."""

    def serialize(self, data: object) -> str:
        """Return ``data`` as JSON; see ``Serializer``."""
        return json.dumps(data, default=_plain)

    def deserialize(self, serialized_data: str) -> object:
        """Return what ``serialize`` wrote; see ``Serializer``."""
        content: object = json.loads(serialized_data)
        if isinstance(content, dict) and set(content) == {"exception"}:
            return RuntimeError(content["exception"])
        return content

    def name(self) -> str:
        """Return the name that DBOS stores with the data."""
        return "deepfake_service_json"


def _plain(value: object) -> object:
    if isinstance(value, BaseException):
        return {"exception": type(value).__name__}
    raise TypeError(f"a job's record may not hold a {type(value).__name__}")


class JobQueue:
    """The queue of examinations in ``database``. Its tables are created if necessary."""

    def __init__(self, database: Database) -> None:
        quieten()
        # Jobs can be accepted before the first worker is ever started.
        DBOS.migrate(database.url)
        self._client = DBOSClient(
            system_database_url=database.url,
            serializer=PlainJson(),
            application_name=APPLICATION,
            retry_connection_errors=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.destroy()

    def put(self, session: Session, job: Job) -> None:
        """Queue a job in the transaction of ``session``, which either accepts and queues it or
        does neither."""
        job_id = job.id
        options: EnqueueOptions = {
            "workflow_name": EXAMINE,
            "queue_name": QUEUE,
            "workflow_id": job_id,
            "app_version": job_version(job.bundle_sha256),
            "priority": queue_rank(job.priority, job.turn or 0),
        }
        self._client.enqueue_in_transaction(session, options, job_id)

    def cancel(self, job_id: str) -> None:
        """Stop a job before its next step. A job that has ended may be cancelled too."""
        self._client.cancel_workflow(job_id)

    def forget(self, job_id: str) -> None:
        """Delete DBOS's records of a job."""
        self._client.delete_workflow(job_id)

    def workflow_versions(self) -> set[str]:
        """Return the versions of the workflow that workers of this installation have had."""
        with translating():
            versions = self._client.list_application_versions()
        return {version["version_name"].partition("-")[0] for version in versions}

    def listed(
        self, states: Sequence[str], since: datetime, versions: Iterable[str] | None = None
    ) -> list[WorkflowStatus]:
        """Return the oldest jobs since then that are in these states for DBOS, of these versions or
        of all."""
        with translating():
            return self._client.list_workflows(
                name=EXAMINE,
                status=list(states),
                start_time=(since - CLOCKS_DIFFER).isoformat(),
                app_version=None if versions is None else sorted(versions),
                limit=BATCH,
                load_input=False,
                load_output=False,
            )

    def is_unchanged(self, row: WorkflowStatus) -> bool:
        """Return whether a job is as it was listed: no worker and no person was faster."""
        with translating():
            now = self._client.list_workflows(
                workflow_ids=[row.workflow_id], load_input=False, load_output=False
            )
        found = [(each.status, each.app_version, each.executor_id) for each in now]
        return found == [(row.status, row.app_version, row.executor_id)]

    def resume(self, job_id: str) -> None:
        """Queue a job again for workers of its version, which go on after its last step."""
        with translating(), suppress(error.DBOSException):  # deleted meanwhile
            self._client.resume_workflow(job_id, queue_name=QUEUE)

    def restart(self, job_id: str, version: str) -> None:
        """Queue a job that was cancelled for workers of ``version``, which begin it anew."""
        with translating(), suppress(error.DBOSException):  # deleted, or queued by another worker
            self._client.rewind_workflow(job_id, application_version=version, queue_name=QUEUE)


def quieten() -> None:
    """Silence DBOS, which logs a hundred lines at its first start, and cancelled jobs in full."""
    logging.getLogger("dbos").setLevel(logging.CRITICAL)


def next_turn(session: Session, account_id: str, priority: enums.Priority) -> int:
    """Return the turn of a new job of an account. Call it for one job of the account at a time.

    Accounts take turns: the first waiting job of an account has the turn that is being served, and
    each further one the turn after it. So an account with many jobs does not delay those of others
    by more than one job each.
    """
    # A job that waits for its model has begun: its turn was served long ago.
    queued = and_(Job.state == enums.JobState.QUEUED, Job.started_at.is_(None))
    waiting = select(func.min(Job.turn)).where(queued, Job.priority == priority)
    unfinished = Job.state.in_(enums.UNFINISHED), Job.priority == priority
    latest = select(func.max(Job.turn)).where(*unfinished)
    served = session.scalar(waiting)
    if served is None:  # then all turns have begun, and the last one is being served
        served = session.scalar(latest) or 0
    last = session.scalar(latest.where(Job.account_id == account_id))
    return served if last is None else max(served, last + 1)


def queue_rank(priority: enums.Priority, turn: int) -> int:
    """Return the rank of a job in the queue: lower ones are served first."""
    return (priority.rank - 1) * _BAND + 1 + min(turn, _BAND - 1)
