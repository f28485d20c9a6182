"""Show how far ``deepfake submit DIR`` is: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

LINE_S = 30.0
"""Seconds between two lines where there is no terminal."""
RECENT_S = 300.0
"""The rate is that of the last minutes: a service slows down or gets more workers."""


class Rate:
    """Measures how many a minute there were of late, and how long the rest takes at that rate."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def add(self) -> None:
        """Count one more."""
        self.done += 1
        now = time.monotonic()
        if now - self._seen[-1][0] >= 1.0:
            self._seen.append((now, self.done))
        while len(self._seen) > 2 and now - self._seen[0][0] > RECENT_S:
            self._seen.popleft()

    @property
    def per_minute(self) -> float:
        """Return the rate of the last minutes."""
        began, before = self._seen[0]
        return 60.0 * (self.done - before) / max(time.monotonic() - began, 1e-3)

    @property
    def left_s(self) -> float | None:
        """Return the seconds that the rest takes at this rate, if it is above zero."""
        rate = self.per_minute
        return 60.0 * (self.total - self.done) / rate if rate else None

    def __str__(self) -> str:
        left = self.left_s
        if self.done >= self.total or left is None:
            return f"{self.per_minute:,.0f}/min"
        return f"{self.per_minute:,.0f}/min, {duration(left)} left"


def duration(seconds: float) -> str:
    """Return a duration in its largest two units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class SubmissionMeter:
    """Counts rows that were submitted and rows that have ended; a context manager.

    Everything is written to standard error. Rows that are not waited for end as they are submitted,
    and are counted once.
    """

    def __init__(self, total: int, *, wait: bool) -> None:
        self._submitted, self._ended = Rate(total), Rate(total)
        self._wait = wait
        console = Console(stderr=True)
        self._interactive = console.is_terminal
        self._line_at = time.monotonic() + LINE_S
        self._told: set[str] = set()
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _RateColumn(),
            console=console,
            transient=True,
            disable=not self._interactive,
            # Rows are printed to standard output. Where that is a file, they must reach it.
            redirect_stdout=sys.stdout.isatty(),
        )  # fmt: skip
        self._tasks = [
            self._bars.add_task(name, total=total, rate=rate)
            for name, rate in (("submitted", self._submitted), ("examined", self._ended))
            if wait or rate is self._submitted
        ]

    def __enter__(self) -> SubmissionMeter:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def submitted(self) -> None:
        """Count a row that was submitted or rejected."""
        self._submitted.add()
        self._show(0)

    def ended(self) -> None:
        """Count a row that is not waited for any longer."""
        self._ended.add()
        if self._wait:
            self._show(1)

    def waiting(self, reason: str) -> None:
        """Say once why a request is sent again later; safe to call from several threads."""
        if reason not in self._told:
            self._told.add(reason)
            line = f"{reason} It is sent again until it is accepted."
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _show(self, task: int) -> None:
        if self._interactive:
            self._bars.advance(self._tasks[task])
        elif (now := time.monotonic()) >= self._line_at:
            self._line_at = now + LINE_S
            sys.stderr.write(self.line() + "\n")
            sys.stderr.flush()

    def line(self) -> str:
        """Return how far both are, as one line of text."""
        counts = [f"submitted {self._submitted.done:,} of {self._submitted.total:,}"]
        if self._wait:
            counts.append(f"examined {self._ended.done:,}")
        return f"{', '.join(counts)} ({self._ended if self._wait else self._submitted})"


class _RateColumn(ProgressColumn):
    """The rate of late and the time that is left."""

    def render(self, task: Task) -> Text:
        """Return the text of a task, whose field ``rate`` is a ``Rate``."""
        return Text(str(task.fields["rate"]), style="progress.remaining")
