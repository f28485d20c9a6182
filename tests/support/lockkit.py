"""Transactions that begin while another one has locked its rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import text

from deepfake_service.accounts.accounts import Caller
from deepfake_service.platform.db.enums import Role

# ``conftest.Service`` of the unit tests, which imports these modules itself.
Service = Any

WAIT_S = 300


class Meanwhile:
    """Begins a task once another transaction has locked its rows, and waits until it waits."""

    def __init__(self, service: Service, task: Callable[[], object]) -> None:
        self._database = service.database
        self._task = task
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[object] | None = None

    def begin(self) -> None:
        self._running = self._pool.submit(self._task)
        until = time.monotonic() + WAIT_S
        while not self._waits() and not self._running.done():
            assert time.monotonic() < until

    def _waits(self) -> bool:
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity, pg_sleep(0.02)"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with self._database.read() as session:
            return bool(session.scalar(waiting))

    def before_entry_of(self, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin the task when ``module`` is about to append its next entry."""
        real = module.append_entry

        def append(session: Any, *arguments: Any, **options: Any) -> Any:
            monkeypatch.setattr(module, "append_entry", real)
            session.flush()
            self.begin()
            return real(session, *arguments, **options)

        monkeypatch.setattr(module, "append_entry", append)

    def end(self) -> None:
        """Wait for the task, and raise its error, if there is one."""
        assert self._running is not None
        with self._pool:
            self._running.result(WAIT_S)


def caller_of(service: Service, role: Role = Role.ANALYST) -> Caller:
    return service.accounts.authenticate(service.keys[role])


def adds_an_occurrence(service: Service, job: dict[str, Any]) -> Callable[[], object]:
    caller, cases = caller_of(service), service.app.state.shared.services.cases
    seen = {"source_url": "https://example.org/2"}
    return lambda: cases.add_occurrence(caller, job["case_id"], None, seen, None)
