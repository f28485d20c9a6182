"""``deepfake submit DIR``: submit many files, and print a line for each as its verdict is known."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size

from deepfake_service.cli.manifest import Row, Rows, SubmittedRows
from deepfake_service.cli.score import clean
from deepfake_service.cli.submission_meter import SubmissionMeter
from deepfake_service.cli.submit import (
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

POLLED_AT_ONCE = 10, 100
"""Jobs end roughly in the order of their submission, so only the oldest are asked for: so many, and
while all of them have ended, more."""
UNREACHABLE_S = 120.0
"""How long a service that has answered before may be away, such as for a restart."""
RETRY_S = 2.0
NAME_WIDTH, CASE_WIDTH, STATE_WIDTH = 32, 18, 24


@dataclass(frozen=True, slots=True)
class SubmissionOutcome:
    """What became of a row: its job, or why there is none."""

    row: Row
    job: Job | None
    problem: str | None = None

    @property
    def failed(self) -> bool:
        return self.job is None or self.job.content.state in UNSUCCESSFUL

    def to_json(self) -> dict[str, Any]:
        """Return the row, its problem, and its job as the service sent it."""
        job = self.job.sent if self.job else None
        return {"file": self.row.name, **self.row.fields, "problem": self.problem, "job": job}

    def to_line(self) -> str:
        """Return a line of the table."""
        score, job_id = "", ""
        state = f"rejected: {clean(self.problem)}" if self.problem else ""
        if self.job is not None:
            job, job_id = self.job.content, self.job.content.id
            state = clean(str(job.verdict or job.state)).replace("_", " ")
            value = job.result.score if job.result else None
            score = f"{value:.2f}" if isinstance(value, float) else ""
        case = self.row.fields.get("case_reference", "")
        cells = _cell(self.row.name, NAME_WIDTH), _cell(case, CASE_WIDTH)
        if self.problem:
            return f"{cells[0]}  {cells[1]}  {state}"
        return f"{cells[0]}  {cells[1]}  {state:<{STATE_WIDTH}}  {score:>5}  {job_id}".rstrip()


def heading() -> str:
    """Return the first line of the table."""
    columns = f"{'file':<{NAME_WIDTH}}  {'case':<{CASE_WIDTH}}  {'verdict':<{STATE_WIDTH}}"
    return f"{columns}  {'score':>5}  job"


def _cell(text: str, width: int) -> str:
    """Return text cut to as many columns of a terminal; Korean letters take two each."""
    shown = clean(text)
    if cell_len(shown) > width:
        # The end of a path says more than its start.
        while cell_len(shown) >= width:
            shown = shown[1:]
        shown = f"…{shown}"
    return set_cell_size(shown, width)


@dataclass(frozen=True, slots=True)
class Options:
    """How rows are submitted."""

    service: str
    priority: str
    frames: int | None
    wait: bool
    parallel: int = 4
    """Files that are sent at the same time."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A row whose verdict is awaited. There may be many, so it holds little."""

    row: Row
    job_id: str


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
        self._pending: deque[_Pending] = deque()
        self._window = POLLED_AT_ONCE[0]
        self._poll_at = 0.0
        self._stopping = threading.Event()
        self._reached = False
        self.problems = 0

    def run(self, rows: Rows) -> None:
        """Submit all rows; wait for their verdicts if the options say so.

        Rows are read while others are sent. While the service asks to wait, nothing is sent, and
        standard error says why; a service that goes away is given ``UNREACHABLE_S`` seconds to come
        back.

        Raises:
            ServiceUnreachable: the service does not respond. Rows submitted so far are recorded.
            KeyRefused: it does not accept the key. The same applies.
        """
        parallel = self._options.parallel
        sending: deque[Future[SubmissionOutcome | _Pending]] = deque()
        # Half of the threads remain for questions about jobs.
        with (
            SubmissionMeter(len(rows), wait=self._options.wait) as meter,
            ThreadPoolExecutor(2 * parallel, thread_name_prefix="submit") as pool,
        ):
            try:
                for row in rows:
                    if len(sending) >= parallel:
                        self._take(sending.popleft().result(), meter)
                    sending.append(pool.submit(self._send, row, meter))
                    if time.monotonic() >= self._poll_at:
                        self._poll(pool, meter)
                while sending:
                    self._take(sending.popleft().result(), meter)
                while self._pending:
                    time.sleep(max(0.0, self._poll_at - time.monotonic()))
                    self._poll(pool, meter)
            finally:
                self._stopping.set()
                for task in sending:
                    task.cancel()

    def _send(self, row: Row, meter: SubmissionMeter) -> SubmissionOutcome | _Pending:
        """Submit a row unless that was done before."""
        fields = {**row.fields, "priority": self._options.priority, "frames": self._options.frames}
        try:
            digest = row.digest(self._options.service)
            known = self._submitted.job_of(digest)
            if known is not None and self._options.wait:
                return _Pending(row, known)
            if known is not None:
                job = self._patiently(lambda: self._submitter.read(known), meter)
                return SubmissionOutcome(row, job)
            job = self._patiently(
                lambda: self._submitter.submit(row.path, fields, lambda _sent, _size: None), meter
            )
            self._submitted.add(digest, job.content.id)
        except OSError as error:
            return SubmissionOutcome(
                row, None, f"the file cannot be read: {error.strerror or error}"
            )
        except KeyRefused:
            raise  # every other row would be refused as well
        except ServiceRefused as error:
            return SubmissionOutcome(row, None, error.message)
        if job.content.state in FINAL_STATES or not self._options.wait:
            return SubmissionOutcome(row, job)
        return _Pending(row, job.content.id)

    def _take(self, sent: SubmissionOutcome | _Pending, meter: SubmissionMeter) -> None:
        meter.submitted()
        if isinstance(sent, _Pending):
            self._pending.append(sent)
        else:
            self._end(sent, meter)

    def _poll(self, pool: ThreadPoolExecutor, meter: SubmissionMeter) -> None:
        """Report those of the oldest pending rows that have ended."""
        least, most = POLLED_AT_ONCE
        asked = [self._pending.popleft() for _ in range(min(self._window, len(self._pending)))]
        unfinished = []
        outcomes = pool.map(lambda pending: self._ask(pending, meter), asked)
        for pending, outcome in zip(asked, outcomes, strict=True):
            if outcome is None:
                unfinished.append(pending)
            else:
                self._end(outcome, meter)
        self._pending.extendleft(reversed(unfinished))
        full = len(asked) == self._window and not unfinished
        self._window = min(2 * self._window, most) if full else least
        self._poll_at = time.monotonic() + (0.0 if full else POLL_S)

    def _ask(self, pending: _Pending, meter: SubmissionMeter) -> SubmissionOutcome | None:
        """Return what became of a row; ``None`` while its job has not ended."""
        try:
            job = self._patiently(lambda: self._submitter.read(pending.job_id), meter)
        except KeyRefused:
            raise
        except ServiceRefused as error:
            return SubmissionOutcome(pending.row, None, error.message)
        return SubmissionOutcome(pending.row, job) if job.content.state in FINAL_STATES else None

    def _end(self, outcome: SubmissionOutcome, meter: SubmissionMeter) -> None:
        self.problems += outcome.failed
        meter.ended()
        self._report(outcome)

    def _patiently(self, call: Callable[[], Job], meter: SubmissionMeter) -> Job:
        """Return what ``call`` returns; wait as the service asks when it is busy or away."""
        away_since: float | None = None
        while True:
            try:
                job = call()
            except ServiceBusy as error:
                wait_s, away_since = error.wait_s, None
                meter.waiting(error.message)
                if self._stopping.wait(wait_s):
                    raise
            except ServiceUnreachable:
                now = time.monotonic()
                away_since = now if away_since is None else away_since
                gone = not self._reached or now - away_since > UNREACHABLE_S
                if gone or self._stopping.wait(RETRY_S):
                    raise
            else:
                self._reached = True
                return job
