"""Show the progress of a long command by a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console

LINE_S = 10.0
"""Seconds between two lines."""


class Lines:
    """Prints a line at the first report of a stage, at its end, and every ``LINE_S`` between."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._started: dict[str, tuple[float, int]] = {}
        self._printed = 0.0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Print a line if it is time for one; ``note`` says more about the last finished part."""
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
