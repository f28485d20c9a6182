"""Evidence after a backup was restored: replaced editions stay so."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path
from typing import Any

import anyio.to_thread
from sqlalchemy import select

from deepfake_service.audit.records import open_database
from deepfake_service.cli.backup import back_up
from deepfake_service.cli.restore import copy_backup, restore
from deepfake_service.platform.db import Edition, RevokedEdition
from deepfake_service.platform.enums import EditionState, Role
from deepfake_service.platform.settings import Settings
from tests.support import exhibits, footage
from tests.support.jobs import end, examined, headers, post_video, with_master_key_of
from tests.unit.service.conftest import Service


async def digest_of_evidence(service: Service, job: dict[str, Any], query: str = "") -> str:
    answer = await service.client.get(f"/v1/jobs/{job['id']}/evidence{query}")
    assert answer.status_code == 200, answer.text
    return hashlib.sha256(answer.content).hexdigest()


async def reject(service: Service, job: dict[str, Any]) -> None:
    answer = await service.client.post(
        f"/v1/jobs/{job['id']}/reviews",
        json={"decision": "rejected", "reason": "seen"},
        headers=headers(service, Role.ANALYST),
    )
    assert answer.status_code == 201, answer.text


async def listed(service: Service) -> dict[str, str]:
    services = service.app.state.shared.services
    return {each.sha256: each.state for each in services.revocation_list.current().editions}


async def test_a_replaced_edition_stays_replaced_when_a_backup_is_restored(
    start: Any, tmp_path: Path
) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        job = await examined(service, exhibits.video())
        first = await digest_of_evidence(service, job)
        back_up(old, backup)
        key = service.keys[Role.PIPELINE]
        await reject(service, job)
        second = await digest_of_evidence(service, job)
        lost = await examined(service, footage.encode(footage.panning(4)), exhibits.video())
        of_lost = await digest_of_evidence(service, lost)
        await reject(service, lost)
        await digest_of_evidence(service, lost)
        assert await listed(service) == dict.fromkeys((first, of_lost), "superseded")
    async with start():
        pass  # the journal is complete at a start, whatever happened before

    journal = old.data_dir / "journal.json"
    for name in ("restored", "restored-again"):  # and by the journal of the first restoration
        restored = with_master_key_of(old, tmp_path / name)
        copy_backup(restored, backup)
        assert restore(restored, journal)[1]["edition"] == 2
        journal = restored.data_dir / "journal.json"
        with contextlib.closing(open_database(restored)) as database, database.read() as session:
            editions = session.scalars(select(Edition).order_by(Edition.number)).all()
            assert [(e.number, e.sha256) for e in editions] == [(1, first)]
            states = {e.sha256: e.state for e in session.scalars(select(RevokedEdition))}
            assert states == dict.fromkeys((first, of_lost), EditionState.SUPERSEDED)

    shutil.rmtree(old.data_dir)
    restored.data_dir.rename(old.data_dir)
    async with start() as service:
        service.client.headers["authorization"] = f"Bearer {key}"
        assert await digest_of_evidence(service, job, "?edition=1") == first
        third = await digest_of_evidence(service, job)
        assert third not in (first, second)
        assert await digest_of_evidence(service, job, "?edition=2") == third
        assert await listed(service) == dict.fromkeys((first, of_lost), "superseded")


async def test_an_edition_that_was_withdrawn_is_not_replaced_when_a_backup_is_restored(
    start: Any, tmp_path: Path
) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        job = await examined(service, exhibits.video())
        first = await digest_of_evidence(service, job)
        back_up(old, backup)
        key = service.keys[Role.PIPELINE]
        service.app.state.shared.services.revocation_list.withdraw(first)
    async with start():
        pass
    restore_in_place(old, backup)
    async with start() as service:
        service.client.headers["authorization"] = f"Bearer {key}"
        services = service.app.state.shared.services
        await anyio.to_thread.run_sync(services.reviews.catch_up)
        for query in ("", "?edition=1"):
            answer = await service.client.get(f"/v1/jobs/{job['id']}/evidence{query}")
            assert (answer.status_code, "was withdrawn" in answer.text) == (409, True)
        caller = service.accounts.authenticate(key)
        assert [e.edition for e in services.evidence_store.editions(caller, job["id"])] == [1]


async def test_a_job_that_is_examined_again_after_a_restoration_gets_an_edition(
    start: Any, tmp_path: Path
) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        job = (await post_video(service, exhibits.video())).json()
        back_up(old, backup)
        key = service.keys[Role.PIPELINE]
        end(service, job["id"], exhibits.material(exhibits.video()))
        await digest_of_evidence(service, job)
    async with start():
        pass
    restore_in_place(old, backup)
    async with start() as service:
        services = service.app.state.shared.services
        # While nothing is there that an edition could be made of.
        await anyio.to_thread.run_sync(services.reviews.catch_up)
        end(service, job["id"], exhibits.material(exhibits.video()))
        service.client.headers["authorization"] = f"Bearer {key}"
        await digest_of_evidence(service, job)
        editions = services.evidence_store.editions(service.accounts.authenticate(key), job["id"])
        assert [(e.edition, e.kept) for e in editions] == [(1, True)]


def restore_in_place(settings: Settings, backup: Path) -> None:
    """Restore a backup, with the journal of the data directory that it replaces."""
    before = settings.data_dir.with_name("before")
    settings.data_dir.rename(before)
    settings.data_dir.mkdir()
    shutil.copy(before / "master-key", settings.data_dir)
    copy_backup(settings, backup)
    restore(settings, before / "journal.json")
