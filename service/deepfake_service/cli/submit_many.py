"""``deepfake submit``: submit files, and follow each until its verdict is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.progress import Progress

from deepfake_service.cli.output import clean
from deepfake_service.cli.submitter import (
    FINAL_STATES,
    UNSUCCESSFUL,
    Job,
    KeyRefused,
    ServiceBusy,
    ServiceRefused,
    ServiceUnreachable,
    Submitter,
)

FOLLOWED = 32
"""Files that are sent or examined at the same time: enough for the workers of most services."""
SENT = 4
"""Of these, files that are sent at the same time."""
POLL_S = 1.0
UNREACHABLE_S = 120.0
"""How long a service that has answered before may be away, such as for a restart."""
RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class SubmissionOutcome:
    """What became of a file: its job, or why there is none."""

    path: Path
    job: Job | None
    problem: str | None = None

    @property
    def failed(self) -> bool:
        return self.job is None or self.job.state in UNSUCCESSFUL

    def to_json(self, folder: Path) -> dict[str, object]:
        """Return the path below a folder, the problem, and the job as the service sent it."""
        job = self.job.model_dump() if self.job else None
        file = str(self.path.relative_to(folder))
        return {"file": file, "problem": self.problem, "job": job}

    def to_line(self, folder: Path) -> str:
        """Return a line of text. The columns of different width are at its end."""
        name = clean(str(self.path.relative_to(folder)))
        if self.job is None:
            return f"{'rejected':<31}  {name}: {clean(self.problem or '')}"
        state = clean(self.job.verdict or self.job.state).replace("_", " ")
        shown = "" if self.job.score is None else f"{self.job.score:.2f}"
        return f"{state:<24}  {shown:>5}  {name}  {self.job.id}"


@dataclass
class ManySubmitter:
    """Submits files of a folder."""

    _submitter: Submitter
    _fields: Mapping[str, object]
    """They accompany each file."""
    _bars: Progress
    """Shows what is being sent, and once why requests are retried."""
    wait: bool

    def __post_init__(self) -> None:
        self._sending = threading.Semaphore(SENT)
        self._stopping = threading.Event()
        self._failure: ServiceUnreachable | KeyRefused | None = None
        self._reached = False
        self._told: set[str] = set()

    def run(self, files: Sequence[Path]) -> Iterator[SubmissionOutcome]:
        """Yield what became of each file, as soon as it has ended, or else was submitted.

        A service that asks to wait is waited for, and one that goes away is given ``UNREACHABLE_S``
        seconds to come back. ``ServiceUnreachable`` if the service does not respond, ``KeyRefused``
        if it does not accept the key.
        """
        with ThreadPoolExecutor(FOLLOWED, thread_name_prefix="submit") as pool:
            try:
                for ended in as_completed([pool.submit(self._follow, path) for path in files]):
                    yield ended.result()
            finally:
                self._stopping.set()
                pool.shutdown(cancel_futures=True)

    def _follow(self, path: Path) -> SubmissionOutcome:
        try:
            with self._sending:
                job = self._patiently(
                    partial(self._submitter.submit, path, self._fields, self._bars)
                )
            while self.wait and job.state not in FINAL_STATES:
                self._stopping.wait(POLL_S)
                job = self._patiently(partial(self._submitter.read, job.id))
        except (ServiceUnreachable, KeyRefused) as error:
            self._failure = self._failure or error  # every other file would be refused as well
            self._stopping.set()
            raise
        except ServiceRefused as error:
            return SubmissionOutcome(path, None, error.message)
        except OSError as error:
            reason = error.strerror or error
            return SubmissionOutcome(path, None, f"the file cannot be read: {reason}")
        return SubmissionOutcome(path, job)

    def _patiently(self, call: Callable[[], Job]) -> Job:
        """Return what ``call`` returns; wait as the service asks when it is busy or away."""
        away_since: float | None = None
        while not self._stopping.is_set():
            try:
                job = call()
            except ServiceBusy as error:
                away_since = None
                if error.message not in self._told:
                    self._told.add(error.message)
                    why = f"{error.message} It is retried until it is accepted."
                    self._bars.console.print(why, markup=False, highlight=False, soft_wrap=True)
                self._stopping.wait(error.wait_s)
            except ServiceUnreachable:
                now = time.monotonic()
                away_since = now if away_since is None else away_since
                if not self._reached or now - away_since > UNREACHABLE_S:
                    raise
                self._stopping.wait(RETRY_S)
            else:
                self._reached = True
                return job
        raise self._failure or ServiceUnreachable
