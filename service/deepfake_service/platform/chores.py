"""Tasks that a process repeats, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from deepfake_service.platform.errors import DatabaseUnavailable
from deepfake_service.platform.logs import describe, logger

_log = logger("deepfake_service.worker")


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
