"""Exports of originals: the audit log names those that exist, and no others."""

from __future__ import annotations

from pathlib import Path

import httpx
import pyrage
import pytest
from sqlalchemy import select, text

from deepfake_service.db import AuditEntry, Media
from deepfake_service.db.enums import Role
from deepfake_service.errors import DatabaseUnavailable
from deepfake_service.security.audit_log import Action
from deepfake_service.storage.blobs import BLOB_FOLDER
from tests.support.jobkit import headers
from tests.support.submitting import VIDEO, submit
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
    check_space = service.app.state.shared.check_space
    with pytest.raises(DatabaseUnavailable):
        exports.export(caller, job["case_id"], job["media_id"], recipient, check_space=check_space)
    with service.database.write() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO audit"))
    folder: Path = service.app.state.shared.settings.data_dir
    assert list((folder / "exports").iterdir()) == []
    assert exported(service) == []
