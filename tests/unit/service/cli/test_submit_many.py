"""How ``deepfake submit DIR`` sends many rows: side by side, patiently, and resumably.

The service is replaced, so that it can be slow, busy or away when a test wants it to be;
``tests/integration/test_jobs.py`` submits a manifest to the real one.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from deepfake_service.cli import submit_many
from deepfake_service.cli.manifest import Row, SubmittedRows, rows_of_folder
from deepfake_service.cli.submit_many import (
    ManySubmitter,
    Options,
    SubmissionMeter,
    SubmissionOutcome,
)
from deepfake_service.cli.submitter import Job, ServiceBusy, ServiceRefused, ServiceUnreachable
from deepfake_service.platform.db.database import new_id


class Service:
    """Accepts files; a job ends when it has been asked for twice."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.asked: dict[str, int] = {}
        self.at_once, self.most_at_once = 0, 0
        self.failures: list[Exception] = []
        """Raised by the next calls, the last one first."""
        self._lock = threading.Lock()

    def submit(self, path: Path, _fields: dict[str, Any]) -> Job:
        self._fail()
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.002)
        with self._lock:
            self.at_once -= 1
            self.received.append(path.name)
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
    return Job.model_validate({"id": job_id, "state": state, "progress": {"done": 0}})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit_many, "POLL_S", 0.001)
    monkeypatch.setattr(submit_many, "RETRY_S", 0.001)


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    folder = tmp_path / "media"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number:03}.mp4").write_bytes(str(number).encode())
    return rows_of_folder(folder, {"case_reference": "C"})


def submitted(
    service: Service, rows: list[Row], record: Path | None = None, *, wait: bool = True
) -> list[SubmissionOutcome]:
    """Submit ``rows`` and return what was reported."""
    reported: list[SubmissionOutcome] = []
    options = Options("http://service", "batch", None, wait)
    ManySubmitter(service, options, SubmittedRows(record), reported.append).run(rows)  # type: ignore[arg-type]
    return reported


def test_rows_are_sent_side_by_side_and_each_is_reported_once(rows: list[Row]) -> None:
    service = Service()
    reported = submitted(service, rows)
    assert sorted(service.received) == [row.name for row in rows]
    assert sorted(o.row.name for o in reported) == [row.name for row in rows]
    assert all(o.job is not None and o.job.state == "succeeded" for o in reported)
    assert 2 <= service.most_at_once <= 4


def test_a_busy_service_is_waited_for_however_often_it_asks(rows: list[Row]) -> None:
    service = Service()
    service.failures = [ServiceBusy("busy", 0.001) for _ in range(200)]
    assert not [o for o in submitted(service, rows) if o.problem]
    assert len(service.received) == 60


def test_it_is_said_once_why_files_are_sent_again(
    rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    """The command used to wait silently while the account was full."""
    service = Service()
    full = "The service rejected the request: Delete [old] cases."
    service.failures = [ServiceBusy(full, 0.001) for _ in range(5)]
    service.failures += [ServiceBusy("Too many requests.", 0.001) for _ in range(5)]
    submitted(service, rows)
    said = capsys.readouterr().err.splitlines()
    assert said.count(f"{full} It is retried until it is accepted.") == 1
    assert said.count("Too many requests. It is retried until it is accepted.") == 1


def test_a_service_that_restarts_is_waited_for(rows: list[Row]) -> None:
    class Restarting(Service):
        def submit(self, path: Path, fields: dict[str, Any]) -> Job:
            if path.name == "030.mp4" and not self.failures and "x" not in self.received:
                self.received.append("x")
                self.failures = [ServiceUnreachable() for _ in range(20)]
            return super().submit(path, fields)

    service = Restarting()
    assert not [o for o in submitted(service, rows) if o.problem]


def test_a_service_that_was_never_reached_is_not_waited_for(rows: list[Row]) -> None:
    service = Service()
    service.failures = [ServiceUnreachable() for _ in range(20)]
    with pytest.raises(ServiceUnreachable):
        submitted(service, rows)
    assert not service.received


def test_an_interrupted_run_resumes(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit_many, "UNREACHABLE_S", 0.0)

    class Dying(Service):
        def submit(self, path: Path, fields: dict[str, Any]) -> Job:
            if len(self.received) >= 30:
                raise ServiceUnreachable
            return super().submit(path, fields)

    record, service = tmp_path / "record", Dying()
    with pytest.raises(ServiceUnreachable):
        submitted(service, rows, record)
    first = list(service.received)
    assert 30 <= len(first) < 60
    again = Service()
    again.asked = dict(service.asked)
    reported = submitted(again, rows, record)
    assert sorted(first + again.received) == [row.name for row in rows]
    assert len(reported) == 60
    assert not [o for o in reported if o.problem]


def test_rejected_and_unreadable_files_do_not_stop_the_others(rows: list[Row]) -> None:
    class Picky(Service):
        def submit(self, path: Path, fields: dict[str, Any]) -> Job:
            if path.name == "007.mp4":
                raise ServiceRefused("too large")
            return super().submit(path, fields)

    next(iter(rows)).path.unlink()
    problems = {o.row.name: o.problem for o in submitted(Picky(), rows, wait=False) if o.problem}
    assert problems["007.mp4"] == "too large"
    assert str(problems["000.mp4"]).startswith("the file cannot be read")
    assert len(problems) == 2


def test_without_a_terminal_a_line_appears_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with SubmissionMeter(1000, wait=True) as meter:
        for _ in range(100):
            now += 1.0
            meter.count("submitted")
            meter.count("examined")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "submitted 30 of 1,000, examined 29"
    assert len(lines) == 3
