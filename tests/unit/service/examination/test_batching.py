from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_models.bundle.results import FaceScore
from deepfake_service.examination.batching import Batcher
from deepfake_service.platform.errors import ClassificationFailed, NotReady

Crop = NDArray[np.uint8]
BAD = 255


class Recorder:
    """Returns the value of each crop as its logit, and records the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.threads: set[int] = set()

    def __call__(self, crops: Sequence[Crop]) -> list[FaceScore]:
        assert self.gate.wait(60)
        values = np.stack(crops)[:, 0, 0, 0]
        self.batches.append(values.tolist())
        self.threads.add(threading.get_ident())
        if (values == BAD).any():
            raise ValueError("one of these is bad")
        return scores(*values.tolist())


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def scores(*values: float) -> list[FaceScore]:
    return [FaceScore(float(v)) for v in values]


def crops(*values: int) -> list[Crop]:
    return [np.full((4, 4, 3), v, np.uint8) for v in values]


def batcher(
    classify: Callable[[Sequence[Crop]], list[FaceScore]],
    *,
    max_size: int = 8,
    max_delay_s: float = 0.02,
    max_queue: int = 64,
) -> Batcher:
    return Batcher(classify, max_size=max_size, max_delay_s=max_delay_s, max_queue=max_queue)


async def waiting(b: Batcher, depth: int) -> None:
    async with asyncio.timeout(20):
        while b.depth != depth:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_concurrent_requests_share_batches_and_get_their_own_back(
    recorder: Recorder,
) -> None:
    async with batcher(recorder, max_size=16, max_delay_s=0.05) as b:
        wanted = [[i, i + 100] for i in range(20)]
        got = await asyncio.gather(*(b.scores(crops(*v)) for v in wanted))
    assert got == [scores(*v) for v in wanted]
    assert [len(batch) for batch in recorder.batches] == [16, 16, 8]
    assert len(recorder.threads) == 1
    assert threading.get_ident() not in recorder.threads


@pytest.mark.slow
async def test_the_deadline_counts_from_the_first_crop(recorder: Recorder) -> None:
    async with batcher(recorder, max_delay_s=2.0) as b:
        started = time.monotonic()
        first = asyncio.create_task(b.scores(crops(1)))
        await asyncio.sleep(1.5)
        second = asyncio.create_task(b.scores(crops(2)))
        await asyncio.gather(first, second)
        taken = time.monotonic() - started
    assert recorder.batches == [[1, 2]]
    # Counted from the second crop, it would end after 3.5 s. A busy machine may be late.
    assert 1.99 <= taken < 3.4


async def test_a_full_batch_does_not_wait(recorder: Recorder) -> None:
    async with batcher(recorder, max_size=4, max_delay_s=30) as b, asyncio.timeout(20):
        await b.scores(crops(1, 2, 3, 4))
    assert recorder.batches == [[1, 2, 3, 4]]


async def test_no_crops_need_no_batch(recorder: Recorder) -> None:
    async with batcher(recorder) as b:
        assert await b.scores([]) == []
    assert recorder.batches == []


async def test_a_bad_crop_fails_alone(recorder: Recorder) -> None:
    failures: list[None] = []
    b = Batcher(
        recorder,
        max_size=8,
        max_delay_s=0.02,
        max_queue=64,
        on_failure=lambda: failures.append(None),
    )
    async with b:
        calls = (b.scores(crops(1, 2)), b.scores(crops(3, BAD)), b.scores(crops(4)))
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert results[0] == scores(1, 2)
    assert isinstance(results[1], ClassificationFailed)
    assert isinstance(results[1].__cause__, ValueError)
    assert results[2] == scores(4)
    assert recorder.batches == [[1, 2, 3, BAD, 4], [1], [2], [3], [BAD], [4]]
    assert len(failures) == 1


@pytest.mark.parametrize(
    "result",
    [
        scores(np.nan),
        scores(np.inf),
        scores(0.0, 0.0),
        [],
        [FaceScore(0.0, (0.0, np.nan))],
    ],
)
async def test_what_is_no_logit_is_a_failure_and_never_a_score(result: list[FaceScore]) -> None:
    async with batcher(lambda _: result) as b:
        with pytest.raises(ClassificationFailed):
            await b.scores(crops(1))
        assert b.running


async def test_crops_of_different_sizes_do_not_spoil_each_other(recorder: Recorder) -> None:
    async with batcher(recorder) as b:
        odd = [np.full((2, 2, 3), 7, np.uint8)]
        assert await asyncio.gather(b.scores(crops(1)), b.scores(odd)) == [scores(1), scores(7)]


async def test_who_is_cancelled_leaves_the_queue_and_the_others_stay(recorder: Recorder) -> None:
    recorder.gate.clear()
    async with batcher(recorder, max_size=2, max_delay_s=0) as b:
        running = asyncio.create_task(b.scores(crops(1, 2)))
        await asyncio.sleep(0.05)
        going = asyncio.create_task(b.scores(crops(3, 4, 5)))
        staying = asyncio.create_task(b.scores(crops(6)))
        await waiting(b, 4)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert b.depth == 1
        running.cancel()  # its batch has started: it finishes, and its result is dropped
        recorder.gate.set()
        assert await staying == scores(6)
        assert await b.scores(crops(9)) == scores(9)
    assert recorder.batches == [[1, 2], [6], [9]]


async def test_who_finds_the_queue_full_waits_for_room_in_order(recorder: Recorder) -> None:
    recorder.gate.clear()
    async with batcher(recorder, max_size=2, max_delay_s=0, max_queue=3) as b:
        tasks = [asyncio.create_task(b.scores(crops(i))) for i in range(8)]
        await waiting(b, 3)
        assert b.full
        tasks.append(asyncio.create_task(b.scores(crops(8))))
        await asyncio.sleep(0.02)
        assert b.depth == 3
        tasks[6].cancel()
        recorder.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not b.full
    assert [r for i, r in enumerate(results) if i != 6] == [scores(i) for i in range(9) if i != 6]
    assert [v for batch in recorder.batches for v in batch] == [0, 1, 2, 3, 4, 5, 7, 8]


async def test_closing_classifies_what_waits_and_refuses_what_comes(recorder: Recorder) -> None:
    recorder.gate.clear()
    b = batcher(recorder, max_size=2, max_delay_s=30, max_queue=3)
    async with b:
        tasks = [asyncio.create_task(b.scores(crops(i))) for i in range(3)]
        await waiting(b, 1)
        closing = asyncio.create_task(b.__aexit__())
        await asyncio.sleep(0.01)
        assert not b.running
        with pytest.raises(NotReady):
            await b.scores(crops(9))
        recorder.gate.set()
        await closing
        assert await asyncio.gather(*tasks) == [scores(0), scores(1), scores(2)]
    with pytest.raises(NotReady):
        await b.scores(crops(9))
    assert recorder.batches == [[0, 1], [2]]


async def test_who_waits_for_room_when_it_closes_is_told(recorder: Recorder) -> None:
    recorder.gate.clear()
    async with batcher(recorder, max_size=1, max_delay_s=0, max_queue=1) as b:
        tasks = [asyncio.create_task(b.scores(crops(i))) for i in range(5)]
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(b.__aexit__())
        await asyncio.sleep(0.01)
        recorder.gate.set()
        await closing
        async with asyncio.timeout(20):
            results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[:2] == [scores(0), scores(1)]
    assert all(isinstance(r, NotReady) for r in results[2:])


async def test_a_batcher_that_never_ran_refuses(recorder: Recorder) -> None:
    with pytest.raises(NotReady):
        await batcher(recorder).scores(crops(1))
