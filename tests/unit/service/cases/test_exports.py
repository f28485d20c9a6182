"""Exports of originals: the audit log names those that exist, and no others."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pyrage
import pytest
from sqlalchemy import select, text
from starlette.types import Message, Scope

from deepfake_service.audit.log import Action
from deepfake_service.platform.db import AuditEntry, Media
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import DatabaseUnavailable
from deepfake_service.platform.storage.blobs import BLOB_FOLDER
from tests.support.jobs import VIDEO, headers, submit
from tests.unit.service.conftest import Service


def exported(service: Service) -> list[str | None]:
    """Return the media that were exported, by the audit log."""
    with service.database.read() as session:
        entries = select(AuditEntry.subject).where(AuditEntry.action == Action.MEDIA_EXPORTED)
        return list(session.scalars(entries))


async def test_an_export_that_fails_is_not_in_the_audit_log(service: Service) -> None:
    job = await submit(service)
    folder: Path = service.app.state.shared.settings.data_dir
    authority = pyrage.x25519.Identity.generate()
    path = f"/v1/cases/{job['case_id']}/media/{job['media_id']}/export"

    async def export(recipient: str) -> httpx.Response:
        body, who = {"recipient": recipient}, headers(service, Role.ANALYST)
        return await service.client.post(path, json=body, headers=who)

    assert (await export("age1nonsense")).status_code == 422
    with service.database.read() as session:
        blob = folder / BLOB_FOLDER / str(session.get_one(Media, job["media_id"]).blob)
    stored = blob.read_bytes()
    blob.unlink()
    blob.symlink_to(blob.name)  # a loop
    assert (await export(str(authority.to_public()))).status_code == 503
    assert exported(service) == []
    blob.unlink()
    blob.write_bytes(stored)
    answer = await export(str(authority.to_public()))
    assert pyrage.decrypt(answer.content, [authority]) == VIDEO
    assert exported(service) == [job["media_id"]]


async def test_nothing_is_exported_without_an_entry(service: Service) -> None:
    job = await submit(service)
    exports = service.app.state.shared.services.exports
    caller = service.accounts.authenticate(service.keys[Role.ANALYST])
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    with service.database.write() as session:
        session.execute(text("ALTER TABLE audit RENAME TO elsewhere"))
    with pytest.raises(DatabaseUnavailable):
        exports.export(caller, job["case_id"], job["media_id"], recipient)
    with service.database.write() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO audit"))
    folder: Path = service.app.state.shared.settings.data_dir
    assert list((folder / "exports").iterdir()) == []
    assert exported(service) == []


async def test_an_export_whose_client_left_before_it_was_sent_is_deleted(service: Service) -> None:
    """It took its space for an hour: writing a large one takes longer than clients wait."""
    job = await submit(service)
    path = f"/v1/cases/{job['case_id']}/media/{job['media_id']}/export"
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    body = json.dumps({"recipient": recipient}).encode()
    sent = {"content-type": "application/json", **headers(service, Role.ANALYST)}
    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": "POST", "scheme": "http", "path": path, "raw_path": path.encode(),
        "query_string": b"", "server": ("service", 80), "client": ("127.0.0.1", 1),
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
    }  # fmt: skip
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    left, answer = asyncio.Event(), []

    async def receive() -> Message:
        if messages:
            return messages.pop()
        left.set()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answer.append(message)
        await left.wait()

    await service.app(scope, receive, send)
    assert [message["type"] for message in answer] == ["http.response.start"]
    assert answer[0]["status"] == 200
    folder: Path = service.app.state.shared.settings.data_dir
    assert list((folder / "exports").iterdir()) == []
