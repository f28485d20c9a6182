"""Work that a process repeats: tasks in threads of their own, and the rows of a sweep."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, select

from deepfake_service.platform.db import Database
from deepfake_service.platform.errors import DatabaseDamaged, DatabaseUnavailable
from deepfake_service.platform.logs import describe, logger

FAILING_S = 60.0
"""How long the rows that fail may take together. A store that does not answer takes half a minute
for each, and the sweep has more to do than what needs the store."""

LOOK_AGAIN_S = 1.0
"""How long a lane looks for nothing further that is due while hosts do not answer."""

_log = logger("deepfake_service.chores")


class Chore:
    """A task that its own thread repeats every ``every_s`` seconds, or whenever it is woken. A
    failure is logged, and the task is tried again at its next time."""

    def __init__(self, name: str, task: Callable[[], object], every_s: float | None = None) -> None:
        self._name, self._task, self._every_s = name, task, every_s
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Do the task now, or once more if it is being done."""
        self._wake.set()

    def stop(self) -> None:
        """Stop after the current run of the task, and wait up to five seconds for it."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while True:
            self._wake.wait(self._every_s)
            if self._stopping.is_set():
                return
            self._wake.clear()
            try:
                self._task()
            except DatabaseUnavailable as error:  # some chores meet it every second
                _log.warning("database_unavailable", chore=self._name, problem=error.message)
            except Exception as error:  # a thread that ended would go unnoticed
                _log.error("chore_failed", chore=self._name, failure=describe(error))


@dataclass(frozen=True, slots=True)
class Waiting:
    """The condition that something waits at a time, and what it wakes."""

    condition: Callable[[datetime], ColumnElement[bool]]
    wake: Callable[[], None]


def wake_due(database: Database, waiting: Sequence[Waiting]) -> None:
    """Wake those for which something waits: one question to the database for all of them, so that
    an idle process asks little."""
    now = database.clock()
    with database.read() as session:
        found = session.execute(select(*(each.condition(now) for each in waiting))).one()
    for each, is_due in zip(waiting, found, strict=True):
        if is_due:
            each.wake()


D = TypeVar("D")


class Lane(ABC, Generic[D]):
    """Does what is due in threads of its own, one thing at a time at each place, such as a host:
    what takes long holds up nothing but what is due there. One thread starts what is due. Several
    processes may have a lane: ``_claim`` keeps two from doing the same."""

    def __init__(self, name: str, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most = threads
        self._closing = threading.Event()
        self._running: dict[str, Future[None]] = {}

    @staticmethod
    @abstractmethod
    def is_due(now: datetime) -> ColumnElement[bool]:
        """Return the condition that something waits."""

    @abstractmethod
    def _claim(self, free: int, busy: set[str]) -> Mapping[str, D]:
        """Claim up to ``free`` things that are due, by their places, none of which is ``busy``."""

    @abstractmethod
    def _do(self, due: D) -> None:
        """Do what was claimed."""

    def run_due(self) -> None:
        """Do what is due, and at each place the next thing as soon as that is done. Return once
        nothing is due at a place that is idle, or after ``stop``."""
        while started := self.start_due():
            wait(started, LOOK_AGAIN_S, FIRST_COMPLETED)

    def start_due(self) -> list[Future[None]]:
        """Start what is due, as far as threads are free, and do not wait. Raise what something that
        has ended raised."""
        for place in [place for place, each in self._running.items() if each.done()]:
            self._running.pop(place).result()
        busy = set(self._running)
        if self._closing.is_set() or len(busy) == self._most:
            return []
        started = []
        for place, due in self._claim(self._most - len(busy), busy).items():
            self._running[place] = self._threads.submit(self._do, due)
            started.append(self._running[place])
        return started

    def stop(self) -> None:
        """Start nothing further."""
        self._closing.set()

    def close(self) -> None:
        """Stop, and let what is being done finish."""
        self.stop()
        self._threads.shutdown(cancel_futures=True)


def for_each(ids: Iterable[str], task: Callable[[str], object]) -> None:
    """Call ``task`` with each id.

    What fails, for whatever reason, is logged and tried again by the next sweep: it must not keep
    the others from being deleted.

    Raises:
        DatabaseUnavailable, DatabaseDamaged: there is no use in trying the others.
        Exception: the last one, once failures have taken ``FAILING_S``.
    """
    failing_s = 0.0
    for row_id in ids:
        began = time.monotonic()
        try:
            task(row_id)
        except (DatabaseUnavailable, DatabaseDamaged):
            raise
        except Exception as error:
            _log.error("deletion_failed", row=row_id, failure=describe(error))
            failing_s += time.monotonic() - began
            if failing_s >= FAILING_S:
                raise
