"""Work that a process repeats: tasks in threads of their own, and the rows of a sweep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from deepfake_service.platform.errors import DatabaseDamaged, DatabaseUnavailable
from deepfake_service.platform.logs import describe, logger

T = TypeVar("T")
FAILING_S = 60.0
"""How long the rows that fail may take together. A store that does not answer takes half a minute
for each, and the sweep has more to do than what needs the store."""

_log = logger("deepfake_service.chores")


class Chore:
    """A task that a thread of its own repeats every ``every_s`` seconds. A failure is logged, and
    the task is tried again at its next time."""

    def __init__(self, name: str, task: Callable[[], object], every_s: float) -> None:
        self._name, self._task, self._every_s = name, task, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current run of the task, and wait up to five seconds for it."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self._task()
            except DatabaseUnavailable as error:  # some chores meet it every second
                _log.warning("database_unavailable", chore=self._name, problem=error.message)
            except Exception as error:  # a thread that ended would go unnoticed
                _log.error("chore_failed", chore=self._name, failure=describe(error))


def for_each(ids: Iterable[str], task: Callable[[str], T]) -> list[T]:
    """Call ``task`` with each id, and return the results of those that succeed.

    What fails, for whatever reason, is logged and tried again by the next sweep: it must not keep
    the others from being deleted.

    Raises:
        DatabaseUnavailable, DatabaseDamaged: there is no use in trying the others.
        Exception: the last one, once failures have taken ``FAILING_S``.
    """
    results = []
    failing_s = 0.0
    for row_id in ids:
        began = time.monotonic()
        try:
            results.append(task(row_id))
        except (DatabaseUnavailable, DatabaseDamaged):
            raise
        except Exception as error:
            _log.error("deletion_failed", row=row_id, failure=describe(error))
            failing_s += time.monotonic() - began
            if failing_s >= FAILING_S:
                raise
    return results
