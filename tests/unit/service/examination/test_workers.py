"""Who takes over jobs that no worker goes on with, and when.

The jobs here were accepted with another model bundle than the one of the worker that looks.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import column, func, select, table

from deepfake_service.audit.log import Action
from deepfake_service.examination import queue, workers
from deepfake_service.examination.queue import CANCELLED, ENQUEUED, PENDING, JobQueue, job_version
from deepfake_service.examination.workers import BEAT_S, LEASE_S, UNCLAIMED_AFTER_S, Rescue
from deepfake_service.platform.db import AuditEntry, Job, Lease
from deepfake_service.platform.enums import JobStage, JobState
from tests.support.jobs import OF_TAKER, post_video
from tests.unit.service.conftest import Service

OF_JOBS = "0" * 64
TAKE_OVER_S = 60.0


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "TAKE_OVER_S", TAKE_OVER_S)


class Worker:
    """A worker that looks for jobs to take over, and whose time passes when a test says so."""

    def __init__(self, service: Service, bundle_sha256: str = OF_TAKER) -> None:
        self._service = service
        self._now = 0.0
        self.version = job_version(bundle_sha256)
        self._rescue = Rescue(
            service.database,
            service.app.state.shared.services.queue,
            "the-taker",
            bundle_sha256,
            set(),
            ticks=lambda: self._now,
        )

    def look_for(self, seconds: float) -> None:
        """Look every few seconds, while the leases of living workers change."""
        for _ in range(1 + int(seconds / BEAT_S)):
            self._let_others_live()
            self._rescue.look()
            self._now += BEAT_S

    def _let_others_live(self) -> None:
        with self._service.database.write() as session:
            for lease in session.scalars(select(Lease).where(Lease.executor_id.like("alive%"))):
                lease.expires_at += timedelta(seconds=1)


def add_lease(service: Service, name: str, version: str | None) -> None:
    with service.database.write() as session:
        session.add(Lease(executor_id=name, expires_at=service.clock(), version=version, slots=1))


async def submitted(service: Service, name: str = "one") -> str:
    answer = await post_video(service, name.encode())
    job_id: str = answer.json()["id"]
    return job_id


def table_of(service: Service, name: str, *names: str) -> Any:
    """Return one of DBOS's tables, to make a state that a worker which died has left."""
    schema = "dbos" if service.database.engine.dialect.name == "postgresql" else None
    return table(name, *map(column, names), schema=schema)


def row_of(service: Service, job_id: str) -> tuple[str, str]:
    """Return the status and the version of a job for DBOS."""
    rows = table_of(service, "workflow_status", "workflow_uuid", "status", "application_version")
    with service.database.read() as session:
        found = session.execute(
            select(rows.c.status, rows.c.application_version).where(rows.c.workflow_uuid == job_id)
        ).one()
    return (found[0], found[1])


def change_row(service: Service, job_id: str, **values: Any) -> None:
    rows = table_of(service, "workflow_status", "workflow_uuid", *values)
    with service.database.write() as session:
        session.execute(rows.update().where(rows.c.workflow_uuid == job_id).values(**values))


def begin(service: Service, job_id: str, executor_id: str = "dead") -> None:
    """Make a job one that a worker has taken up, with one step done, and died."""
    change_row(service, job_id, status=PENDING, executor_id=executor_id)
    with service.database.write() as session:
        job = session.get_one(Job, job_id)
        job.state, job.started_at, job.stage = JobState.RUNNING, service.clock(), "overview"
        job.overview, job.done, job.total = 32, 16, 32
        steps = _steps(service)
        session.execute(
            steps.insert().values(
                workflow_uuid=job_id,
                function_id=1,
                function_name="plan_overview",
                retention_timestamp=0,
            )
        )


def _steps(service: Service) -> Any:
    names = ("workflow_uuid", "function_id", "function_name", "retention_timestamp")
    return table_of(service, "operation_outputs", *names)


def steps_of(service: Service, job_id: str) -> int:
    steps = _steps(service)
    with service.database.read() as session:
        return session.scalar(select(func.count()).where(steps.c.workflow_uuid == job_id)) or 0


def job_of(service: Service, job_id: str) -> Job:
    with service.database.read() as session:
        return session.get_one(Job, job_id)


def reassigned(service: Service) -> list[tuple[str | None, str | None]]:
    with service.database.read() as session:
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.action == str(Action.JOB_REASSIGNED))
        )
        return [(entry.subject, entry.detail) for entry in entries]


async def test_a_new_job_of_a_model_that_no_worker_has_is_taken_after_a_while(
    service: Service,
) -> None:
    job_id = await submitted(service)
    worker = Worker(service)
    worker.look_for(UNCLAIMED_AFTER_S - 2 * BEAT_S)
    assert row_of(service, job_id) == (ENQUEUED, job_version(OF_JOBS))
    worker.look_for(2 * BEAT_S)
    assert row_of(service, job_id) == (ENQUEUED, worker.version)
    assert job_of(service, job_id).bundle_sha256 == OF_TAKER
    assert reassigned(service) == [(job_id, OF_TAKER)]


