"""Threads and slots that accounts share: slow work of one leaves some to the others."""

from __future__ import annotations

import asyncio
from threading import Event, Semaphore

from deepfake_service.http.admission import AccountThreads
from deepfake_service.inference.fair_slots import FairSlots


async def test_large_pictures_of_one_account_do_not_hold_up_a_small_one_of_another() -> None:
    now, order = 0.0, []
    slots = FairSlots(1, clock=lambda: now)

    async def work(account: str, seconds: float) -> None:
        nonlocal now
        async with slots.slot(account):
            order.append(account)
            await asyncio.sleep(0)
            now += seconds

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(work("large", 2.0))
        await asyncio.sleep(0)
        for _ in range(20):
            group.create_task(work("small", 0.1))
    assert order.index("small") <= 2
    # By their cost, twenty small pictures are one large one.
    assert order[:24].count("small") >= 19


async def test_slow_work_of_one_account_leaves_threads_for_that_of_another() -> None:
    threads, running, done = AccountThreads(2), Semaphore(0), Event()

    def slow() -> None:
        running.release()
        assert done.wait(60)

    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(threads.run("a", slow))
        for _ in range(2):
            assert await asyncio.to_thread(running.acquire, timeout=60)
        assert await threads.run("b", lambda: "answer") == "answer"
        assert not running.acquire(blocking=False)
        done.set()
    assert not threads._limiters


async def test_a_slot_is_given_back_if_its_work_is_cancelled() -> None:
    slots = FairSlots(1)
    held = asyncio.Event()

    async def hold() -> None:
        async with slots.slot("a"):
            held.set()
            await asyncio.sleep(60)

    first = asyncio.create_task(hold())
    await held.wait()
    waiting = [asyncio.create_task(hold()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in [*waiting[:2], first, waiting[2]]:
        task.cancel()
    await asyncio.gather(first, *waiting, return_exceptions=True)
    async with asyncio.timeout(5), slots.slot("b"):
        assert slots._free == 0
    assert slots._free == 1
    assert not slots._charged
    assert not slots._waiting
