"""A worker that has nothing to do asks the database little, and begins again with the next job."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from sqlalchemy import select

from deepfake_service.examination import runner, workers
from deepfake_service.examination.runner import Runner
from deepfake_service.examination.steps import JobOver
from deepfake_service.platform.chores import Chore, Waiting, wake_due
from deepfake_service.platform.db import Job
from deepfake_service.platform.enums import JobState
from tests.support.jobs import post_video
from tests.support.servers import wait_until
from tests.unit.service.conftest import Service

OF_JOBS = "0" * 64


class Ending:
    """Steps of jobs that end as soon as they begin."""

    model = OF_JOBS

    def __init__(self, service: Service) -> None:
        self.stopping = threading.Event()
        self.ended: list[str] = []
        self._database = service.database

    def claim_job(self, job_id: str) -> None:
        with self._database.write() as session:
            session.get_one(Job, job_id).state = JobState.SUCCEEDED
        self.ended.append(job_id)
        raise JobOver


def threads_of_dbos() -> list[str]:
    return [each.name for each in threading.enumerate() if "queue-worker" in each.name]


async def test_a_worker_runs_dbos_while_there_are_jobs_alone(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "IDLE_S", 2.0)
    monkeypatch.setattr(workers, "BEAT_S", 0.2)
    services, steps = service.app.state.shared.services, Ending(service)
    given: Any = steps
    worker = Runner(service.database, services.queue, given, services.settings, lambda *_: None)

    def wake() -> None:
        wake_due(service.database, [Waiting(worker.is_due, worker.wake)])

    await asyncio.to_thread(worker.start)
    try:
        for name in (b"one", b"two", b"three"):
            wait_until(lambda: not threads_of_dbos(), within_s=30)
            await asyncio.to_thread(wake)
            assert not threads_of_dbos(), "nothing waits"
            job_id = (await post_video(service, name)).json()["id"]
            await asyncio.to_thread(wake)
            wait_until(lambda job_id=job_id: steps.ended[-1:] == [job_id], within_s=30)
    finally:
        await asyncio.to_thread(worker.stop, drain_s=0)
    assert len(steps.ended) == len(set(steps.ended)) == 3
    assert not threads_of_dbos()


async def test_only_what_waits_is_woken(service: Service) -> None:
    done = threading.Semaphore(0)
    chores = [Chore(name, done.release) for name in ("jobs", "no jobs")]
    any_job = select(Job.id).exists()
    waiting = [
        Waiting(lambda _: any_job, chores[0].wake),
        Waiting(lambda _: ~any_job, chores[1].wake),
    ]
    try:
        wake_due(service.database, waiting)
        assert done.acquire(timeout=30)
        assert not done.acquire(timeout=0.2)
    finally:
        for chore in chores:
            chore.stop()
