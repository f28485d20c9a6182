"""A clock that jumps or was wrong deletes nothing."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from deepfake_service.casework.clock_guard import LONGEST_STANDSTILL, TOLERANCE
from deepfake_service.casework.due import GRACE
from deepfake_service.db import Fact, Job
from tests.support.deletionkit import all_entries, examined, sweep
from tests.support.jobkit import blobs
from tests.support.submitting import VIDEO, submit
from tests.unit.service.conftest import Service


@pytest.mark.parametrize("days", [8, 4 * 365, -3])
async def test_a_clock_that_jumps_deletes_nothing(service: Service, days: int) -> None:
    jobs = [await submit(service, VIDEO + bytes([n])) for n in range(3)]
    for job in jobs[:2]:
        examined(service, job)
    sweep(service)
    assert (await service.client.get("/readyz")).status_code == 200
    service.clock.jump(timedelta(days=days))
    for _ in range(2 * 24 * 60 // 120):  # two days of sweeps, here every second hour
        sweep(service)
        service.clock.advance(timedelta(hours=2))
    assert len(blobs(service)) == 3
    with service.database.read() as session:
        assert {j.state for j in session.scalars(select(Job))} == {"succeeded", "queued"}
    refused = await service.client.get("/readyz")
    assert refused.status_code == 503
    assert "deepfake clock accept" in refused.json()["detail"]
    assert "deepfake_clock_trusted 0.0" in (await service.client.get("/metrics")).text
    service.clock.jump(timedelta(days=-days))  # the operator corrects the clock
    assert (await service.client.get("/readyz")).status_code == 200
    for _ in range(3):
        service.clock.advance(timedelta(days=4))
        sweep(service)
    assert not blobs(service)


async def test_a_clock_that_an_operator_accepts_is_trusted_by_all_processes(
    service: Service,
) -> None:
    job = await submit(service)
    examined(service, job)
    sweep(service)
    service.clock.jump(timedelta(days=8))
    sweep(service)
    assert len(blobs(service)) == 1
    from deepfake_service.casework.clock_guard import ClockGuard

    ClockGuard(service.database).accept()  # as `deepfake clock accept`, in another process
    assert (await service.client.get("/readyz")).status_code == 200
    sweep(service)
    assert len(blobs(service)) == 1  # it was only marked
    assert "deepfake_deletions_marked 1.0" in (await service.client.get("/metrics")).text
    service.clock.advance(GRACE)
    sweep(service)
    assert not blobs(service)
    assert any(e.action == "clock.accepted" for e in all_entries(service))


async def test_a_clock_that_was_wrong_at_the_start_deletes_nothing_either(start: Any) -> None:
    async with start() as service:
        job = await submit(service)
        examined(service, job)
        sweep(service)
    for boot, days, problem in (
        ("another", LONGEST_STANDSTILL.days + 1, True),  # a machine that was switched off
        ("another", LONGEST_STANDSTILL.days - 1, False),
        (None, 2, True),  # the same boot: its ticks say that two days have not passed
    ):
        async with start() as service:
            with service.database.write() as session:
                fact = session.get_one(Fact, "clock")
                seen = json.loads(fact.value)
                past = datetime.fromisoformat(seen["at"]) - timedelta(days=days)
                change = {"boot": boot} if boot else {}
                fact.value = json.dumps({**seen, "at": past.isoformat(), **change})
            guard = service.app.state.shared.services.clock_guard
            assert (guard.problem() is not None) is problem
            sweep(service)
            assert len(blobs(service)) == 1
            with service.database.write() as session:
                session.get_one(Fact, "clock").value = json.dumps(seen)


async def test_small_errors_of_the_clock_and_sleep_are_no_jumps(service: Service) -> None:
    guard = service.app.state.shared.services.clock_guard
    for step in (timedelta(minutes=50), timedelta(minutes=-50), timedelta(minutes=50)):
        assert guard.is_trusted()
        service.clock.jump(step)
    service.clock.advance(timedelta(days=30))  # a laptop that slept
    assert guard.is_trusted()
    service.clock.jump(-TOLERANCE - timedelta(minutes=1))
    assert not guard.is_trusted()
