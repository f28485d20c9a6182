"""How ``deepfake submit DIR`` sends many files: side by side, and patiently.

The service is replaced, so that it can be slow, busy or away when a test wants it to be;
``tests/integration/test_jobs.py`` submits a folder to the real one.
"""

from __future__ import annotations

import threading
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from deepfake_service.cli import submitter
from deepfake_service.cli.submit import SubmissionOutcome, submit_all
from deepfake_service.cli.submitter import (
    Job,
    ServiceBusy,
    ServiceRefused,
    ServiceUnreachable,
    Submitter,
)
from deepfake_service.platform.db.database import new_id


class Service(Submitter):
    """Accepts files; a job ends when it has been asked for twice."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", "key")
        self.received: list[str] = []
        self.asked: dict[str, int] = {}
        self.at_once, self.most_at_once = 0, 0
        self.together = threading.Event()
        """Set once two files are sent at once, which a test that clears it waits for."""
        self.together.set()
        self.said = StringIO()
        self.console = Console(file=self.said)
        """What the command told about waiting."""
        self.failures: list[Exception] = []
        """Raised by the next calls, the last one first."""
        self._lock = threading.Lock()

    def submit(self, path: Path, fields: Any, bars: Progress) -> Job:
        self._fail()
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            if self.at_once > 1:
                self.together.set()
        assert self.together.wait(60)
        time.sleep(0.002)  # so that too many would be seen
        with self._lock:
            self.at_once -= 1
            self.received.append(path.name)
            path.read_bytes()
            job_id = new_id()
            self.asked[job_id] = 0
        return _job(job_id, "queued")

    def read(self, job_id: str) -> Job:
        self._fail()
        with self._lock:
            self.asked[job_id] += 1
            return _job(job_id, "succeeded" if self.asked[job_id] > 1 else "running")

    def _fail(self) -> None:
        with self._lock:
            if self.failures:
                raise self.failures.pop()


def _job(job_id: str, state: str) -> Job:
    return Job(id=job_id, state=state)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitter, "POLL_S", 0.001)
    monkeypatch.setattr(submitter, "RETRY_S", 0.001)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number:03}.mp4" for number in range(60)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def submitted(service: Service, files: list[Path], *, wait: bool = True) -> list[SubmissionOutcome]:
    """Submit ``files`` and return what was reported."""
    bars = Progress(console=service.console, disable=True)
    return list(submit_all(service, files, {"note": "n"}, bars, wait=wait))


def test_files_are_sent_side_by_side_and_each_is_reported_once(files: list[Path]) -> None:
    service = Service()
    service.together.clear()
    reported = submitted(service, files)
    assert sorted(service.received) == [path.name for path in files]
    assert sorted(o.path.name for o in reported) == [path.name for path in files]
    assert all(o.job is not None and o.job.state == "succeeded" for o in reported)
    assert service.most_at_once <= 4


def test_a_busy_service_is_waited_for_however_often_it_asks(files: list[Path]) -> None:
    service = Service()
    service.failures = [ServiceBusy("busy", 0.001) for _ in range(200)]
    assert not [o for o in submitted(service, files) if o.problem]
    assert len(service.received) == 60


def test_it_is_said_once_why_files_are_sent_again(files: list[Path]) -> None:
    """The command used to wait silently while the account was full."""
    service = Service()
    full = "The service rejected the request: Delete [old] cases."
    service.failures = [ServiceBusy(full, 0.001) for _ in range(5)]
    service.failures += [ServiceBusy("Too many requests.", 0.001) for _ in range(5)]
    submitted(service, files)
    assert service.said.getvalue().count(f"{full} It is retried until it is accepted.") == 1
    assert (
        service.said.getvalue().count("Too many requests. It is retried until it is accepted.") == 1
    )


def test_a_service_that_restarts_is_waited_for(files: list[Path]) -> None:
    class Restarting(Service):
        def submit(self, path: Path, fields: Any, bars: Progress) -> Job:
            if path.name == "030.mp4" and not self.failures and "x" not in self.received:
                self.received.append("x")
                self.failures = [ServiceUnreachable() for _ in range(20)]
            return super().submit(path, fields, bars)

    service = Restarting()
    assert not [o for o in submitted(service, files) if o.problem]


def test_a_service_that_stays_away_is_given_up(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitter, "UNREACHABLE_S", 0.01)

    class Leaving(Service):
        def submit(self, path: Path, fields: Any, bars: Progress) -> Job:
            if len(self.received) > 10:
                raise ServiceUnreachable
            return super().submit(path, fields, bars)

    with pytest.raises(ServiceUnreachable):
        submitted(Leaving(), files, wait=False)


def test_a_service_that_was_never_reached_is_not_waited_for(files: list[Path]) -> None:
    service = Service()
    service.failures = [ServiceUnreachable() for _ in range(20)]
    with pytest.raises(ServiceUnreachable):
        submitted(service, files)
    assert not service.received


def test_rejected_and_unreadable_files_do_not_stop_the_others(files: list[Path]) -> None:
    class Picky(Service):
        def submit(self, path: Path, fields: Any, bars: Progress) -> Job:
            if path.name == "007.mp4":
                raise ServiceRefused("too large")
            return super().submit(path, fields, bars)

    files[0].unlink()
    problems = {o.path.name: o.problem for o in submitted(Picky(), files, wait=False) if o.problem}
    assert problems["007.mp4"] == "too large"
    assert str(problems["000.mp4"]).startswith("the file cannot be read")
    assert len(problems) == 2
