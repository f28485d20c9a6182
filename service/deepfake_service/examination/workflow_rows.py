"""How DBOS knows our jobs: their names, and their rows where DBOS offers no call for a change.

DBOS's tables are in the same database, on PostgreSQL in a schema of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Row,
    String,
    column,
    delete,
    literal_column,
    select,
    table,
)
from sqlalchemy.orm import Session

from deepfake_service.platform.db import Database

APPLICATION, EXAMINE, QUEUE = "deepfake-service", "examine", "examinations"
WORKFLOW_VERSION = "1"
"""Version of the workflow's steps and of their results. Raise it if the worker can no longer resume
a job that an older one began."""
_BUNDLE_CHARS = 32
PENDING, ENQUEUED = "PENDING", "ENQUEUED"
WAITING = (ENQUEUED, "DELAYED")
_IN_QUEUE: list[ColumnElement[str]] = [
    literal_column(f"'{status}'") for status in (ENQUEUED, PENDING)
]
"""Literals, without which SQLite does not use DBOS's index of these rows among all that ended."""


def job_version(bundle_sha256: str) -> str:
    """Return the version of jobs that are examined with a model bundle.

    DBOS gives a worker jobs of its own version only. So another model than the one that a job was
    begun with never goes on with it, nor does a workflow of other steps; see
    ``take_over.py``.
    """
    return f"{WORKFLOW_VERSION}-{bundle_sha256[:_BUNDLE_CHARS]}"


WorkflowRow = Row[str, str, str | None, str | None]
"""The state of a job for DBOS: its ``job_id``, ``status``, ``version`` and ``executor_id``."""


class WorkflowRows:
    """The rows of unfinished jobs that are in the queue, or were taken from it."""

    def __init__(self, database: Database) -> None:
        schema = "dbos" if database.engine.dialect.name == "postgresql" else None
        self.table = table(
            "workflow_status",
            column("workflow_uuid", String),
            column("name", String),
            column("status", String),
            column("application_version", String),
            column("executor_id", String),
            column("queue_name", String),
            column("owner_xid", String),
            column("priority", Integer),
            column("created_at", BigInteger),
            column("started_at_epoch_ms", BigInteger),
            column("recovery_attempts", BigInteger),
            schema=schema,
        )
        self._steps = table("operation_outputs", column("workflow_uuid", String), schema=schema)

    def versions(self, session: Session) -> set[str]:
        """Return the versions of unfinished jobs."""
        columns = self.table.c
        found = session.scalars(
            select(columns.application_version)
            .where(columns.queue_name == QUEUE, columns.status.in_(_IN_QUEUE))
            .distinct()
        )
        return {version for version in found if version is not None}

    def unfinished(
        self,
        session: Session,
        version: str,
        *conditions: ColumnElement[bool],
        limit: int | None = None,
    ) -> Sequence[WorkflowRow]:
        """Return the first unfinished jobs of a version, in the order of the queue."""
        columns = self.table.c
        return session.execute(
            select(
                columns.workflow_uuid.label("job_id"),
                columns.status,
                columns.application_version.label("version"),
                columns.executor_id,
            )
            .where(
                columns.queue_name == QUEUE,
                columns.status.in_(_IN_QUEUE),
                columns.application_version == version,
                *conditions,
            )
            .order_by(columns.priority, columns.created_at)
            .limit(limit)
        ).all()

    def lock(self, session: Session, row: WorkflowRow) -> bool:
        """Lock ``row`` in this transaction, and return whether it is still as it was."""
        columns = self.table.c
        found = session.execute(
            select(columns.workflow_uuid)
            .where(
                columns.workflow_uuid == row.job_id,
                columns.status == row.status,
                columns.application_version == row.version,
                columns.executor_id.is_not_distinct_from(row.executor_id),
            )
            .with_for_update()
        ).first()
        return found is not None

    def requeue(self, session: Session, job_id: str, version: str) -> None:
        """Queue a job, which ``lock`` has locked, for workers of ``version``."""
        session.execute(
            self.table.update()
            .where(self.table.c.workflow_uuid == job_id)
            .values(
                status=ENQUEUED,
                application_version=version,
                queue_name=QUEUE,
                executor_id=None,
                owner_xid=None,
                started_at_epoch_ms=None,
                recovery_attempts=0,
            )
        )

    def forget_steps(self, session: Session, job_id: str) -> None:
        """Delete the results of a job's steps, so that it begins anew."""
        session.execute(delete(self._steps).where(self._steps.c.workflow_uuid == job_id))
