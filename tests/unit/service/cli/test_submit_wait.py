"""``deepfake submit`` while the service is busy, refuses or is another one."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest
from typer.testing import CliRunner

from deepfake_service.cli import app as cli
from deepfake_service.cli.output import json_line
from deepfake_service.cli.submit import summary
from deepfake_service.cli.submitter import (
    Job,
    KeyRefused,
    ServiceBusy,
    ServiceRefused,
    ServiceUnreachable,
    Submitter,
)
from tests.support.captures import hand_in
from tests.support.jobs import post_video
from tests.support.loopback import serving
from tests.unit.service.conftest import Service


def problem(status: int, detail: str) -> dict[str, Any]:
    return {
        "type": "about:blank", "title": "", "status": status, "detail": detail, "instance": "x",
    }  # fmt: skip


BUSY = (503, {"Retry-After": "0"}, problem(503, "Later."))


@contextmanager
def answering(*answers: tuple[int, dict[str, str], Any]) -> Iterator[str]:
    """Serve the answers one after the other; yield the address."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_OPTIONS(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            status, headers, content = left.pop(0)
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            kind = "application/json" if status == 200 else "application/problem+json"
            for name, value in {"Content-Type": kind, **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


async def test_what_keeps_a_capture_is_told_once(service: Service) -> None:
    url = "https://a.example/1"
    capture = (await hand_in(service, b"a page")).json()
    link = {"id": capture["id"], "url": url, "created": True}
    accepted = {"case_id": capture["case_id"], "links": [link]}
    queued = {**capture, "state": "queued", "new_field": "of a newer service"}
    waiting = {**queued, "waits": "The server is short of disk space."}
    ended = {**queued, "state": "refused", "reason": "not_found"}
    looks = [(200, {}, each) for each in (waiting, waiting, queued, ended)]
    urls = [url, "https://a.example/2 note"]  # which has no link, and keeps no other
    command = ["capture", "links", *urls, "--case-reference", "A", "--key", "key"]
    with answering((200, {}, accepted), *looks) as address:
        result = CliRunner().invoke(cli.app, [*command, "--url", address])
    assert result.stderr.count("short of disk space") == 1, result.output
    assert f"{url}: not found; 0 pictures and videos" in result.stdout
    assert "Not opened: the URL in line 2 has no host, or spaces in it." in result.stderr


async def test_a_busy_service_is_waited_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    job = (await post_video(service, b"a")).json()
    ended = {**job, "state": "cancelled"}
    seen: list[Job] = []

    def has_ended(job: Job) -> bool:
        seen.append(job)
        return job.state == "cancelled"

    answers = BUSY, (200, {}, job), BUSY, BUSY, (200, {}, ended)
    with answering(*answers) as url, Submitter(url, "key") as submitter:
        monkeypatch.setattr(submitter.stopping, "wait", slept.append)
        read = partial(submitter.read, job["id"])
        assert submitter.until(has_ended, read).state == "cancelled"
    assert len(seen) == 2
    gone = (404, {}, problem(404, "There is no such job."))
    with answering(BUSY, gone) as url, Submitter(url, "key") as submitter:
        monkeypatch.setattr(submitter.stopping, "wait", slept.append)
        with pytest.raises(ServiceRefused, match="no such job"):
            submitter.until(has_ended, partial(submitter.read, job["id"]))
    # A service that says 0 is not sent the same again and again.
    assert slept == [1.0] * 5


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_in_front_of_a_service_that_restarts_is_no_refusal(status: int) -> None:
    """A file that was sent meanwhile used to count as rejected, and was not sent again."""
    page = (status, {"Content-Type": "text/html"}, b"<h1>Bad Gateway</h1>")
    with (
        answering(page) as url,
        Submitter(url, "key") as submitter,
        pytest.raises(ServiceUnreachable, match=f"does not respond: HTTP status {status}"),
    ):
        submitter.read("x")


def test_a_proxy_that_says_how_long_to_wait_is_waited_for() -> None:
    page = (503, {"Content-Type": "text/plain", "Retry-After": "5"}, b"Too many connections.")
    with (
        answering(page) as url,
        Submitter(url, "key") as submitter,
        pytest.raises(ServiceBusy) as busy,
    ):
        submitter.read("x")
    assert busy.value.wait_s == 5.0


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "not_authenticated"), (403, "forbidden"), (429, "too_many_failed_sign_ins")],
)
def test_a_key_that_is_refused_ends_the_command(tmp_path: Path, status: int, code: str) -> None:
    """Each file of a folder used to be sent whole and rejected, ten a minute, to the last one."""
    for number in range(20):
        (tmp_path / f"{number}.mp4").write_bytes(b"video")
    refused = {**problem(status, "No."), "type": f"urn:deepfake-service:problem:{code}"}
    answers = [(status, {"Retry-After": "60"} if status == 429 else {}, refused)] * 20
    with answering(*answers) as url:
        words = ["submit", str(tmp_path), "--url", url, "--key", "k"]
        error = CliRunner().invoke(cli.app, words).exception
    assert isinstance(error, KeyRefused)
    assert error.message == ("The service rejected the request: No. Check --key or DEEPFAKE_KEY.")


@pytest.mark.parametrize("key", ["käy", "열쇠", "a key", " key", "key\n", ""])
def test_a_key_that_no_header_can_carry_is_said_to_be_one(key: str) -> None:
    """The command used to end with a traceback, or to call the service unreachable."""
    with pytest.raises(KeyRefused, match=r"not ASCII.* --key or DEEPFAKE_KEY\.$"):
        Submitter("http://127.0.0.1:1", key)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost:8000", "ftp://127.0.0.1", ""])
