from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client import generate_latest

from deepfake_service.platform import logs
from deepfake_service.platform.metrics import Metrics


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    captured = io.StringIO()
    logs.configure(captured)
    yield captured
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def _fail() -> None:
    try:
        raise KeyError("secret.jpg")
    except KeyError as error:
        raise ValueError("secret.jpg is bad") from error


def test_a_line_is_one_json_object_with_the_request(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        logs.logger("here").info("done", count=2)
    (line,) = lines(stream)
    assert line.pop("timestamp")
    assert line == {
        "event": "done", "count": 2, "level": "info", "logger": "here", "request_id": "r-1"
    }  # fmt: skip


def test_a_terminal_gets_lines_for_people(stream: io.StringIO) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    logs.configure(terminal)
    logs.logger("deepfake_service.checkpoints").info("audit_checkpoint", number=2)
    try:
        _fail()
    except ValueError:
        logging.getLogger("theirs").exception("failed")
    text = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    first, second = text.splitlines()
    assert re.fullmatch(r"\S+Z \[info +\] audit_checkpoint +\[\S+\] number=2", first)
    assert "builtins.ValueError" in second
    assert "secret" not in text


def test_exceptions_are_logged_by_type_and_place_without_their_text(stream: io.StringIO) -> None:
    for log in (logs.logger("ours"), logging.getLogger("theirs")):
        try:
            _fail()
        except ValueError:
            log.exception("failed")
    ours, theirs = lines(stream)
    assert "secret" not in stream.getvalue()
    for line in (ours, theirs):
        failure = line["failure"]
        assert isinstance(failure, dict)
        assert failure["error"] == "builtins.ValueError"
        assert failure["cause"]["error"] == "builtins.KeyError"
        assert failure["calls"][-1].endswith(" _fail")


def test_groups_are_described(stream: io.StringIO) -> None:
    group = ExceptionGroup("secret", [ValueError("secret"), KeyError("secret")])
    described = logs.describe(group)
    assert [e["error"] for e in described["errors"]] == ["builtins.ValueError", "builtins.KeyError"]
    assert "secret" not in json.dumps(described)


def test_what_a_library_logs_as_text_is_cut_and_of_a_traceback_nothing_left(
    stream: io.StringIO,
) -> None:
    library = logging.getLogger("uvicorn.error")
    library.error("Traceback (most recent call last):\n  File x\nValueError: secret.jpg")
    library.error("Failed:\nValueError: secret.jpg")
    assert [line["event"] for line in lines(stream)] == ["Failed:"]


def test_lines_below_the_level_and_access_logs_are_not_written(stream: io.StringIO) -> None:
    logs.logger("here").debug("no")
    logging.getLogger("uvicorn.access").info("GET /v1/jobs?url=secret")
    logging.getLogger("python_multipart.multipart").warning("secret.jpg")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("given", ["abcdefgh", "A-b_9" * 4, "0" * 64])
def test_a_proper_request_id_is_taken_over(given: str) -> None:
    assert logs.request_id_from(given) == given


@pytest.mark.parametrize(
    "given", [None, "", "short", "0" * 65, "with space", "new\nline-1", "abcdefgh\n", "ünïcode-1"]
)
def test_any_other_request_id_is_replaced(given: str | None) -> None:
    made = logs.request_id_from(given)
    assert made != given
    assert logs.REQUEST_ID.fullmatch(made)


def test_errors_are_counted_by_event_and_those_of_libraries_together(stream: io.StringIO) -> None:
    def counted(event: str) -> float:
        return logs.ERRORS.labels(event)._value.get()

    before = counted("chore_failed"), counted(logs.OF_LIBRARIES)
    for _ in range(2):
        logs.logger("deepfake_service.worker").error("chore_failed", chore="journal")
    logs.logger("deepfake_service.worker").warning("chore_failed")
    logging.getLogger("theirs").error("cannot open /private-name")
    assert (counted("chore_failed"), counted(logs.OF_LIBRARIES)) == (before[0] + 2, before[1] + 1)
    text = generate_latest(Metrics().registry).decode()
    assert 'deepfake_errors_logged_total{event="chore_failed"}' in text
    assert "private-name" not in text
