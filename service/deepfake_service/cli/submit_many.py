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
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from deepfake_service.cli.output import clean
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
PARALLEL = 4
"""Files that are sent at the same time."""


@dataclass(frozen=True, slots=True)
class SubmissionOutcome:
    """What became of a file: its job, or why there is none."""

    name: str
    """The path below the folder."""
    job: Job | None
    problem: str | None = None

    @property
    def failed(self) -> bool:
        return self.job is None or self.job.state in UNSUCCESSFUL

    def to_json(self) -> dict[str, Any]:
        """Return the name, the problem, and the job as the service sent it."""
        job = self.job.sent if self.job else None
        return {"file": self.name, "problem": self.problem, "job": job}

    def to_line(self) -> str:
        """Return a line of text. The columns of different width are at its end."""
        name = clean(self.name)
        if self.job is None:
            return f"{'rejected':<31}  {name}: {clean(self.problem or '')}"
        state = clean(self.job.verdict or self.job.state).replace("_", " ")
        score = self.job.result.score if self.job.result else None
        shown = "" if score is None else f"{score:.2f}"
        return f"{state:<24}  {shown:>5}  {name}  {self.job.id}"


class ManySubmitter:
    """Submits files below a folder, and reports each of them once, as soon as it has ended.
    ``fields`` accompany each of them. ``report`` is called in the thread that calls ``run``."""

    def __init__(
        self,
        submitter: Submitter,
        folder: Path,
        fields: dict[str, Any],
        report: Callable[[SubmissionOutcome], None],
        *,
        wait: bool,
    ) -> None:
        self._submitter = submitter
        self._folder = folder
        self._fields = fields
        self._report = report
        self._wait = wait
        self._pending: deque[tuple[str, str]] = deque()
        """Files whose verdict is awaited, and the ids of their jobs."""
        self._poll_at = 0.0
        self._stopping = threading.Event()
        self._reached = False
        self._told: set[str] = set()
        self.problems = 0

    def run(self, files: Sequence[Path]) -> None:
        """Submit all files, and wait for their verdicts if that is wanted.

        While the service asks to wait, nothing is sent, and standard error says why; a service that
        goes away is given ``UNREACHABLE_S`` seconds to come back. ``ServiceUnreachable`` if the
        service does not respond, ``KeyRefused`` if it does not accept the key.
        """
        sending: deque[Future[SubmissionOutcome]] = deque()
        # Half of the threads remain for questions about jobs.
        with (
            Progress(
                *Progress.get_default_columns(), MofNCompleteColumn(),
                console=Console(stderr=True),
                transient=True,
                disable=not sys.stderr.isatty(),
                # Lines are printed to standard output. Where that is a file, they must reach it.
                redirect_stdout=sys.stdout.isatty(),
            ) as bars,
            ThreadPoolExecutor(2 * PARALLEL, thread_name_prefix="submit") as pool,
        ):  # fmt: skip
            self._bars, self._ended = bars, bars.add_task("files", total=len(files))
            try:
                for path in files:
                    if len(sending) >= PARALLEL:
                        self._take(sending.popleft().result())
                    name = str(path.relative_to(self._folder))
                    send = partial(self._submitter.submit, path, self._fields)
                    sending.append(pool.submit(self._attempt, name, send))
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

    def _take(self, sent: SubmissionOutcome) -> None:
        if sent.job and sent.job.state not in FINAL_STATES and self._wait:
            self._pending.append((sent.name, sent.job.id))
        else:
            self._end(sent)

    def _poll(self, pool: ThreadPoolExecutor) -> None:
        """Report those of the oldest pending files that have ended."""
        asked = [self._pending.popleft() for _ in range(min(POLLED_AT_ONCE, len(self._pending)))]
        calls = [
            pool.submit(self._attempt, name, partial(self._submitter.read, job_id))
            for name, job_id in asked
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
        self._bars.advance(self._ended)
        self._report(outcome)

    def _attempt(self, name: str, call: Callable[[], Job]) -> SubmissionOutcome:
        """Return what ``call`` returns; wait as the service asks when it is busy or away."""
        away_since: float | None = None
        while True:
            try:
                job = call()
            except ServiceBusy as error:
                away_since = None
                self._explain_wait(error.message)
                if self._stopping.wait(error.wait_s):
                    raise
            except ServiceUnreachable:
                now = time.monotonic()
                away_since = now if away_since is None else away_since
                gone = not self._reached or now - away_since > UNREACHABLE_S
                if gone or self._stopping.wait(RETRY_S):
                    raise
            except KeyRefused:
                raise  # every other file would be refused as well
            except ServiceRefused as error:
                return SubmissionOutcome(name, None, error.message)
            except OSError as error:
                reason = error.strerror or error
                return SubmissionOutcome(name, None, f"the file cannot be read: {reason}")
            else:
                self._reached = True
                return SubmissionOutcome(name, job)

    def _explain_wait(self, reason: str) -> None:
        """Report once why a request will be retried. Thread-safe."""
        if reason not in self._told:
            self._told.add(reason)
            line = f"{reason} It is retried until it is accepted."
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