def test_a_url_without_its_scheme_is_said_to_lack_it(url: str) -> None:
    with pytest.raises(ServiceUnreachable, match="must begin with http:// or https://"):
        Submitter(url, "key")
    Submitter("HTTP://127.0.0.1:8000", "key")


@pytest.mark.parametrize("command", [["submit"], ["capture", "import"]])
def test_a_key_is_asked_for_in_a_terminal_alone(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"video")
    words = [sys.executable, "-m", "deepfake_service", *command, str(tmp_path / "clip.mp4")]
    without_key = {name: value for name, value in os.environ.items() if name != "DEEPFAKE_KEY"}
    # In a session of its own, it has no terminal but the one that it is given.
    start = partial(Popen, words, env=without_key, stderr=PIPE, start_new_session=True)
    with start(stdin=PIPE) as process:
        _, said = process.communicate(b"a-key\n")
    assert (process.returncode, said.decode()) == (
        1,
        "error: There is no key, and no terminal to ask for it: name the key with --key or "
        "DEEPFAKE_KEY.\n",
    )
    keyboard, terminal = os.openpty()
    with start(stdin=terminal) as process:
        assert process.stderr is not None
        assert process.stderr.read(5) == b"Key: "
        os.write(keyboard, b"a key\n")
        assert b"has a space" in process.stderr.read()
    os.close(keyboard)
    os.close(terminal)


ESCAPES = "\x1b]0;x\x07\x9b2J\nrow job\u202e"
"""What retitles and clears a terminal, begins a line, and turns the direction of text."""


def is_safe(text: str) -> bool:
    return not any(unicodedata.category(c)[0] == "C" for c in text.replace("\n", ""))


async def test_texts_of_a_service_do_not_reach_the_terminal_as_they_are(service: Service) -> None:
    job = (await post_video(service, b"a")).json()
    failed = {**job, "state": "failed", "failure": ESCAPES}
    with answering((200, {}, failed)) as url, Submitter(url, "key") as submitter:
        read = submitter.read(job["id"])
    assert is_safe(summary(read))
    assert len(summary(read).splitlines()) == 2
    assert is_safe(json_line(read.model_dump()))
    assert json.loads(json_line(read.model_dump())) == failed
    refusal = (403, {}, problem(403, ESCAPES))
    with (
        answering(refusal) as url,
        Submitter(url, "key") as submitter,
        pytest.raises(ServiceRefused) as refused,
    ):
        submitter.read(job["id"])
    assert is_safe(refused.value.message)
    assert "\n" not in refused.value.message


async def test_a_refusal_says_each_fault_once(service: Service) -> None:
    fields = {"frames": "x", "priority": "x"}
    answer = await service.client.post("/v1/videos", data=fields, files={"file": b"a"})
    told = "The service rejected the request: " + answer.json()["detail"]
    more = {"field": "seventh", "detail": "is wrong"}
    for errors, said in (([], told), ([more], f'{told} "seventh": is wrong.')):
        sent = answer.json() | {"errors": answer.json()["errors"] + errors}
        reply = (422, {"Content-Type": "application/problem+json"}, sent)
        with (
            answering(reply) as url,
            Submitter(url, "key") as submitter,
            pytest.raises(ServiceRefused) as refused,
        ):
            submitter.read("a")
        assert refused.value.message == said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["{folder}"], 1, "contains no files"),
        (["{folder}/none.mp4"], 2, "does not exist"),
        (["{folder}", "--frames", "0"], 2, "greater than or equal to 1"),
    ],
)
def test_nothing_to_submit_is_no_success(
    tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    given = [word.format(folder=tmp_path) for word in words]
    done = CliRunner().invoke(cli.app, ["submit", *given, "--key", "key"], env={"COLUMNS": "300"})
    assert (done.exit_code, said in done.output) == (code, True)
    assert not done.stdout


@pytest.mark.parametrize("answer", [b"<h1>Hello</h1>", [], {"id": "a"}])
def test_the_answer_of_another_server_is_said_to_be_one(answer: Any) -> None:
    with (
        answering((200, {}, answer)) as url,
        Submitter(url, "key") as submitter,
        pytest.raises(ServiceRefused, match=r"cannot be read\. Check that --url"),
    ):
        submitter.read("x")


def test_errors_are_printed_without_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ServiceRefused(f"first {ESCAPES}\nsecond")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit):
        cli.main()
    printed = capsys.readouterr().err
    assert is_safe(printed)
    assert printed.endswith("\nsecond\n")


@pytest.mark.parametrize(
    ("state", "code"), [("queued", 0), ("failed", 1), ("expired", 1), ("cancelled", 1)]
)
@pytest.mark.parametrize("many", [False, True])
async def test_a_job_that_ends_without_a_result_is_no_success(
    service: Service, tmp_path: Path, state: str, code: int, many: bool
) -> None:
    job = (await post_video(service, b"a")).json()
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"a")
    words = ["submit", str(folder if many else folder / "a.mp4"), "--key", "key", "--no-wait"]
    with answering((200, {}, {**job, "state": state})) as url:
        done = CliRunner().invoke(cli.app, [*words, "--url", url])
    assert done.exit_code == code, done.output
