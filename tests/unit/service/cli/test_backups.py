"""Backups: damage is noticed and named, and one that stops leaves nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from deepfake_service.cli.backup import _copy_epoch_keys, back_up
from deepfake_service.platform.db import Case, Database, Job, Media
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import DatabaseDamaged, DataDirError, DecryptionFailed
from deepfake_service.platform.settings import Settings
from tests.support.jobs import VIDEO, headers, run_command, submit
from tests.unit.service.conftest import Service


def damage(records: Path, table: str) -> None:
    """Overwrite a page of a table with random bytes, as a failing disk would."""
    with contextlib.closing(sqlite3.connect(records)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(records.read_bytes())
    content[(page - 1) * size : page * size] = b"\xa5" * size
    records.write_bytes(content)


async def test_a_damaged_page_is_noticed_and_not_backed_up(start: Any, tmp_path: Path) -> None:
    settings, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        await submit(service)
    damage(settings.data_dir / "records.sqlite", "jobs")
    with pytest.raises(DatabaseDamaged, match="no new backup"):
        back_up(settings, backup)
    assert not backup.exists()
    with contextlib.closing(Database(settings.records_url)) as database:
        database.check()  # a start without the check would not notice
        with pytest.raises(DatabaseDamaged):
            database.check_integrity()
        with pytest.raises(DatabaseDamaged):
            database.check()
    with contextlib.closing(Database(settings.records_url)) as database:
        with pytest.raises(DatabaseDamaged), database.read() as session:
            session.scalars(select(Job)).all()
        assert database.damage is not None


async def test_a_service_on_a_damaged_database_is_not_ready(service: Service) -> None:
    service.database.damage = "a page is damaged"
    answer = await service.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["type"].endswith(":database_damaged")
    assert "deepfake_database_intact 0.0" in (await service.client.get("/metrics")).text


@pytest.mark.parametrize("table", ["jobs", "media", "cases"])
async def test_metrics_outlast_a_damaged_page(start: Any, tmp_path: Path, table: str) -> None:
    async with start() as service:
        await submit(service)
        damage(tmp_path / "var" / "records.sqlite", table)
        service.database.engine.dispose()  # what was read before the damage is kept in memory
        answer = await service.client.get("/metrics")
        assert answer.status_code == 200
        assert "deepfake_database_intact 0.0" in (await service.client.get("/metrics")).text


async def test_a_backup_is_closed_to_other_users(start: Any, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    async with start() as service:
        await submit(service)
        os.umask(0o022)
        for path in (settings.data_dir / "blobs").rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        back_up(settings, tmp_path / "backup")
    modes = {p.stat().st_mode & 0o077 for p in (tmp_path / "backup").rglob("*")}
    assert modes == {0}, "other users can read the backup"


async def test_what_is_missing_or_damaged_is_named(start: Any, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    async with start() as service:
        jobs = [await submit(service, VIDEO + bytes([n])) for n in range(6)]
        with service.database.write() as session:
            session.get_one(Media, jobs[0]["media_id"]).wrapped_key = b"not a wrapped key"
            session.get_one(Case, jobs[1]["case_id"]).wrapped_key = b"not a wrapped key"
            session.get_one(Media, jobs[2]["media_id"]).blob = None  # it expired
            blobs = [f"media/{job['media_id']}" for job in jobs]
            assert session.get_one(Media, jobs[3]["media_id"]).blob == blobs[3]
        vault = service.app.state.shared.services.vault
        with service.database.read() as session:
            key = vault.case_key(session.get_one(Case, jobs[5]["case_id"]))
        sound, altered = (f"cases/{jobs[5]['case_id']}/look-{n}" for n in "ab")
        for name in (sound, altered):
            vault.write(name, key, b"content")
    for name in (blobs[3], altered):
        path = settings.data_dir / "blobs" / name
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    (settings.data_dir / "blobs" / blobs[4]).unlink()
    done = run_command(settings, "audit", "verify")
    assert done.exit_code == 1
    named = [*blobs[:2], *blobs[3:5], altered]
    lines = [line for line in done.output.splitlines() if line.startswith("missing or")]
    assert sorted(lines) == sorted(f"missing or damaged: {name}" for name in named)
    assert "5 stored files are missing or damaged" in str(done.exception)


async def test_a_backup_with_another_master_key_leaves_nothing(start: Any, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "var", master_key=SecretStr("A" * 43 + "="))
    async with start() as service:
        await submit(service)
    with pytest.raises(DecryptionFailed):
        back_up(settings, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
async def test_a_backup_that_stops_leaves_nothing(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    async with start() as service:
        await submit(service)

    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(shutil, "copyfile", stop)
    with pytest.raises((DataDirError, KeyboardInterrupt)):
        back_up(Settings(data_dir=tmp_path / "var"), tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


@pytest.mark.usefixtures("epochs_end_at_once")
async def test_a_backup_is_complete_although_keys_are_renewed_meanwhile(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    async with start() as service:
        jobs = [await submit(service, VIDEO + bytes([n])) for n in range(2)]
        path = f"/v1/cases/{jobs[0]['case_id']}"
        assert (await service.client.delete(path, headers=headers(service, Role.ADMIN))).is_success

        advance = service.app.state.shared.services.key_epochs.advance
        copies = []

        def copy(*arguments: Any) -> None:
            copies.append(arguments)
            _copy_epoch_keys(*arguments)
            if len(copies) == 1:
                advance()

        monkeypatch.setattr("deepfake_service.cli.backup._copy_epoch_keys", copy)
        before = service.app.state.shared.services.key_epochs._keys.ids()
        back_up(settings, tmp_path / "backup")
        advance()
    live = {path.name for path in (settings.data_dir / "epoch-keys").iterdir()}
    kept = {path.name for path in (tmp_path / "backup" / "epoch-keys").iterdir()}
    assert before[0].hex() in kept
    assert len(kept) == 2
    assert max(live) not in kept, "the backup opens what is created after it"
