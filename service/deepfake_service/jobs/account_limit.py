"""The limit on jobs of one account that all workers together examine at a time.

DBOS limits workers and queues, not accounts. So jobs of an account beyond its limit are held back
from the queue, and released when others have ended, in the order in which they would be served.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from deepfake_service.db import Database, Job
from deepfake_service.db.enums import UNFINISHED
from deepfake_service.jobs.workflow_rows import DELAYED, ENQUEUED, PENDING, WAITING, WorkflowRows

_LOCK = "account-limit"


class AccountLimit:
    """Holds jobs back. Without ``limit``, those that an earlier limit held back are released."""

    def __init__(self, database: Database, limit: int | None) -> None:
        self._database = database
        self._rows = WorkflowRows(database)
        self._limit = limit
        self._all_released = False

    def hold_back(self, session: Session, job_id: str) -> None:
        """Hold a new job back until ``release`` finds that it may begin, if there is a limit."""
        if self._limit is not None:
            is_job = self._rows.table.c.workflow_uuid == job_id
            self._rows.set_status(session, ENQUEUED, DELAYED, is_job)

    def release(self) -> None:
        """Let as many jobs of each account begin as may, and hold the others back."""
        if self._limit is None:
            self._release_all()
            return
        columns = self._rows.table.c
        held = (
            select(Job.id)
            .join(self._rows.table, columns.workflow_uuid == Job.id)
            .where(Job.state.in_(UNFINISHED), columns.status == DELAYED)
            .limit(1)
        )
        with self._database.read() as session:
            if session.execute(held).first() is None:
                return
        with self._database.write() as session:
            # Two workers that read different states could together let too many begin.
            self._database.one_at_a_time(session, _LOCK)
            must_wait = self._must_wait(self._limit)
            self._rows.set_status(session, ENQUEUED, DELAYED, must_wait)
            self._rows.set_status(session, DELAYED, ENQUEUED, ~must_wait)

    def _release_all(self) -> None:
        """Release what an earlier limit held back, once: nothing is held back any more."""
        if not self._all_released:
            with self._database.write() as session:
                self._rows.set_status(session, DELAYED, ENQUEUED)
            self._all_released = True

    def _must_wait(self, limit: int) -> ColumnElement[bool]:
        """Return the condition that other jobs of its account run, or come before a waiting job.

        Jobs of each version are counted apart: some that wait for a worker of theirs must not hold
        up the others.
        """
        columns = self._rows.table.c
        running = (
            select(Job.account_id, columns.application_version, func.count().label("number"))
            .join(Job, Job.id == columns.workflow_uuid)
            .where(columns.status == PENDING, Job.state.in_(UNFINISHED))
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
            .where(columns.status.in_(WAITING), Job.state.in_(UNFINISHED))
            .subquery()
        )
        return columns.workflow_uuid.in_(
            select(waiting.c.workflow_uuid).where(waiting.c.place > limit)
        )
