"""How ``deepfake submit DIR`` sends many files: side by side, and patiently.

The answers of the service are replaced, so that it can be slow, busy or away when a test wants it
to be; ``tests/integration/test_jobs.py`` submits a folder to the real one.
"""

from __future__ import annotations

import re
import threading
import time
from functools import partial
from io import StringIO
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from rich.progress import Progress

from deepfake_service.cli import submitter
from deepfake_service.cli.submit import SubmissionOutcome, submit_all
from deepfake_service.cli.submitter import ServiceUnreachable, Submitter
from deepfake_service.platform.db.database import new_id


class Service:
    """Accepts files; a job ends when it has been asked for twice."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.asked: dict[str, int] = {}
        self.at_once, self.most_at_once = 0, 0
        self.together = threading.Event()
        """Set once two files are sent at once, which a test that clears it waits for."""
        self.together.set()
        self.failures: list[httpx.Response | httpx.HTTPError] = []
        """The answers to the next requests, the last one first."""
        self.lock = threading.Lock()
        self.said = StringIO()
        """What the command told about waiting."""

    def answer(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            failure = self.failures.pop() if self.failures else None
        if isinstance(failure, httpx.HTTPError):
            raise failure
        return failure or (self.accept(request) if request.method == "POST" else self.tell(request))

    def accept(self, request: httpx.Request) -> httpx.Response:
        named = re.search(rb'filename="(.*?)"', request.read())
        assert named
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            if self.at_once > 1:
                self.together.set()
        assert self.together.wait(60)
        time.sleep(0.002)  # so that too many would be seen
        with self.lock:
            self.at_once -= 1
            self.received.append(named[1].decode())
            job_id = new_id()
            self.asked[job_id] = 0
        return httpx.Response(202, json={"id": job_id, "state": "queued"})

    def tell(self, request: httpx.Request) -> httpx.Response:
        job_id = request.url.path.rpartition("/")[2]
        with self.lock:
            self.asked[job_id] += 1
            state = "succeeded" if self.asked[job_id] > 1 else "running"
        return httpx.Response(200, json={"id": job_id, "state": state})


def busy(detail: str) -> httpx.Response:
    return httpx.Response(503, headers={"Retry-After": "1"}, json={"type": "x", "detail": detail})


AWAY = httpx.ConnectError("")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    replaced = Service()
    transport = httpx.MockTransport(lambda request: replaced.answer(request))
    monkeypatch.setattr(httpx, "Client", partial(httpx.Client, transport=transport))
    monkeypatch.setattr(submitter, "POLL_S", 0.001)
    monkeypatch.setattr(submitter, "RETRY_S", 0.001)
    monkeypatch.setattr(submitter, "LONGEST_WAIT_S", 0.001)
    return replaced


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number:03}.mp4" for number in range(60)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def submitted(service: Service, files: list[Path], *, wait: bool = True) -> list[SubmissionOutcome]:
    """Submit ``files`` and return what was reported."""
    with Submitter("http://127.0.0.1:1", "key") as client:
        client.console = Console(file=service.said)
        bars = Progress(console=client.console, disable=True)
        return list(submit_all(client, files, {"note": "n"}, bars, wait=wait))


def test_files_are_sent_side_by_side_and_each_is_reported_once(
    service: Service, files: list[Path]
) -> None:
    service.together.clear()
    reported = submitted(service, files)
    assert sorted(service.received) == [path.name for path in files]
    assert sorted(o.path.name for o in reported) == [path.name for path in files]
    assert all(o.job is not None and o.job.state == "succeeded" for o in reported)
    assert service.most_at_once <= 4


def test_a_busy_service_is_waited_for_however_often_it_asks(
    service: Service, files: list[Path]
) -> None:
    service.failures = [busy("Busy.") for _ in range(200)]
    assert not [o for o in submitted(service, files) if o.problem]
    assert len(service.received) == 60


def test_it_is_said_once_why_files_are_sent_again(service: Service, files: list[Path]) -> None:
    """The command used to wait silently while the account was full."""
    texts = "Delete [old] cases.", "Too many requests."
    service.failures = [busy(text) for text in texts for _ in range(5)]
    submitted(service, files)
    for text in texts:
        why = f"The service rejected the request: {text} It is retried until it is accepted."
        assert service.said.getvalue().count(why) == 1


def test_a_service_that_restarts_is_waited_for(service: Service, files: list[Path]) -> None:
    class Restarting(Service):
        def accept(self, request: httpx.Request) -> httpx.Response:
            if b"030.mp4" in request.read() and not self.failures and "x" not in self.received:
                self.received.append("x")
                self.failures = [AWAY] * 20
            return super().accept(request)

    service.__class__ = Restarting
    assert not [o for o in submitted(service, files) if o.problem]


def test_a_service_that_stays_away_is_given_up(
    service: Service, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitter, "UNREACHABLE_S", 0.01)

    class Leaving(Service):
        def accept(self, request: httpx.Request) -> httpx.Response:
            if len(self.received) > 10:
                raise AWAY
            return super().accept(request)

    service.__class__ = Leaving
    with pytest.raises(ServiceUnreachable):
        submitted(service, files, wait=False)


def test_a_service_that_was_never_reached_is_not_waited_for(
    service: Service, files: list[Path]
) -> None:
    service.failures = [AWAY] * len(files)
    with pytest.raises(ServiceUnreachable):
        submitted(service, files)
    assert not service.received


def test_rejected_and_unreadable_files_do_not_stop_the_others(
    service: Service, files: list[Path]
) -> None:
    class Picky(Service):
        def accept(self, request: httpx.Request) -> httpx.Response:
            if b"007.mp4" in request.read():
                return httpx.Response(413, json={"type": "x", "detail": "Too large."})
            return super().accept(request)

    service.__class__ = Picky
    files[0].unlink()
    ended = submitted(service, files, wait=False)
    problems = {o.path.name: o.problem for o in ended if o.problem}
    assert problems["007.mp4"] == "The service rejected the request: Too large."
    assert str(problems["000.mp4"]).startswith("the file cannot be read")
    assert len(problems) == 2
