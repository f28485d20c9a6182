"""Run tasks in processes, each of which loads what it needs once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from deepfake_models.errors import DeepfakeError

Worker = TypeVar("Worker")
Task = TypeVar("Task")
Result = TypeVar("Result")


class ProcessEnded(DeepfakeError):
    """A process ended unexpectedly, perhaps because memory ran out. Run the same command again to
    resume, with fewer processes if needed."""


def no_progress(*_: object) -> None:
    """Ignore a progress report."""


def run_tasks(
    function: Callable[[Worker, Task], Result],
    tasks: Sequence[Task],
    workers: int,
    start: Callable[[], Worker],
) -> Iterator[Result]:
    """Yield ``function(worker, task)`` of each task, in the order in which they finish.

    Each of ``workers`` processes first makes its worker by ``start``, which can be pickled, as a
    class or a ``partial`` of one can. With 0 workers, everything is done here.

    Raises:
        ProcessEnded: a process ended unexpectedly.
        Exception: whatever ``start`` or ``function`` raises.
    """
    if not tasks:
        return
    if not workers:
        worker = start()
        yield from (function(worker, task) for task in tasks)
        return
    # Forking a process that holds onnxruntime's threads can deadlock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        try:
            for future in as_completed([pool.submit(_perform, start, function, t) for t in tasks]):
                yield future.result()
        except BrokenProcessPool as broken:
            raise ProcessEnded from broken
        finally:
            pool.shutdown(cancel_futures=True)


_worker: Any = None
"""That of this process."""


def _perform(
    start: Callable[[], Any], function: Callable[[Any, Task], Result], task: Task
) -> Result:
    global _worker
    if _worker is None:  # not by an initializer, whose errors an executor does not pass on
        _worker = start()
    return function(_worker, task)
