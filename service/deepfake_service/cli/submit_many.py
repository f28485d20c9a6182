"""``deepfake submit DIR``: submit many files, and print a line for each as its verdict is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from deepfake_client.models import JobState
from deepfake_service.cli.manifest import Progress, Row
from deepfake_service.cli.score import clean
from deepfake_service.cli.submit import (
    FINAL_STATES,
    POLL_S,
    Job,
    ServiceBusy,
    ServiceRefused,
    Submitter,
)

POLLED_AT_ONCE = 10
"""Jobs end roughly in the order of their submission, so only the oldest are asked for."""
MAX_WAITS = 20
NAME_WIDTH, CASE_WIDTH, STATE_WIDTH = 32, 18, 24


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row: its job, or why there is none."""

    row: Row
    job: Job | None
    problem: str | None = None

    @property
    def failed(self) -> bool:
        return self.job is None or self.job.content.state is JobState.FAILED

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
            state = str(job.verdict or job.state).replace("_", " ")
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


class ManySubmitter:
    """Submits rows one at a time and reports each of them once, as soon as it has ended."""

    def __init__(
        self,
        submitter: Submitter,
        options: Options,
        progress: Progress,
        report: Callable[[Outcome], None],
    ) -> None:
        self._submitter = submitter
        self._options = options
        self._progress = progress
        self._report = report
        self._pending: list[Outcome] = []
        self.problems = 0

    def run(self, rows: Sequence[Row]) -> None:
        """Submit all rows; wait for their verdicts if the options say so.

        Raises:
            ServiceUnreachable: the service does not respond. Rows submitted so far are recorded.
        """
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(stderr=True)
        hidden = not console.is_terminal
        with Bars(*columns, console=console, transient=True, disable=hidden) as bars:
            sent = bars.add_task("submitted", total=len(rows))
            for row in rows:
                self._submit(row)
                bars.advance(sent)
                self._poll()
            waited = bars.add_task("examined", total=len(rows))
            while self._pending:
                bars.update(waited, completed=len(rows) - len(self._pending))
                time.sleep(POLL_S)
                self._poll()

    def _submit(self, row: Row) -> None:
        fields = {**row.fields, "priority": self._options.priority, "frames": self._options.frames}
        try:
            digest = row.digest(self._options.service)
            known = self._progress.job_of(digest)
            if known is None:
                job = self._patiently(
                    lambda: self._submitter.submit(row.path, fields, lambda _sent, _size: None)
                )
                self._progress.add(digest, job.content.id)
            else:
                job = self._patiently(lambda: self._submitter.read(known))
        except OSError as error:
            self._end(Outcome(row, None, f"the file cannot be read: {error.strerror or error}"))
            return
        except ServiceRefused as error:
            self._end(Outcome(row, None, error.message))
            return
        outcome = Outcome(row, job)
        if job.content.state in FINAL_STATES or not self._options.wait:
            self._end(outcome)
        else:
            self._pending.append(outcome)

    def _poll(self) -> None:
        """Report those of the oldest pending rows that have ended."""
        for outcome in self._pending[:POLLED_AT_ONCE]:
            assert outcome.job is not None
            job_id = outcome.job.content.id
            try:
                job = self._patiently(lambda job_id=job_id: self._submitter.read(job_id))  # type: ignore[misc]
            except ServiceRefused as error:
                self._pending.remove(outcome)
                self._end(Outcome(outcome.row, None, error.message))
                continue
            if job.content.state in FINAL_STATES:
                self._pending.remove(outcome)
                self._end(Outcome(outcome.row, job))

    def _end(self, outcome: Outcome) -> None:
        self.problems += outcome.failed
        self._report(outcome)

    @staticmethod
    def _patiently(call: Callable[[], Job]) -> Job:
        """Return what ``call`` returns; wait as the service asks when it is busy."""
        for _ in range(MAX_WAITS):
            try:
                return call()
            except ServiceBusy as error:
                time.sleep(error.wait_s)
        return call()
