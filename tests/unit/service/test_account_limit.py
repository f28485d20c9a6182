"""The limit on jobs of one account that all workers together examine at a time."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from deepfake_service.db.enums import Role
from deepfake_service.jobs.account_limit import AccountLimit
from deepfake_service.jobs.workflow_rows import DELAYED, ENQUEUED, PENDING, WorkflowRows
from tests.support.jobkit import post_video
from tests.unit.service.conftest import Service, Starter

LIMIT = 2


def statuses(service: Service, jobs: Sequence[str]) -> list[str]:
    columns = WorkflowRows(service.database).table.c
    with service.database.read() as session:
        found = session.execute(
            select(columns.workflow_uuid, columns.status).where(columns.workflow_uuid.in_(jobs))
        )
        by_id = {row.workflow_uuid: row.status for row in found}
    return [by_id[job_id] for job_id in jobs]


def set_status(service: Service, job_id: str, status: str) -> None:
    """Do what DBOS does when a worker takes a job from the queue, and when it has ended."""
    rows = WorkflowRows(service.database).table
    with service.database.write() as session:
        session.execute(rows.update().where(rows.c.workflow_uuid == job_id).values(status=status))


async def submitted(
    service: Service, *names: str, role: Role = Role.PIPELINE, priority: str = "batch"
) -> list[str]:
    answers = [
        await post_video(service, f"{role} {name}".encode(), role, priority=priority)
        for name in names
    ]
    return [answer.json()["id"] for answer in answers]


async def test_no_more_jobs_of_an_account_are_queued_than_may_run(start: Starter) -> None:
    async with start(jobs_at_once_per_account=LIMIT) as service:
        limit = AccountLimit(service.database, LIMIT)
        first = await submitted(service, *"abcd")
        assert statuses(service, first) == [DELAYED] * 4
        limit.release()
        assert statuses(service, first) == [ENQUEUED, ENQUEUED, DELAYED, DELAYED]
        other = await submitted(service, "a", role=Role.ANALYST)
        limit.release()
        assert statuses(service, other) == [ENQUEUED], "the limit is each account's own"
        for job_id in first[:2]:
            set_status(service, job_id, PENDING)
        limit.release()
        assert statuses(service, first) == [PENDING, PENDING, DELAYED, DELAYED]
        set_status(service, first[0], "SUCCESS")
        limit.release()
        assert statuses(service, first) == ["SUCCESS", PENDING, ENQUEUED, DELAYED]


async def test_an_urgent_job_takes_the_place_of_one_that_has_not_begun(start: Starter) -> None:
    async with start(jobs_at_once_per_account=LIMIT) as service:
        limit = AccountLimit(service.database, LIMIT)
        low = await submitted(service, *"abc", role=Role.ANALYST, priority="low")
        limit.release()
        set_status(service, low[0], PENDING)
        limit.release()
        assert statuses(service, low) == [PENDING, ENQUEUED, DELAYED]
        urgent = await submitted(service, "d", role=Role.ANALYST, priority="batch")
        limit.release()
        assert statuses(service, [*low, *urgent]) == [PENDING, DELAYED, DELAYED, ENQUEUED]


async def test_without_a_limit_all_jobs_are_queued_and_held_ones_released(start: Starter) -> None:
    async with start(jobs_at_once_per_account=LIMIT) as service:
        jobs = await submitted(service, *"abcd")
        AccountLimit(service.database, LIMIT).release()
        AccountLimit(service.database, None).release()
        assert statuses(service, jobs) == [ENQUEUED] * 4
    async with start() as service:
        assert statuses(service, await submitted(service, "e")) == [ENQUEUED]
