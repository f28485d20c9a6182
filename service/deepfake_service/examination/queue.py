"""Queue and cancel jobs in DBOS. This needs no worker in the process."""

from __future__ import annotations

import json
import logging
from typing import Any

from dbos import DBOS, DBOSClient, EnqueueOptions, Serializer
from sqlalchemy.orm import Session

from deepfake_service.cases.turns import queue_rank
from deepfake_service.examination.workflow_rows import APPLICATION, EXAMINE, QUEUE, job_version
from deepfake_service.platform.db import Database, Job


class PlainJson(Serializer):
    """Serialises to JSON instead of DBOS's pickle, so that its tables hold ids and counts alone. An
    exception is stored as the name of its class, because its text may quote content."""

    def serialize(self, data: Any) -> str:
        """Return ``data`` as JSON; see ``Serializer``."""
        return json.dumps(data, default=_plain)

    def deserialize(self, serialized_data: str) -> Any:
        """Return what ``serialize`` wrote; see ``Serializer``."""
        content = json.loads(serialized_data)
        if isinstance(content, dict) and set(content) == {"exception"}:
            return RuntimeError(content["exception"])
        return content

    def name(self) -> str:
        """Return the name that DBOS stores with the data."""
        return "deepfake_service_json"


def _plain(value: Any) -> Any:
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


def quieten() -> None:
    """Silence DBOS, which logs a hundred lines at its first start, and cancelled jobs in full."""
    logging.getLogger("dbos").setLevel(logging.CRITICAL)
