"""Tasks in processes that load what they need once."""

from __future__ import annotations

import os
from functools import partial

import pytest

from deepfake_eval.inference.pool import ProcessEnded, run_tasks
from deepfake_training.errors import TrainingError

pytestmark = pytest.mark.torch


def fail(factor: int) -> int:
    raise TrainingError(f"no model for {factor}")


def multiplied(factor: int, number: int) -> int:
    if not number:
        os._exit(1)
    return number * factor


def process(_: int, __: int) -> int:
    return os.getpid()


def test_every_task_is_done_once_by_processes_that_have_started() -> None:
    found = run_tasks(multiplied, range(1, 9), 2, partial(int, 3))
    assert sorted(found) == [3 * n for n in range(1, 9)]
    assert os.getpid() not in run_tasks(process, [1], 1, partial(int, 3))
    assert os.getpid() in run_tasks(process, [1], 0, partial(int, 3))


def test_a_process_that_ends_is_reported_with_what_to_do() -> None:
    found = run_tasks(multiplied, [2, 0], 1, partial(int, 3))
    assert next(found) == 6
    with pytest.raises(ProcessEnded, match=r"ended unexpectedly.* Run the same command"):
        list(found)


def test_an_error_at_the_start_of_a_process_is_raised() -> None:
    found = run_tasks(multiplied, [1, 2], 1, partial(fail, 3))
    with pytest.raises(TrainingError, match="no model for 3"):
        list(found)
