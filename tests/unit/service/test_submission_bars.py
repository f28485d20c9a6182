"""The bars that ``deepfake submit`` shows while a video is examined."""

from __future__ import annotations

import io

from rich.console import Console
from rich.progress import Progress

from deepfake_service.cli.submit import Bars
from deepfake_service.cli.submitter import Job


def job(done: int, total: int | None, overview: int | None) -> Job:
    progress = {"done": done, "total": total, "overview": overview}
    return Job.model_validate({"id": "0" * 26, "state": "running", "progress": progress})


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
    for state in (job(0, 8, None), job(8, 8, None)):
        bars.examined(state)
    assert [task.percentage for task in shown.tasks] == [100]
