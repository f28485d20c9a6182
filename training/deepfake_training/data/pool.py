"""Run tasks in processes, each of which loads what it needs once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from deepfake_training.errors import TrainingError

Task = TypeVar("Task")
Result = TypeVar("Result")


def allowed_processes(wanted: int) -> int:
    """Return ``wanted``, or 0 in a process that may not have children.

    Dask's nanny starts workers of that kind.
    """
    return 0 if multiprocessing.current_process().daemon else wanted


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    start: Callable[..., None],
    arguments: tuple[Any, ...],
    name: Callable[[Task], str],
) -> Iterator[Result]:
    """Yield ``function(task)`` of each task, in the order in which they finish.

    Each of the processes first calls ``start(*arguments)``. With 0 workers, and in a process that
    may not have children, everything is done here.

    Raises:
        TrainingError: a process ended unexpectedly. The message has the names of the tasks that the
            processes may have been working on.
        Exception: whatever ``start`` or ``function`` raises.
    """
    if not tasks:
        return
    if not allowed_processes(workers):
        start(*arguments)
        yield from map(function, tasks)
        return
    # Forking a process that holds onnxruntime's threads can deadlock.
    context = multiprocessing.get_context("spawn")
    running: dict[Future[Result], Task] = {}
    with ProcessPoolExecutor(
        workers, context, initializer=_begin, initargs=(start, arguments)
    ) as pool:
        remaining = iter(tasks)
        try:
            while True:
                for task in remaining:
                    running[pool.submit(_perform, function, task)] = task
                    if len(running) >= 2 * workers:
                        break
                if not running:
                    return
                done = wait(running, return_when=FIRST_COMPLETED).done
                # What succeeded first, so that it is not lost with what failed.
                for future in sorted(done, key=_succeeded, reverse=True):
                    result = future.result()
                    del running[future]
                    yield result
        except BrokenProcessPool as error:
            lost = [task for future, task in running.items() if not _succeeded(future)]
            raise TrainingError(
                "a process ended unexpectedly, perhaps because memory ran out, while working on "
                f"{' or '.join(map(name, lost[:workers]))}; run the same command again to resume, "
                "with fewer processes if needed"
            ) from error
        finally:
            for future in running:
                future.cancel()


_failure: Exception | None = None
"""What ``start`` raised in this process: an executor would only report that the process ended."""


def _begin(start: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    global _failure
    try:
        start(*arguments)
    except Exception as error:  # raised by the first task, so that it reaches the caller
        _failure = error


def _perform(function: Callable[[Task], Result], task: Task) -> Result:
    if _failure is not None:
        raise _failure
    return function(task)


def _succeeded(future: Future[Any]) -> bool:
    return future.done() and future.exception() is None
