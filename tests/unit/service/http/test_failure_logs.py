"""What the log says about requests and chores that fail because a store or the database does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from deepfake_service.platform.chores import Chore
from deepfake_service.platform.db.enums import Role
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
