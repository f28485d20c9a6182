"""Show the progress of a long command: bars in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_S = 30.0
"""Seconds between two lines where there is no terminal, as in a job of a cluster."""


class Report(Protocol):
    """Called with the name of the current stage, the number of finished parts, and their total."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Show that ``done`` parts are finished; ``note`` says more about the last one."""


@contextmanager
def progress(console: Console) -> Iterator[Report]:
    """Yield the function to which stages report, and show what it is told on ``console``."""
    if console.is_terminal:
        with _bars(console) as report:
            yield report
    else:
        yield Lines(console)


class Lines:
    """Prints a line at the first report of a stage, at its end, and every ``LINE_S`` between."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._started: dict[str, tuple[float, int]] = {}
        self._printed = 0.0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Print a line if it is time for one."""
        now = self._clock()
        first = stage not in self._started
        start, begun = self._started.setdefault(stage, (now, done))
        if not (first or done == total or now - self._printed >= LINE_S):
            return
        self._printed = now
        rate = (done - begun) / (now - start) if now > start else 0.0
        left = f", {_duration((total - done) / rate)} left" if rate and done < total else ""
        said = f", {note}" if note else ""
        self._console.print(
            f"{stage}: {done} of {total}{said}{left}", highlight=False, markup=False
        )


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes else "less than a minute"


@contextmanager
def _bars(console: Console) -> Iterator[Report]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            description = f"{stage}, {note}" if note else stage
            bar.update(tasks[stage], completed=done, description=description)

        yield report