async def test_jobs_of_a_living_worker_are_left_to_it(service: Service) -> None:
    add_lease(service, "alive", job_version(OF_JOBS))
    waiting, begun = await submitted(service, "one"), await submitted(service, "two")
    begin(service, begun, "alive")
    Worker(service).look_for(10 * TAKE_OVER_S)
    assert row_of(service, waiting) == (ENQUEUED, job_version(OF_JOBS))
    assert row_of(service, begun) == (PENDING, job_version(OF_JOBS))
    assert job_of(service, begun).state == JobState.RUNNING
    assert not reassigned(service)


async def test_a_job_that_was_begun_waits_for_its_model_and_is_then_examined_anew(
    service: Service,
) -> None:
    add_lease(service, "dead", job_version(OF_JOBS))
    job_id = await submitted(service)
    begin(service, job_id)
    worker = Worker(service)
    worker.look_for(LEASE_S - BEAT_S)
    assert job_of(service, job_id).state == JobState.RUNNING, "its worker may still live"
    worker.look_for(2 * BEAT_S)
    job = job_of(service, job_id)
    assert (job.state, job.stage) == (JobState.QUEUED, JobStage.AWAITING_MODEL)
    worker.look_for(TAKE_OVER_S - LEASE_S)
    assert row_of(service, job_id) == (PENDING, job_version(OF_JOBS))
    assert (job_of(service, job_id).bundle_sha256, steps_of(service, job_id)) == (OF_JOBS, 1)
    worker.look_for(LEASE_S + BEAT_S)
    assert row_of(service, job_id) == (ENQUEUED, worker.version)
    job = job_of(service, job_id)
    assert (job.bundle_sha256, job.started_at, job.stage) == (OF_TAKER, None, None)
    assert (job.overview, job.done, job.total) == (None, 0, None)
    assert steps_of(service, job_id) == 0
    assert reassigned(service) == [(job_id, OF_TAKER)]


async def test_a_job_that_is_about_to_begin_is_not_queued_again(service: Service) -> None:
    """What a worker is given and does not run yet is left to it until the next look."""
    worker = Worker(service, OF_JOBS)
    add_lease(service, "the-taker", worker.version)
    given = await submitted(service, "given")
    begin(service, given, "the-taker")
    worker.look_for(0)
    assert row_of(service, given)[0] == PENDING
    worker.look_for(0)
    assert row_of(service, given)[0] == ENQUEUED


async def test_a_job_that_another_worker_has_queued_again_is_left_alone(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(service, OF_JOBS)
    job_id = await submitted(service)
    begin(service, job_id, "dead")
    worker.look_for(0)
    listed = JobQueue.listed

    def overtaken(*arguments: Any) -> Any:
        found = listed(*arguments)
        change_row(service, job_id, executor_id="the-other")  # which runs it by now
        return found

    monkeypatch.setattr(JobQueue, "listed", overtaken)
    worker.look_for(0)
    assert row_of(service, job_id)[0] == PENDING


@pytest.mark.parametrize("bundle", [OF_JOBS, OF_TAKER])
async def test_a_job_whose_taker_died_in_the_middle_of_it_is_not_lost(
    service: Service, bundle: str
) -> None:
    job_id = await submitted(service)
    begin(service, job_id)
    service.app.state.shared.services.queue.cancel(job_id)
    Worker(service, bundle).look_for(BEAT_S)
    assert row_of(service, job_id) == (ENQUEUED, job_version(OF_JOBS))
    assert steps_of(service, job_id) == 0


async def test_a_job_that_a_person_cancelled_stays_so(service: Service) -> None:
    job_id = await submitted(service)
    with service.database.write() as session:
        session.get_one(Job, job_id).state = JobState.CANCELLED
    service.app.state.shared.services.queue.cancel(job_id)
    await submitted(service, "another")
    Worker(service).look_for(BEAT_S)
    assert row_of(service, job_id)[0] == CANCELLED


async def test_the_wait_begins_again_when_a_worker_of_the_model_was_there(
    service: Service,
) -> None:
    job_id = await submitted(service)
    begin(service, job_id)
    worker = Worker(service)
    worker.look_for(TAKE_OVER_S - BEAT_S)
    add_lease(service, "alive-again", job_version(OF_JOBS))
    worker.look_for(BEAT_S)
    with service.database.write() as session:
        session.delete(session.get_one(Lease, "alive-again"))
    worker.look_for(TAKE_OVER_S - BEAT_S)
    assert row_of(service, job_id) == (PENDING, job_version(OF_JOBS))


async def test_another_workflow_is_another_version(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await submitted(service)
    begin(service, job_id)
    monkeypatch.setattr(queue, "WORKFLOW_VERSION", "2")
    monkeypatch.setattr(JobQueue, "workflow_versions", lambda _: {"1"})
    worker = Worker(service, OF_JOBS)
    worker.look_for(TAKE_OVER_S - 2 * BEAT_S)
    assert row_of(service, job_id)[0] == PENDING
    worker.look_for(2 * BEAT_S)
    assert row_of(service, job_id) == (ENQUEUED, worker.version)
    assert steps_of(service, job_id) == 0
