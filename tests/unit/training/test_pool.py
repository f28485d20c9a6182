"""Tasks in processes that load what they need once."""

from __future__ import annotations

import inspect
import os
from concurrent.futures import wait
from pathlib import Path

import pytest

from deepfake_eval.inference.pool import Processes, run_tasks
from deepfake_training.errors import TrainingError

pytestmark = pytest.mark.torch

_factor = 0


def start(factor: int) -> None:
    global _factor
    _factor = factor


def fail(factor: int) -> None:
    raise TrainingError(f"no model for {factor}")


def multiplied(number: int) -> int:
    if not number:
        os._exit(1)
    return number * _factor


def named(number: int) -> str:
    return f"{number}.mp4"


def test_every_task_is_done_once_by_processes_that_have_started() -> None:
    found = run_tasks(
        multiplied, range(1, 9), Processes(2, start, (3,)), name=named, error=TrainingError
    )  # fmt: skip
    assert sorted(found) == [3 * n for n in range(1, 9)]
    assert not _factor, "the tasks ran in this process"


def test_a_process_that_ends_is_reported_with_what_it_was_working_on() -> None:
    found = run_tasks(
        multiplied, [2, 0], Processes(1, start, (3,)), name=named, error=TrainingError
    )
    assert next(found) == 6
    with pytest.raises(TrainingError, match=r"ended unexpectedly.* on 0\.mp4; run the same"):
        list(found)


def test_a_process_that_ends_while_it_waits_loses_no_result() -> None:
    found = run_tasks(
        multiplied, [1, 2, 3], Processes(1, start, (3,)), name=named, error=TrainingError
    )
    results = [next(found)]  # either of the first two, if both have ended
    state = inspect.getgeneratorlocals(found)
    assert not wait(state["running"], timeout=60.0).not_done
    (process,) = state["pool"]._processes.values()
    process.kill()
    state["pool"]._executor_manager_thread.join(60.0)  # it has noticed
    with pytest.raises(TrainingError, match="perhaps because memory ran out; run the same"):
        results.extend(found)
    assert sorted(results) == [3, 6]


def test_an_error_at_the_start_of_a_process_is_raised() -> None:
    found = run_tasks(multiplied, [1, 2], Processes(1, fail, (3,)), name=named, error=TrainingError)
    with pytest.raises(TrainingError, match="no model for 3"):
        list(found)


def test_work_on_features_is_named() -> None:
    from deepfake_training.train import feature_store  # the processes of other tests need no torch

    rows = [{"media": f"{number}.mp4"} for number in range(3)]
    names = [feature_store._name((Path("f"), shard)) for shard in (range(64, 128), rows, rows[2:])]
    assert names == ["pairs 64 to 127", "0.mp4 and the 2 media after it", "2.mp4"]
