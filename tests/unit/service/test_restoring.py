"""Backups that know that they are one, damage that is noticed, restoring that undoes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest
from dbos._sys_db import WorkflowStatusString, workflow_is_active
from pydantic import SecretStr
from sqlalchemy import select
from typer.testing import CliRunner, Result

from deepfake_service.casework.retention import Retention
from deepfake_service.cli.app import app as command
from deepfake_service.cli.backup import _restart_pending_jobs as restart_pending_jobs
from deepfake_service.cli.backup import back_up
from deepfake_service.cli.restore import copy_backup, restore
from deepfake_service.db import (
    AuditEntry,
    Case,
    Database,
    Edition,
    FlaggedHashes,
    Job,
    Key,
    Media,
    PendingSignIn,
    RevokedEdition,
    SecondFactor,
    SigningKey,
    new_id,
)
from deepfake_service.db.enums import EditionState, JobState, Role
from deepfake_service.errors import (
    DatabaseDamaged,
    DatabaseError,
    DataDirError,
    DecryptionFailed,
    InvitationInvalid,
    NotAuthenticated,
    SecondFactorRequired,
    SettingsError,
    StorageUnavailable,
)
from deepfake_service.security.accounts import Accounts, Caller
from deepfake_service.security.audit_log import verify
from deepfake_service.security.invitations import Invitations
from deepfake_service.security.journal import read_journal
from deepfake_service.security.records import open_database
from deepfake_service.security.signing_keys import STATEMENT, open_signing_keys
from deepfake_service.settings import Settings
from deepfake_service.storage import Vault, open_case_keys, open_keys
from tests.support.submitting import VIDEO, submit

# ``conftest.Service``; conftest modules cannot be imported.
Service = Any


def as_role(service: Service, role: Role) -> dict[str, dict[str, str]]:
    return {"headers": {"Authorization": f"Bearer {service.keys[role]}"}}


def run(settings: Settings, *words: object) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPFAKE_DATA_DIR", str(settings.data_dir))
        return CliRunner().invoke(command, [str(w) for w in words])


async def test_a_restored_backup_brings_nothing_to_life(start: Any, tmp_path: Path) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        jobs = [
            await submit(service, VIDEO + bytes([n]), case_reference=f"R-{n}") for n in range(5)
        ]
        beside = await submit(service, VIDEO + b"beside", case_reference="R-4")
        flagged, held, shredded, kept, partly = (job["case_id"] for job in jobs)
        owner = service.accounts.authenticate(service.keys[Role.PIPELINE]).account_id
        revoked = service.accounts.create_key(
            next(a.name for a in service.accounts.all() if a.id == owner)
        )
        ending = service.accounts.create_key(
            next(a.name for a in service.accounts.all() if a.id == owner)
        )
        signing = open_signing_keys(old, service.database, open_keys(old))
        first_signer = signing.current()
        analyst = as_role(service, Role.ANALYST)

        assert back_up(old, backup) == []

        service.accounts.revoke(revoked.id)
        end = service.database.clock() + timedelta(days=30)
        service.accounts.end(ending.id, end)
        disabled = service.accounts.authenticate(service.keys[Role.AUDITOR]).account_id
        service.accounts.disable(next(a.name for a in service.accounts.all() if a.id == disabled))
        assert (await service.client.put(f"/v1/cases/{flagged}/minor", **analyst)).is_success
        assert (await service.client.put(f"/v1/cases/{held}/hold", **analyst)).is_success
        assert (await service.client.delete(f"/v1/cases/{shredded}")).status_code == 204
        assert (await service.client.delete(f"/v1/jobs/{beside['id']}")).status_code == 204
        signing.rotate()
        second_signer = signing.current()
        later = await submit(service, VIDEO + b"later", case_reference="LATER")
        keys = dict(service.keys)
    restored = Settings(data_dir=tmp_path / "restored")
    restored.data_dir.mkdir()
    shutil.copy(old.data_dir / "master-key", restored.data_dir)
    async with start():
        pass  # the journal is complete at a start, whatever happened before

    # Copied by hand, as one did before, the backup is not served.
    copied = tmp_path / "copied"
    shutil.copytree(backup, copied)
    shutil.copy(old.data_dir / "master-key", copied)
    with pytest.raises(DatabaseError, match="is a backup of"):
        open_database(Settings(data_dir=copied))

    done = run(restored, "restore", backup, "--journal", old.data_dir / "journal.jsonl")
    assert done.exit_code == 0, (done.output, done.exception)
    for action in ("key.revoked", "key.changed", "account.disabled", "minor.flagged", "hold.set",
                   "case.shredded", "job.deleted", "signing_keys.made"):  # fmt: skip
        assert f"replayed: {action}, 1" in done.output, action

    with contextlib.closing(open_database(restored)) as database:
        accounts = Accounts(database)
        for text in (revoked.text, keys[Role.AUDITOR]):
            with pytest.raises(NotAuthenticated):
                accounts.authenticate(text)
        assert accounts.authenticate(keys[Role.PIPELINE]).account_id == owner
        with database.read() as session:
            verify(session)
            expires_at = session.get_one(Key, ending.id).expires_at
            assert expires_at == end.replace(microsecond=0)
            cases = {case.id: case for case in session.scalars(select(Case))}
            assert set(cases) == {flagged, held, kept, partly}
            assert cases[flagged].minor_at is not None
            assert cases[flagged].minor_by is not None
            assert cases[held].held_at is not None
            assert cases[kept].minor_at is cases[kept].held_at is None
            assert later["id"] not in set(session.scalars(select(Job.id)))
            assert beside["id"] not in set(session.scalars(select(Job.id)))
            actions = list(session.scalars(select(AuditEntry.action)))
            signers = {key.id: key for key in session.scalars(select(SigningKey))}
        assert "installation.restored" in actions
        published = open_signing_keys(restored, database, open_keys(restored))
        trusted = [key.public_bytes_raw() for key in published.published()]
        for signer in (first_signer, second_signer):
            assert signer.statement.public_key().public_bytes_raw() in trusted
        active = published.current().statement.public_key().public_bytes_raw()
        before = (first_signer, second_signer)
        assert active not in [s.statement.public_key().public_bytes_raw() for s in before]
        assert len(signers) == 6
    # What it holds now is journaled again, so that an older copy of this one is noticed as well.
    assert (restored.data_dir / "journal.jsonl").exists()


async def test_what_a_command_revokes_while_no_service_runs_stays_revoked(
    start: Any, tmp_path: Path
) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        job = await submit(service)
        signing = open_signing_keys(old, service.database, open_keys(old))
        signing.current()
        revoked = next(key for key in signing.all() if key.purpose == STATEMENT)
        withdrawn = "f" * 64
        with service.database.write() as session:
            session.add(
                Edition(
                    id=new_id(), job_id=job["id"], number=1, sha256=withdrawn, imagery=False,
                    created_at=service.clock(),
                )
            )  # fmt: skip
    back_up(old, backup)
    for words in (
        ("keys", "signing", "revoke", revoked.id),
        ("keys", "signing", "rotate"),
        ("evidence", "withdraw", withdrawn),
    ):
        assert run(old, *words).exit_code == 0
    for restored in restored_twice(old, backup):
        with contextlib.closing(open_database(restored)) as database, database.read() as session:
            assert session.get_one(SigningKey, revoked.id).revoked_at is not None
            assert session.get_one(RevokedEdition, withdrawn).state == EditionState.WITHDRAWN


def restored_twice(old: Settings, backup: Path) -> Iterator[Settings]:
    """Restore a backup, and again by the journal of the first restoration; yield the settings."""
    journal = old.data_dir / "journal.jsonl"
    for name in ("restored", "restored-again"):
        restored = Settings(data_dir=backup.parent / name)
        restored.data_dir.mkdir()
        shutil.copy(old.data_dir / "master-key", restored.data_dir)
        done = run(restored, "restore", backup, "--journal", journal)
        assert done.exit_code == 0, (done.output, done.exception)
        yield restored
        journal = restored.data_dir / "journal.jsonl"


async def test_a_restored_backup_knows_of_later_second_factors_and_used_invitations(
    start: Any, tmp_path: Path
) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        accounts, factors = service.accounts, service.app.state.shared.services.second_factors
        analyst, admin = (
            accounts.authenticate(service.keys[role]) for role in (Role.ANALYST, Role.ADMIN)
        )

        def turn_on(caller: Caller) -> None:
            totp = pyotp.TOTP(factors.enrol(caller).secret)
            factors.confirm(caller, totp.at(service.clock()))

        name = next(a.name for a in accounts.all() if a.id == analyst.account_id)
        token = Invitations(service.database).create(name)
        turn_on(admin)
        factors.enrol(analyst)  # not confirmed, and replaced later
        factors.begin_sign_in(admin)

        assert back_up(old, backup) == []

        Invitations(service.database).redeem(token)
        turn_on(analyst)
        factors.remove(admin.account_id)
        keys = dict(service.keys)
    async with start():
        pass
    for restored in restored_twice(old, backup):
        with contextlib.closing(open_database(restored)) as database:
            with pytest.raises(SecondFactorRequired):
                Accounts(database).authenticate(keys[Role.ANALYST])
            assert Accounts(database).authenticate(keys[Role.ADMIN]) == admin
            with pytest.raises(InvitationInvalid):
                Invitations(database).redeem(token)
            with database.read() as session:
                assert session.scalars(select(SecondFactor)).all() == []
                assert session.scalars(select(PendingSignIn)).all() == []
    assert run(restored, "accounts", "remove-second-factor", name).output == "removed\n"
    with contextlib.closing(open_database(restored)) as database:
        assert Accounts(database).authenticate(keys[Role.ANALYST]) == analyst


async def test_a_flag_keeps_its_account_when_a_backup_is_restored_twice(
    start: Any, tmp_path: Path
) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        job = await submit(service)
        back_up(old, backup)
        analyst = service.accounts.authenticate(service.keys[Role.ANALYST]).account_id
        path = f"/v1/cases/{job['case_id']}/minor"
        assert (await service.client.put(path, **as_role(service, Role.ANALYST))).is_success
    async with start():
        pass
    for restored in restored_twice(old, backup):
        with contextlib.closing(open_database(restored)) as database, database.read() as session:
            assert session.get_one(Case, job["case_id"]).minor_by == analyst


async def test_a_flag_that_was_removed_leaves_no_hashes_when_a_backup_is_restored(
    start: Any, tmp_path: Path
) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        job = await submit(service)
        path = f"/v1/cases/{job['case_id']}/minor"
        analyst = as_role(service, Role.ANALYST)
        assert (await service.client.put(path, **analyst)).is_success
        with service.database.write() as session:
            session.add(
                FlaggedHashes(
                    id=new_id(), case_id=job["case_id"], job_id=job["id"], digest="d",
                    flagged_by=session.get_one(Case, job["case_id"]).minor_by, sealed=b"sealed",
                    created_at=service.clock(), expires_at=service.clock() + timedelta(days=9),
                )
            )  # fmt: skip
        back_up(old, backup)
        assert (await service.client.delete(path, **analyst)).is_success
    async with start():
        pass
    for restored in restored_twice(old, backup):
        with contextlib.closing(open_database(restored)) as database, database.read() as session:
            assert session.get_one(Case, job["case_id"]).minor_at is None
            assert session.scalars(select(FlaggedHashes)).all() == []


async def test_an_older_database_is_refused_even_if_it_is_no_backup(
    start: Any, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    async with start() as service:
        job = await submit(service)
    records = settings.data_dir / "records.sqlite"
    shutil.copy(records, tmp_path / "snapshot")
    async with start() as service:
        headers = {"Authorization": f"Bearer {service.keys[Role.ADMIN]}"}
        answer = await service.client.delete(f"/v1/cases/{job['case_id']}", headers=headers)
        assert answer.status_code == 204
    async with start():
        pass
    shutil.copy(tmp_path / "snapshot", records)
    with pytest.raises(DatabaseError, match="older than its journal"):
        open_database(settings)
    done = run(settings, "restore")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "replayed: case.shredded, 1" in done.output
    with contextlib.closing(open_database(settings)) as database, database.read() as session:
        assert session.get(Case, job["case_id"]) is None


async def test_a_restoration_that_was_interrupted_can_be_repeated(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    async with start() as service:
        jobs = [await submit(service, VIDEO + bytes([n])) for n in range(2)]
    records = settings.data_dir / "records.sqlite"
    shutil.copy(records, tmp_path / "snapshot")
    async with start() as service:
        admin = as_role(service, Role.ADMIN)
        shredded, held = (f"/v1/cases/{job['case_id']}" for job in jobs)
        assert (await service.client.delete(shredded, **admin)).is_success
        assert (await service.client.put(f"{held}/hold", **admin)).is_success
    async with start():
        pass
    shutil.copy(tmp_path / "snapshot", records)

    def stop(*_: object) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(Retention, "finish_shredding", stop)
        assert isinstance(run(settings, "restore").exception, StorageUnavailable)
    with pytest.raises(DatabaseError, match="restoration of this database was interrupted"):
        open_database(settings)
    done = run(settings, "restore")
    assert done.exit_code == 0, (done.output, done.exception)
    with contextlib.closing(open_database(settings)) as database, database.read() as session:
        verify(session)
        (case,) = session.scalars(select(Case))
        assert case.id == jobs[1]["case_id"]
        assert case.held_at is not None


async def test_a_backup_that_was_copied_in_part_is_copied_again(start: Any, tmp_path: Path) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        job = await submit(service)
        assert back_up(old, backup) == []
    restored = Settings(data_dir=tmp_path / "restored")
    restored.data_dir.mkdir()
    shutil.copy(old.data_dir / "master-key", restored.data_dir)
    in_the_way = restored.data_dir / "blobs"
    in_the_way.write_bytes(b"")
    with pytest.raises(DataDirError, match="cannot be copied"):
        copy_backup(restored, backup)
    with pytest.raises(SettingsError, match="has no records"):
        restore(restored, old.data_dir / "journal.jsonl")
    in_the_way.unlink()
    copy_backup(restored, backup)
    restore(restored, old.data_dir / "journal.jsonl")
    assert (in_the_way / "media" / job["media_id"]).exists()


async def test_a_journal_that_was_altered_or_lost_is_not_replayed(
    start: Any, tmp_path: Path
) -> None:
    settings, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        job = await submit(service)
        back_up(settings, backup)
        analyst = as_role(service, Role.ANALYST)
        for change in (service.client.put, service.client.delete):
            answer = await change(f"/v1/cases/{job['case_id']}/hold", **analyst)
            assert answer.status_code == 204
        keys = dict(service.keys)
    async with start():
        pass
    journal = tmp_path / "journal.jsonl"
    lines = (settings.data_dir / "journal.jsonl").read_text().splitlines()
    holds = [n for n, line in enumerate(lines) if '"hold.' in line]
    assert len(holds) == 2
    forged = json.loads(lines[holds[0]])
    forged["action"] = "case.shredded"
    for altered in (
        lines[: holds[0]] + lines[holds[1] :],
        [*lines[: holds[0]], json.dumps(forged), *lines[holds[1] :]],
        [*lines[: holds[0]], lines[holds[1]], lines[holds[0]]],
    ):
        journal.write_text("".join(f"{line}\n" for line in altered))
        with (
            contextlib.closing(open_database(settings)) as database,
            pytest.raises(DataDirError, match="altered"),
        ):
            read_journal(journal, settings, database)

    restored = Settings(data_dir=tmp_path / "restored")
    missing = run(restored, "restore", backup)
    assert missing.exit_code == 2
    assert "--without-journal" in missing.output
    with pytest.raises(DataDirError, match="master-key"):
        copy_backup(restored, backup)
    restored.data_dir.mkdir()
    shutil.copy(settings.data_dir / "master-key", restored.data_dir)
    done = run(restored, "restore", backup, "--without-journal")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "keys revoked" in done.output
    from deepfake_service.security.accounts import Accounts

    with contextlib.closing(open_database(restored)) as database:
        for text in keys.values():
            with pytest.raises(NotAuthenticated):
                Accounts(database).authenticate(text)
    with pytest.raises(DataDirError, match="already exists"):
        copy_backup(restored, backup)
    other = Settings(data_dir=tmp_path / "other", master_key=SecretStr("A" * 43 + "="))
    open_database(other).close()
    with pytest.raises(DataDirError, match="had a journal"):
        restore(other, journal)


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


async def test_a_damaged_blob_is_named_by_the_backup(start: Any, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    async with start() as service:
        for n in range(3):
            await submit(service, VIDEO + bytes([n]))
        media = sorted((settings.data_dir / "blobs" / "media").iterdir())
        content = bytearray(media[0].read_bytes())
        content[200] ^= 1
        media[0].write_bytes(content)
        media[1].unlink()
        os.umask(0o022)
        for path in (settings.data_dir / "blobs").rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        damaged = back_up(settings, tmp_path / "backup")
        modes = {p.stat().st_mode & 0o077 for p in (tmp_path / "backup").rglob("*")}
        assert modes == {0}, "other users can read the backup"
        assert sorted(damaged) == [f"media/{path.name}" for path in media[:2]]
        done = run(settings, "backup", tmp_path / "again")
        assert done.exit_code == 1
        assert f"missing or damaged: media/{media[0].name}" in done.output
        with service.database.read() as session:
            assert {j.state for j in session.scalars(select(Job))} == {JobState.QUEUED}


async def test_what_cannot_be_opened_is_named_by_the_backup(start: Any, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    async with start() as service:
        jobs = [await submit(service, VIDEO + bytes([n])) for n in range(3)]
        with service.database.write() as session:
            session.get_one(Media, jobs[0]["media_id"]).wrapped_key = b"not a wrapped key"
            session.get_one(Case, jobs[1]["case_id"]).wrapped_key = b"not a wrapped key"
            blobs = [session.get_one(Media, job["media_id"]).blob for job in jobs]
        assert sorted(back_up(settings, tmp_path / "backup")) == sorted(map(str, blobs[:2]))


async def test_a_backup_with_a_case_key_that_does_not_unwrap_can_be_restored(
    start: Any, tmp_path: Path
) -> None:
    settings, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        jobs = [await submit(service, VIDEO + bytes([n])) for n in range(2)]
        with service.database.write() as session:
            case = session.get_one(Case, jobs[0]["case_id"])
            assert case.wrapped_key is not None
            case.wrapped_key = case.wrapped_key[:-1] + bytes([case.wrapped_key[-1] ^ 1])
        assert len(back_up(settings, backup)) == 1
    journal = tmp_path / "journal.jsonl"
    (settings.data_dir / "journal.jsonl").rename(journal)
    shutil.rmtree(settings.data_dir / "blobs")
    for name in ("records.sqlite", "epoch-keys"):
        (settings.data_dir / name).unlink()
    done = run(settings, "restore", backup, "--journal", journal)
    assert done.exit_code == 0, (done.output, done.exception)
    async with start() as service:
        path = f"/v1/cases/{jobs[1]['case_id']}/media/{jobs[1]['media_id']}/content"
        answer = await service.client.get(path, **as_role(service, Role.ANALYST))
        assert answer.content == VIDEO + bytes([1])


async def test_a_backup_with_another_master_key_leaves_nothing(start: Any, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "var", master_key=SecretStr("A" * 43 + "="))
    async with start() as service:
        await submit(service)
    with pytest.raises(DecryptionFailed):
        back_up(settings, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("error", [StorageUnavailable, KeyboardInterrupt])
async def test_a_backup_that_stops_leaves_nothing(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    async with start() as service:
        await submit(service)

    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(Vault, "open", stop)
    with pytest.raises(error):
        back_up(Settings(data_dir=tmp_path / "var"), tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


async def test_a_backup_says_that_keys_were_renewed_meanwhile(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    async with start(epoch_hours=0.0) as service:
        jobs = [await submit(service, VIDEO + bytes([n])) for n in range(2)]
        path = f"/v1/cases/{jobs[0]['case_id']}"
        assert (await service.client.delete(path, **as_role(service, Role.ADMIN))).is_success

        def renew_first(*arguments: Any) -> Any:
            for _ in range(2):
                service.app.state.shared.services.key_epochs.advance()
            return open_case_keys(*arguments)

        monkeypatch.setattr("deepfake_service.cli.backup.open_case_keys", renew_first)
        with pytest.raises(DataDirError, match="Start it again"):
            back_up(settings, tmp_path / "backup")
        assert not (tmp_path / "backup").exists()
        assert back_up(settings, tmp_path / "backup") == []


def test_every_job_that_goes_on_after_a_restoration_starts_again() -> None:
    """Its intermediate results are not in the backup, whatever it waited for."""
    with contextlib.closing(sqlite3.connect(":memory:")) as copy:
        copy.execute("CREATE TABLE workflow_status (workflow_uuid TEXT, status TEXT)")
        copy.execute("CREATE TABLE operation_outputs (workflow_uuid TEXT)")
        for status in (s.value for s in WorkflowStatusString):
            copy.execute("INSERT INTO workflow_status VALUES (?, ?)", (status, status))
            copy.execute("INSERT INTO operation_outputs VALUES (?)", (status,))
        restart_pending_jobs(copy)
        kept = {name for (name,) in copy.execute("SELECT * FROM operation_outputs")}
    going_on = {s.value for s in WorkflowStatusString if workflow_is_active(s.value)}
    assert kept == {s.value for s in WorkflowStatusString} - going_on
    assert going_on == {"PENDING", "ENQUEUED", "DELAYED"}
