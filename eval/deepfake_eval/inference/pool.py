"""Run tasks in processes, each of which loads what it needs once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from deepfake_models.errors import DeepfakeError

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Processes:
    """How many processes do the tasks, each of which first calls ``start(*arguments)``."""

    workers: int
    start: Callable[..., None]
    arguments: tuple[Any, ...]


def allowed_processes(wanted: int) -> int:
    """Return ``wanted``, or 0 in a process that may not have children.

    Dask's nanny starts workers of that kind.
    """
    return 0 if multiprocessing.current_process().daemon else wanted


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    processes: Processes,
    *,
    name: Callable[[Task], str],
    error: type[DeepfakeError],
) -> Iterator[Result]:
    """Yield ``function(task)`` of each task, in the order in which they finish.

    With 0 workers, and in a process that may not have children, everything is done here.

    Raises:
        error: a process ended unexpectedly. The message has the names of the tasks that the
            processes may have been working on.
        Exception: whatever ``start`` or ``function`` raises.
    """
    if not tasks:
        return
    workers = processes.workers
    if not allowed_processes(workers):
        processes.start(*processes.arguments)
        yield from map(function, tasks)
        return
    # Forking a process that holds onnxruntime's threads can deadlock.
    context = multiprocessing.get_context("spawn")
    running: dict[Future[Result], Task] = {}
    with ProcessPoolExecutor(
        workers, context, initializer=_begin, initargs=(processes.start, processes.arguments)
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
        except BrokenProcessPool as broken:
            # A new task may have met the broken pool before these results were taken.
            yield from [future.result() for future in running if _succeeded(future)]
            lost = [name(task) for future, task in running.items() if not _succeeded(future)]
            work = f", while working on {' or '.join(lost[:workers])}" if lost else ""
            raise error(
                f"A process ended unexpectedly, perhaps because memory ran out{work}; run the same "
                "command again to resume, with fewer processes if needed."
            ) from broken
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
