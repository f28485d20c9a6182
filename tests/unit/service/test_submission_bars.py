"""The bars that ``deepfake submit`` shows while a video is examined."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

from rich.console import Console
from rich.progress import Progress

from deepfake_client.models import JobOut, JobState
from deepfake_service.cli.submit import Bars


def job(done: int, total: int | None, overview: int | None) -> JobOut:
    progress = SimpleNamespace(done=done, total=total, overview=overview)
    return cast(JobOut, SimpleNamespace(state=JobState.RUNNING, progress=progress))


def test_no_bar_steps_back_when_frames_are_added_for_the_close_look() -> None:
    shown = Progress(console=Console(file=io.StringIO()))
    bars = Bars(shown)
    shares: list[list[float]] = []
    for state in (job(0, None, None), job(8, 16, 16), job(16, 16, 16), job(16, 64, 16),
                  job(40, 64, 16), job(64, 64, 16)):  # fmt: skip
        bars.examined(state)
        shares.append([task.percentage for task in shown.tasks])
    assert shares == [[0], [50], [100], [100, 0], [100, 50], [100, 100]]
    assert [task.description for task in shown.tasks] == ["running", "close look"]


def test_an_examination_of_as_many_frames_as_asked_for_has_one_bar() -> None:
    shown = Progress(console=Console(file=io.StringIO()))
    bars = Bars(shown)
    states: list[Any] = [job(0, 8, None), job(8, 8, None)]
    for state in states:
        bars.examined(state)
    assert [task.percentage for task in shown.tasks] == [100]
