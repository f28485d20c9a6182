"""What the log says about requests and chores that fail because a store or the database does, and
what would show no secret if it came there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy import text

from deepfake_service.api.captures import LinksIn
from deepfake_service.capture.work import Work
from deepfake_service.examination import steps
from deepfake_service.platform.chores import Chore
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import DatabaseUnavailable
from tests.support.jobs import VIDEO, headers, submit
from tests.unit.service.conftest import Service

LogLines = Callable[[], list[dict[str, Any]]]


async def test_why_a_file_is_not_stored_is_logged(service: Service, log_lines: LogLines) -> None:
    folder = service.app.state.shared.settings.data_dir / "blobs"
    (folder / "media").write_text("in the way of the folder of this name")
    answer = await service.client.post(
        "/v1/videos", files={"file": ("v", VIDEO)}, headers=headers(service, Role.PIPELINE)
    )
    assert answer.status_code == 503
    (line,) = [line for line in log_lines() if line["event"] == "request_not_served"]
    assert line["failure"]["error"] == "deepfake_service.platform.errors.StorageUnavailable"
    assert line["failure"]["cause"]["error"]
    assert line["request_id"] == answer.headers["x-request-id"]
    assert str(folder) not in str(line)


async def test_a_page_that_fails_is_logged(service: Service, log_lines: LogLines) -> None:
    job = await submit(service, VIDEO)
    with service.database.write() as session:
        session.execute(text("UPDATE cases SET wrapped_key = x'00'"))
    origin = {"Origin": str(service.client.base_url)}
    key = {"key": service.keys[Role.ADMIN]}
    assert (await service.client.post("/sign-in", data=key, headers=origin)).status_code == 303
    answer = await service.client.get(f"/items/{job['id']}")
    assert answer.status_code == 500
    (line,) = [line for line in log_lines() if line["event"] == "request_failed"]
    assert line["failure"]["error"] == "deepfake_service.platform.errors.DecryptionFailed"


def test_a_chore_without_a_database_logs_a_short_line(log_lines: LogLines) -> None:
    called = threading.Event()

    def send() -> None:
        if called.is_set():
            return
        called.set()
        raise DatabaseUnavailable

    chore = Chore("webhooks", send, 0.01)
    assert called.wait(60)
    chore.stop()
    (line,) = [line for line in log_lines() if line.get("chore") == "webhooks"]
    assert (line["event"], line["level"]) == ("database_unavailable", "warning")
    assert line["problem"] == DatabaseUnavailable().message


@pytest.mark.parametrize("kind", [Work, steps._OpenedJob])
def test_what_holds_the_key_of_a_case_does_not_show_it(kind: Any) -> None:
    assert "of a case" not in repr(kind(*["the key of a case"] * len(fields(kind))))


@pytest.mark.parametrize("shown", [repr, str])
def test_the_body_of_a_request_does_not_show_what_was_submitted(
    shown: Callable[[object], str],
) -> None:
    links = {"case_reference": "our case", "urls": [{"url": "https://example.org/our-case"}]}
    body = LinksIn.model_validate(links)
    assert "our" not in shown(body) + shown(body.urls[0])
