"""Deadline batching: classify the crops of concurrent requests together.

A batch starts when it is full, or when its first crop has waited as long as the deadline allows
(Crankshaw et al. 2017, "Clipper", NSDI, section 4.3).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_models.bundle.results import FaceScore
from deepfake_service.platform.errors import ClassificationFailed, NotReady

Classify = Callable[[Sequence[NDArray[np.uint8]]], Sequence[FaceScore]]
"""Maps crops, as in ``Classifier.scores``, to one score each. Called by one thread at a time."""


MAX_SIZE = 32
"""Crops of one batch. Larger batches gain nothing on a CPU."""
MAX_DELAY_S = 0.010
"""How long the first crop of a batch waits for others: little, compared with decoding."""
MAX_QUEUE = 1024
"""Crops that wait, of 150 kB for each square that the model sees."""


@dataclass(slots=True, eq=False)
class _Waiting:
    crop: NDArray[np.uint8]
    since: float
    score: asyncio.Future[FaceScore]


class Batcher:
    """Collects crops and classifies them in batches; an async context manager.

    At most ``max_queue`` crops are queued; callers with more wait for room, in order.
    On leaving the context, the queued crops are still classified and new ones are refused.
    ``on_batch`` is called with the size of each batch, ``on_failure`` when the classifier fails on
    one.
    """

    def __init__(
        self,
        classify: Classify,
        *,
        max_size: int = MAX_SIZE,
        max_delay_s: float = MAX_DELAY_S,
        max_queue: int = MAX_QUEUE,
        on_batch: Callable[[int], None] | None = None,
        on_failure: Callable[[], None] | None = None,
    ) -> None:
        self._classify = classify
        self._max_size = max_size
        self._max_delay_s = max_delay_s
        self._max_queue = max_queue
        self._on_batch = on_batch or (lambda _: None)
        self._on_failure = on_failure or (lambda: None)
        self._waiting: deque[_Waiting] = deque()
        self._room = asyncio.Semaphore(max_queue)
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        # One thread is enough: onnxruntime spreads each batch over the cores.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="classify")

    @property
    def depth(self) -> int:
        """Return the number of queued crops."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Return whether a new crop would have to wait for room in the queue."""
        return len(self._waiting) >= self._max_queue

    @property
    def running(self) -> bool:
        """Return whether crops are accepted."""
        return self._task is not None and not self._task.done() and not self._closing

    async def __aenter__(self) -> Batcher:
        self._task = asyncio.create_task(self._run(), name="batcher")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    async def scores(self, crops: Sequence[NDArray[np.uint8]]) -> list[FaceScore]:
        """Return the scores of ``crops``, as in ``Classifier.scores``, in order.

        If the caller is cancelled, its crops leave the queue without affecting other callers.

        Raises:
            ClassificationFailed: the classifier failed on one of these crops, also by itself.
            NotReady: the batcher is not running.
        """
        queued: list[_Waiting] = []
        try:
            for crop in crops:
                queued.append(await self._enqueue(crop))
            return [await item.score for item in queued]
        finally:
            for item in queued:
                # Cancelling the caller has already cancelled the future that it was waiting for.
                if item.score.cancel() or item.score.cancelled():
                    self._drop(item)
                else:
                    # Retrieve the exception: asyncio logs failures that are never retrieved, such
                    # as that of a later crop when the first one failed.
                    item.score.exception()

    async def _enqueue(self, crop: NDArray[np.uint8]) -> _Waiting:
        await self._room.acquire()
        if not self.running:
            self._room.release()
            raise NotReady
        loop = asyncio.get_running_loop()
        item = _Waiting(crop, loop.time(), loop.create_future())
        self._waiting.append(item)
        self._wake.set()
        return item

    def _drop(self, item: _Waiting) -> None:
        with contextlib.suppress(ValueError):  # it is already in a batch
            self._waiting.remove(item)
            self._room.release()

    async def _run(self) -> None:
        try:
            while await self._due():
                await self._answer(self._take())
        finally:
            self._closing = True
            for item in self._waiting:  # not empty only after a programming error in this class
                _fail(item, NotReady())

    async def _due(self) -> bool:
        """Wait until a batch should start; return false when closing with an empty queue."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            if self._closing or len(self._waiting) >= self._max_size:
                return bool(self._waiting)
            wait = None
            if self._waiting:
                wait = self._waiting[0].since + self._max_delay_s - loop.time()
                if wait <= 0:
                    return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    def _take(self) -> list[_Waiting]:
        batch = [self._waiting.popleft() for _ in range(min(self._max_size, len(self._waiting)))]
        for _ in batch:
            self._room.release()
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        self._on_batch(len(batch))
        try:
            scores = await self._in_thread(batch)
        except Exception as error:
            self._on_failure()
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            await self._one_by_one(batch)
            return
        for item, score in zip(batch, scores, strict=True):
            _resolve(item, score)

    async def _one_by_one(self, batch: list[_Waiting]) -> None:
        """Classify the crops of a failed batch one at a time, so that only the bad one fails."""
        for item in batch:
            if item.score.done():
                continue
            try:
                (score,) = await self._in_thread([item])
            except Exception as error:
                _fail(item, error)
            else:
                _resolve(item, score)

    async def _in_thread(self, batch: list[_Waiting]) -> Sequence[FaceScore]:
        crops = [item.crop for item in batch]
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, _classify_checked, self._classify, crops
        )


def _classify_checked(
    classify: Classify, crops: Sequence[NDArray[np.uint8]]
) -> Sequence[FaceScore]:
    scores = classify(crops)
    values = [v for score in scores for v in (score.logit, *(score.kind_logits or ()))]
    if len(scores) != len(crops) or not all(map(math.isfinite, values)):
        raise ClassificationFailed
    return scores


def _resolve(item: _Waiting, score: FaceScore) -> None:
    if not item.score.done():
        item.score.set_result(score)


def _fail(item: _Waiting, error: Exception) -> None:
    if not item.score.done():
        failure = ClassificationFailed()
        failure.__cause__ = error
        item.score.set_exception(failure)
