"""Whose limits a worker obeys that shares its queue with others."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from deepfake_service.audit.records import open_database
from deepfake_service.examination.queue import JobQueue
from deepfake_service.examination.runner import Runner
from deepfake_service.examination.workflow_rows import QUEUE
from deepfake_service.platform.settings import Settings
from tests.support.jobs import OF_TAKER


def test_a_worker_never_reads_the_limit_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int | None] = []

    def look(stop: Event, executor: Any) -> None:
        limits.append(executor._sys_db.get_queue(QUEUE)._worker_concurrency)

    def run(at_once: int) -> None:
        settings = Settings(data_dir=tmp_path, jobs_at_once=at_once)
        steps: Any = SimpleNamespace(model=OF_TAKER, stopping=Event())
        runner = Runner(database, steps, settings, lambda *_: None)
        runner.start()
        runner.stop(drain_s=0)

    with (
        closing(open_database(Settings(data_dir=tmp_path))) as database,
        closing(JobQueue(database)),  # creates its tables
    ):
        run(at_once=5)  # this limit is the one in the database from now on
        # In place of the thread that looks into the queue, which launching starts.
        monkeypatch.setattr("dbos._dbos.queue_thread", look)
        run(at_once=2)
    assert limits == [2]
