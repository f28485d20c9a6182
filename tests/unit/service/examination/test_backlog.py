"""The signals to scale by: what waits, which workers live, and how many are wanted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from deepfake_service.examination.backlog import DEFAULT_SECONDS, QueueState, queue_state
from deepfake_service.examination.queue import job_version
from deepfake_service.platform.db import Job, Lease
from deepfake_service.platform.enums import JobState, Priority
from tests.support.jobs import post_video
from tests.unit.service.conftest import Service

SLOTS = 2


@pytest.fixture(autouse=True)
def target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepfake_service.examination.backlog.TARGET_WAIT_S", 20.0)


def state_of(service: Service) -> QueueState:
    state = queue_state(service.database, SLOTS)
    assert state is not None
    return state


async def queued(service: Service, *names: str, priority: str = "batch") -> list[str]:
    """Submit videos, which wait because there is no worker."""
    answers = [await post_video(service, name.encode(), priority=priority) for name in names]
    return [answer.json()["id"] for answer in answers]


def add_worker(service: Service, name: str, slots: int, bundle: str = "0" * 64) -> None:
    with service.database.write() as session:
        expires_at = service.clock() + timedelta(seconds=10)
        version = job_version(bundle)
        session.add(Lease(executor_id=name, expires_at=expires_at, version=version, slots=slots))


async def test_waiting_jobs_are_counted_by_priority_with_the_age_of_the_oldest(
    service: Service,
) -> None:
    await queued(service, "first")
    service.clock.advance(timedelta(seconds=3000))
    first, *_ = await queued(service, "second", "third", priority="low")
    service.clock.advance(timedelta(seconds=1200))
    state = state_of(service)
    assert state.waiting == {"live": 0, "batch": 1, "low": 2}
    assert state.oldest_s == pytest.approx({"live": 0, "batch": 4200, "low": 1200}, abs=60)
    with service.database.write() as session:
        session.get_one(Job, first).state = JobState.RUNNING
    state = state_of(service)
    assert state.waiting["low"] == 1
    assert list(state.waiting) == [str(priority) for priority in Priority]


async def test_workers_that_renew_their_lease_are_alive(service: Service) -> None:
    add_worker(service, "one", 2)
    service.clock.advance(timedelta(seconds=8))
    add_worker(service, "two", 2)
    with service.database.write() as session:  # not a worker, and a worker of an older program
        for name in ("taking-over", "old"):
            session.add(Lease(executor_id=name, expires_at=service.clock() + timedelta(hours=1)))
    state = state_of(service)
    assert state.workers_alive == 2
    service.clock.advance(timedelta(seconds=4))
    state = state_of(service)
    assert state.workers_alive == 1


async def test_jobs_whose_model_no_worker_has_are_counted(service: Service) -> None:
    await queued(service, "first", "second")
    add_worker(service, "other", 2, bundle="f" * 64)
    state = state_of(service)
    assert state.without_worker == 2
    add_worker(service, "same", 2)
    state = state_of(service)
    assert state.without_worker == 0


async def test_the_wanted_workers_follow_from_the_backlog_and_the_time_a_job_takes(
    service: Service,
) -> None:
    state = state_of(service)
    assert state.workers_wanted == 1  # workers delete and notify, even if nothing waits
    jobs = await queued(service, *map(str, range(9)))

    def wanted() -> int:
        return state_of(service).workers_wanted

    # 9 jobs of 10 s in 20 s are 4.5 at a time, on workers with two each.
    assert DEFAULT_SECONDS == 10.0
    assert wanted() == 3
    with service.database.write() as session:
        job = session.get_one(Job, jobs[0])
        job.started_at = now = service.clock()
        job.finished_at = now + timedelta(seconds=30)
        job.state = JobState.SUCCEEDED
        session.get_one(Job, jobs[1]).state = JobState.RUNNING
    # 7 jobs of 30 s in 20 s are 10.5 at a time, and one runs.
    assert wanted() == 6
    add_worker(service, "large", 12)
    assert wanted() == 1


async def test_figures_are_left_out_while_the_database_does_not_answer(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("", {}, Exception())

    monkeypatch.setattr(service.database, "_session", fail)
    assert queue_state(service.database, SLOTS) is None


async def test_the_gauges_have_the_names_that_scalers_ask_for(service: Service) -> None:
    add_worker(service, "one", 2)
    await queued(service, "first")
    text = (await service.client.get("/metrics")).text
    for line in (
        'deepfake_jobs_waiting{priority="live"} 0.0',
        'deepfake_jobs_waiting{priority="batch"} 1.0',
        'deepfake_jobs_oldest_waiting_seconds{priority="live"} 0.0',
        "deepfake_jobs_without_worker 0.0",
        "deepfake_workers_alive 1.0",
        "deepfake_workers_wanted 1.0",
    ):
        assert f"\n{line}\n" in text, line
