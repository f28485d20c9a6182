"""The limit on jobs of one account that all workers together examine at a time.

DBOS limits workers and queues, not accounts. So jobs of an account beyond its limit are held back
from the queue, and released when others have ended, in the order in which they would be served.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from deepfake_service.db import Database, Job
from deepfake_service.jobs.workflow_rows import DELAYED, ENQUEUED, PENDING, WAITING, WorkflowRows

_LOCK = "account-limit"


class AccountLimit:
    """Holds jobs back. Without ``limit``, those that an earlier limit held back are released."""

    def __init__(self, database: Database, limit: int | None) -> None:
        self._database = database
        self._rows = WorkflowRows(database)
        self._limit = limit

    def hold_back(self, session: Session, job_id: str) -> None:
        """Hold a new job back until ``release`` finds that it may begin, if there is a limit."""
        if self._limit is not None:
            is_job = self._rows.table.c.workflow_uuid == job_id
            self._rows.set_status(session, ENQUEUED, DELAYED, is_job)

    def release(self) -> None:
        """Let as many jobs of each account begin as may, and hold the others back."""
        columns = self._rows.table.c
        with self._database.read() as session:
            held = select(columns.workflow_uuid).where(columns.status == DELAYED).limit(1)
            if session.execute(held).first() is None:
                return
        with self._database.write() as session:
            if self._limit is None:
                self._rows.set_status(session, DELAYED, ENQUEUED)
                return
            # Two workers that read different states could together let too many begin.
            self._database.one_at_a_time(session, _LOCK)
            may_begin = self._may_begin(self._limit)
            self._rows.set_status(session, ENQUEUED, DELAYED, ~may_begin)
            self._rows.set_status(session, DELAYED, ENQUEUED, may_begin)

    def _may_begin(self, limit: int) -> ColumnElement[bool]:
        """Return the condition that a waiting job is among the first of its account that may begin.

        Jobs of each version are counted apart: some that wait for a worker of theirs must not hold
        up the others.
        """
        columns = self._rows.table.c
        running = (
            select(Job.account_id, columns.application_version, func.count().label("number"))
            .join(Job, Job.id == columns.workflow_uuid)
            .where(columns.status == PENDING)
            .group_by(Job.account_id, columns.application_version)
            .subquery()
        )
        place = func.row_number().over(
            partition_by=(Job.account_id, columns.application_version),
            order_by=(columns.priority, columns.created_at, columns.workflow_uuid),
        )
        waiting = (
            select(
                columns.workflow_uuid,
                (place + func.coalesce(running.c.number, 0)).label("place"),
            )
            .join(Job, Job.id == columns.workflow_uuid)
            .outerjoin(
                running,
                (running.c.account_id == Job.account_id)
                & (running.c.application_version == columns.application_version),
            )
            .where(columns.status.in_(WAITING))
            .subquery()
        )
        return columns.workflow_uuid.in_(
            select(waiting.c.workflow_uuid).where(waiting.c.place <= limit)
        )
