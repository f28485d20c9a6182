"""Putting jobs into DBOS' queue, and taking them out; needs no worker in this process."""

from __future__ import annotations

import json
import logging
from typing import Any

from dbos import DBOS, DBOSClient, EnqueueOptions, Serializer
from sqlalchemy.orm import Session

from deepfake_service.db import Database
from deepfake_service.db.enums import Priority

APPLICATION = "deepfake-service"
WORKFLOW_VERSION = "1"
"""Of the workflow's steps and what they keep. A worker takes up only jobs of its own version, so it
is raised where a job begun by an older worker could not be gone on with."""
EXAMINE = "examine"
QUEUE = "examinations"


class PlainJson(Serializer):
    """JSON in place of DBOS' pickles: what is in its tables is ids and counts, and stays that.

    An exception is kept as its class's name: its text can hold content.
    """

    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=_plain)

    def deserialize(self, serialized_data: str) -> Any:
        content = json.loads(serialized_data)
        if isinstance(content, dict) and set(content) == {"exception"}:
            return RuntimeError(content["exception"])
        return content

    def name(self) -> str:
        return "deepfake_service_json"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseException):
        return {"exception": type(value).__name__}
    raise TypeError(f"{type(value).__name__} does not belong into a job's record")


class JobQueue:
    """The queue of examinations in ``database``, whose tables a worker has made or makes here."""

    def __init__(self, database: Database) -> None:
        quieten()
        # Jobs can be accepted before the first worker was ever started.
        DBOS.migrate(database.url)
        self._client = DBOSClient(
            system_database_url=database.url,
            serializer=PlainJson(),
            application_name=APPLICATION,
            retry_connection_errors=False,
        )

    def close(self) -> None:
        self._client.destroy()

    def put(self, session: Session, job_id: str, priority: Priority) -> None:
        """Queue a job in the transaction of ``session``: it is accepted and queued, or neither."""
        options: EnqueueOptions = {
            "workflow_name": EXAMINE,
            "queue_name": QUEUE,
            "workflow_id": job_id,
            "app_version": WORKFLOW_VERSION,
            "priority": priority.rank,
        }
        self._client.enqueue_in_transaction(session, options, job_id)

    def cancel(self, job_id: str) -> None:
        """Stop a job before its next step; no matter if it has ended."""
        self._client.cancel_workflow(job_id)

    def forget(self, job_id: str) -> None:
        """Delete what DBOS keeps of a job."""
        self._client.delete_workflow(job_id)


def quieten() -> None:
    # DBOS logs a hundred lines on its first start, and tracebacks of jobs that were cancelled.
    logging.getLogger("dbos").setLevel(logging.CRITICAL)
