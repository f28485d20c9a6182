"""A clock that leaps deletes nothing before a person has confirmed it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from deepfake_service.retention.due import GRACE, LONGEST_GAP, confirm_clock, is_clock_confirmed
from tests.support.jobs import VIDEO, WEEK, all_entries, blobs, finish, submit, sweep
from tests.unit.service.conftest import Service


@pytest.mark.parametrize("days", [8, 4 * 365, -3])
async def test_a_clock_that_leaps_deletes_nothing(service: Service, days: int) -> None:
    jobs = [await submit(service, VIDEO + bytes([n])) for n in range(3)]
    for job in jobs[:2]:
        finish(service, job["id"], service.clock() + WEEK)
    sweep(service)
    service.clock.jump(timedelta(days=days))
    for _ in range(2 * 24 * 60 // 120):  # two days of sweeps, here every second hour
        sweep(service)
        await service.client.get(f"/v1/cases/{jobs[0]['case_id']}")  # is audited by this clock
        service.clock.advance(timedelta(hours=2))
    assert len(blobs(service)) == 3
    assert "deepfake_deletions_marked 0.0" in (await service.client.get("/metrics")).text


async def test_r3_small_steps_of_the_clock_delete_nothing_in_less_than_the_grace_period(
    service: Service,
) -> None:
    """40 steps of 55 minutes in three seconds were 36 hours."""
    finish(service, (await submit(service))["id"], service.clock() + WEEK)
    sweep(service)
    service.clock.jump(timedelta(days=6.9))  # as after a restart with a wrong clock
    sweep(service)
    for _ in range(2):
        service.clock.jump(LONGEST_GAP - timedelta(minutes=1))
        sweep(service)
    assert len(blobs(service)) == 1


async def test_a_clock_that_a_person_confirms_is_relied_on(service: Service) -> None:
    finish(service, (await submit(service))["id"], service.clock() + WEEK)
    sweep(service)
    service.clock.jump(timedelta(days=8))
    assert not is_clock_confirmed(service.database)
    confirm_clock(service.database)  # as `deepfake clock confirm`, in another process
    sweep(service)
    assert len(blobs(service)) == 1  # it was only marked
    assert "deepfake_deletions_marked 1.0" in (await service.client.get("/metrics")).text
    for _ in range(2):
        service.clock.advance(GRACE / 2 + timedelta(minutes=1))
        sweep(service)
    assert not blobs(service)
    assert any(e.action == "clock.confirmed" for e in all_entries(service))
