"""``deepfake submit DIR``: submit many files, and print a line for each as its verdict is known."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deepfake_service.cli.manifest import Row, SubmittedRows
from deepfake_service.cli.output import clean, report_on_stderr
from deepfake_service.cli.submitter import (
    FINAL_STATES,
    POLL_S,
    UNSUCCESSFUL,
    Job,
    KeyRefused,
    ServiceBusy,
    ServiceRefused,
    ServiceUnreachable,
    Submitter,
)

POLLED_AT_ONCE = 20
"""Jobs end roughly in the order of their submission, so only the oldest are asked for."""
UNREACHABLE_S = 120.0
"""How long a service that has answered before may be away, such as for a restart."""
RETRY_S = 2.0
LINE_S = 30.0
"""Seconds between two lines about the progress where there is no terminal."""
RECENT_S = 300.0
PARALLEL = 4
"""Files that are sent at the same time."""


@dataclass(frozen=True, slots=True)
class SubmissionOutcome:
    """What became of a row: its job, or why there is none."""

    row: Row
    job: Job | None
    problem: str | None = None

    @property
    def failed(self) -> bool:
        return self.job is None or self.job.state in UNSUCCESSFUL

    def to_json(self) -> dict[str, Any]:
        """Return the row, its problem, and its job as the service sent it."""
        job = self.job.sent if self.job else None
        return {"file": self.row.name, **self.row.fields, "problem": self.problem, "job": job}

    def to_line(self) -> str:
        """Return a line of text. The columns of different width are at its end."""
        name = clean(f"{self.row.name}  {self.row.fields.get('case_reference', '')}").rstrip()
        if self.job is None:
            return f"{'rejected':<31}  {name}: {clean(self.problem or '')}"
        state = clean(self.job.verdict or self.job.state).replace("_", " ")
        score = self.job.result.score if self.job.result else None
        shown = "" if score is None else f"{score:.2f}"
        return f"{state:<24}  {shown:>5}  {name}  {self.job.id}"


@dataclass(frozen=True, slots=True)
class Options:
    """How rows are submitted."""

    service: str
    priority: str
    frames: int | None
    wait: bool


class ManySubmitter:
    """Submits rows and reports each of them once, as soon as it has ended.

    ``report`` is called in the thread that calls ``run``.
    """

    def __init__(
        self,
        submitter: Submitter,
        options: Options,
        submitted: SubmittedRows,
        report: Callable[[SubmissionOutcome], None],
    ) -> None:
        self._submitter = submitter
        self._options = options
        self._submitted = submitted
        self._report = report
        self._pending: deque[tuple[Row, str]] = deque()
        """Rows whose verdict is awaited, and the ids of their jobs."""
        self._poll_at = 0.0
        self._stopping = threading.Event()
        self._reached = False
        self.problems = 0

    def run(self, rows: Sequence[Row]) -> None:
        """Submit all rows; wait for their verdicts if the options say so.

        While the service asks to wait, nothing is sent, and standard error says why; a service that
        goes away is given ``UNREACHABLE_S`` seconds to come back.

        Raises:
            ServiceUnreachable: the service does not respond. Rows submitted so far are recorded.
            KeyRefused: it does not accept the key. The same applies.
        """
        sending: deque[Future[SubmissionOutcome]] = deque()
        # Half of the threads remain for questions about jobs.
        with (
            SubmissionMeter(len(rows), wait=self._options.wait) as meter,
            ThreadPoolExecutor(2 * PARALLEL, thread_name_prefix="submit") as pool,
        ):
            self._meter = meter
            try:
                for row in rows:
                    if len(sending) >= PARALLEL:
                        self._take(sending.popleft().result())
                    sending.append(pool.submit(self._attempt, row, partial(self._send, row)))
                    if time.monotonic() >= self._poll_at:
                        self._poll(pool)
                while sending:
                    self._take(sending.popleft().result())
                while self._pending:
                    time.sleep(max(0.0, self._poll_at - time.monotonic()))
                    self._poll(pool)
            finally:
                self._stopping.set()
                for task in sending:
                    task.cancel()

    def _send(self, row: Row) -> Job:
        """Submit a row, or read its job if an earlier run submitted it."""
        digest = row.digest(self._options.service)
        known = self._submitted.job_of(digest)
        if known is not None:
            return self._submitter.read(known)
        own = {"priority": self._options.priority, "frames": self._options.frames}
        job = self._submitter.submit(row.path, row.fields | own)
        self._submitted.add(digest, job.id)
        return job

    def _take(self, sent: SubmissionOutcome) -> None:
        self._meter.count("submitted")
        if sent.job and sent.job.state not in FINAL_STATES and self._options.wait:
            self._pending.append((sent.row, sent.job.id))
        else:
            self._end(sent)

    def _poll(self, pool: ThreadPoolExecutor) -> None:
        """Report those of the oldest pending rows that have ended."""
        asked = [self._pending.popleft() for _ in range(min(POLLED_AT_ONCE, len(self._pending)))]
        calls = [
            pool.submit(self._attempt, row, partial(self._submitter.read, job_id))
            for row, job_id in asked
        ]
        unfinished = []
        for pending, call in zip(asked, calls, strict=True):
            outcome = call.result()
            if outcome.job and outcome.job.state not in FINAL_STATES:
                unfinished.append(pending)
            else:
                self._end(outcome)
        self._pending.extendleft(reversed(unfinished))
        # Where all have ended, the next ones may have as well.
        more = len(asked) == POLLED_AT_ONCE and not unfinished
        self._poll_at = time.monotonic() + (0.0 if more else POLL_S)

    def _end(self, outcome: SubmissionOutcome) -> None:
        self.problems += outcome.failed
        self._meter.count("examined")
        self._report(outcome)

    def _attempt(self, row: Row, call: Callable[[], Job]) -> SubmissionOutcome:
        """Return what ``call`` returns; wait as the service asks when it is busy or away."""
        away_since: float | None = None
        while True:
            try:
                job = call()
            except ServiceBusy as error:
                away_since = None
                self._meter.explain_wait(error.message)
                if self._stopping.wait(error.wait_s):
                    raise
            except ServiceUnreachable:
                now = time.monotonic()
                away_since = now if away_since is None else away_since
                gone = not self._reached or now - away_since > UNREACHABLE_S
                if gone or self._stopping.wait(RETRY_S):
                    raise
            except KeyRefused:
                raise  # every other row would be refused as well
            except ServiceRefused as error:
                return SubmissionOutcome(row, None, error.message)
            except OSError as error:
                reason = error.strerror or error
                return SubmissionOutcome(row, None, f"the file cannot be read: {reason}")
            else:
                self._reached = True
                return SubmissionOutcome(row, job)


class SubmissionMeter:
    """Counts rows that were submitted and rows that have ended; a context manager.

    Writes to standard error: bars on a terminal, and elsewhere a line every ``LINE_S`` seconds.
    Rows that are not waited for end as they are submitted, and are counted once.
    """

    def __init__(self, total: int, *, wait: bool) -> None:
        console = Console(stderr=True)
        self._line_at = time.monotonic() + LINE_S
        self._told: set[str] = set()
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            # A service slows down or gets more workers.
            speed_estimate_period=RECENT_S,
            # Rows are printed to standard output. Where that is a file, they must reach it.
            redirect_stdout=sys.stdout.isatty(),
        )  # fmt: skip
        names = ("submitted", "examined") if wait else ("submitted",)
        self._tasks = {name: self._bars.add_task(name, total=total) for name in names}

    def __enter__(self) -> SubmissionMeter:
        self._bars.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._bars.stop()

    def count(self, name: str) -> None:
        """Count a row that was ``submitted`` (or rejected) or ``examined``."""
        if name in self._tasks:
            self._bars.advance(self._tasks[name])
        now = time.monotonic()
        if self._bars.disable and now >= self._line_at:
            self._line_at = now + LINE_S
            counts = [f"{t.description} {t.completed:,.0f}" for t in self._bars.tasks]
            counts[0] += f" of {self._bars.tasks[0].total:,.0f}"
            report_on_stderr(", ".join(counts))

    def explain_wait(self, reason: str) -> None:
        """Report once why a request will be retried. Thread-safe."""
        if reason not in self._told:
            self._told.add(reason)
            line = f"{reason} It is retried until it is accepted."
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
