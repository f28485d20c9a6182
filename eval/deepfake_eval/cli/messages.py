"""Messages and progress that several commands share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from deepfake_models.errors import DeepfakeError

console = Console(stderr=True)

LINE_S = 10.0
"""Seconds between two lines."""


def run_app(app: typer.Typer) -> None:
    """Run a command line; a domain error, or a file that cannot be used, becomes one line on stderr
    and exit code 1."""
    try:
        app()
    except DeepfakeError as error:
        _fail(error.message, error)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), error)


def _fail(message: str, cause: Exception) -> None:
    console.print(f"error: {message}", style="red", highlight=False, markup=False)
    raise SystemExit(1) from cause


def print_first(metrics: dict[str, Any]) -> None:
    """Print what must be read first of a run, and the notes of the run and of its data sets."""
    from deepfake_eval.analysis.summary import headline

    for line in headline(metrics):
        typer.echo(line)
    notes = list(metrics["settings"]["notes"])
    for entry in metrics["settings"]["datasets"]:
        notes += entry["notes"]
        if entry["missing"]:
            notes.append(f"{entry['adapter']}: {entry['missing']} listed media are absent.")
    for note in notes:
        console.print(f"note: {note}", style="yellow", highlight=False, markup=False)


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
