"""Backups know that they are one, and restoring one undoes nothing."""

from __future__ import annotations

import contextlib
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, select, update
from structlog.testing import capture_logs

from deepfake_service.accounts.accounts import Accounts
from deepfake_service.audit.journal import Stored, open_journal, protect
from deepfake_service.audit.log import verify
from deepfake_service.audit.records import open_database
from deepfake_service.cli.backup import back_up
from deepfake_service.cli.restore import copy_backup, restore
from deepfake_service.evidence.signing_keys import open_signing_keys
from deepfake_service.platform.db import (
    AuditEntry,
    Capture,
    Case,
    Job,
    Key,
    Media,
    Protection,
    SigningKey,
)
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.errors import (
    DatabaseError,
    DataDirError,
    NotAuthenticated,
    SettingsError,
    StorageUnavailable,
)
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import open_keys
from deepfake_service.retention.restoration import merge, merge_journal
from tests.support.captures import hand_in
from tests.support.jobs import (
    VIDEO,
    Service,
    headers,
    run_command,
    submit,
    sweep,
    with_master_key_of,
)


def keep_journal(services: Any) -> None:
    """Do what a worker does every few seconds."""
    merge_journal(services.database, services.journal, services.signing_keys)


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
        analyst = {"headers": headers(service, Role.ANALYST)}
        page = await hand_in(service, b"a page", role=Role.PIPELINE, case_reference="R-3")

        back_up(old, backup)

        service.accounts.revoke(revoked.id)
        end = service.database.clock() + timedelta(days=30)
        service.accounts.end(ending.id, end)
        disabled = service.accounts.authenticate(service.keys[Role.AUDITOR]).account_id
        service.accounts.disable(next(a.name for a in service.accounts.all() if a.id == disabled))
        assert (await service.client.put(f"/v1/cases/{flagged}/minor", **analyst)).is_success
        assert (await service.client.put(f"/v1/cases/{held}/hold", **analyst)).is_success
        assert (await service.client.delete(f"/v1/cases/{shredded}")).status_code == 204
        assert (await service.client.delete(f"/v1/jobs/{beside['id']}")).status_code == 204
        assert (await service.client.delete(page.headers["Location"])).status_code == 204
        signing.rotate()
        second_signer = signing.current()
        later = await submit(service, VIDEO + b"later", case_reference="LATER")
        keys = dict(service.keys)
    restored = with_master_key_of(old, tmp_path / "restored")
    async with start():
        pass  # the journal is complete at a start, whatever happened before

    # Copied by hand, as one did before, the backup is not served.
    copied = tmp_path / "copied"
    shutil.copytree(backup, copied)
    shutil.copy(old.data_dir / "master-key", copied)
    with pytest.raises(DatabaseError, match="is a backup of"):
        open_database(Settings(data_dir=copied))

    done = run_command(restored, "restore", backup, "--journal", old.data_dir / "journal.json")
    assert done.exit_code == 0, (done.output, done.exception)
    kinds = ("key", "key_end", "account", "minor", "hold", "case", "job", "capture", "signing_key")
    for kind in kinds:
        assert f"renewed: {kind}, 1\n" in done.output, kind

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
            assert set(cases) == {flagged, held, kept, partly, shredded}
            assert cases[shredded].wrapped_key is None  # the next sweep deletes the rest
            assert session.get_one(Job, beside["id"]).state == JobState.CANCELLED
            assert session.scalars(select(Capture)).all() == []
            assert cases[flagged].minor_at is not None
            assert cases[flagged].minor_by is not None
            assert cases[held].held_at is not None
            assert cases[kept].minor_at is cases[kept].held_at is None
            assert later["id"] not in set(session.scalars(select(Job.id)))
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
        assert len(signers) == 3
    # What it holds now is journaled again, so that an older copy of this one is noticed as well.
    assert (restored.data_dir / "journal.json").exists()


async def test_an_older_database_gets_back_what_protects_people_at_the_next_start(
    start: Any, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    async with start() as service:
        job = await submit(service)
        await service.sign_in(Role.ADMIN)
        cookies = dict(service.client.cookies)
    records = settings.data_dir / "records.sqlite"
    shutil.copy(records, tmp_path / "snapshot")
    async with start() as service:
        answer = await service.client.delete(
            f"/v1/cases/{job['case_id']}", headers=headers(service, Role.ADMIN)
        )
        assert answer.status_code == 204
    async with start():
        pass  # the journal is complete at a start, whatever happened before
    for _ in range(2):  # however often
        shutil.copy(tmp_path / "snapshot", records)
        async with start() as service:
            assert (await service.client.get(f"/v1/cases/{job['case_id']}")).status_code == 404
            service.client.cookies.update(cookies)
            del service.client.headers["Authorization"]
            assert (await service.client.get("/")).status_code != 200, "the session lives on"
            sweep(service)
            with service.database.read() as session:
                assert session.get(Case, job["case_id"]) is None
                actions = list(session.scalars(select(AuditEntry.action)))
            assert "installation.restored" in actions


async def test_r1_a_journal_that_is_older_than_the_backup_is_refused(
    start: Any, tmp_path: Path
) -> None:
    """It was accepted, and keys that were revoked since opened the service again."""
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        name = service.accounts.all()[0].name
        first, second = (service.accounts.create_key(name) for _ in range(2))
        service.accounts.revoke(first.id)
    async with start():
        pass
    shutil.copy(old.data_dir / "journal.json", tmp_path / "old.json")
    back_up(old, backup)
    with contextlib.closing(open_database(old)) as database:
        Accounts(database).revoke(second.id)
    async with start():
        pass
    for n, (journal, is_taken) in enumerate(
        ((tmp_path / "old.json", False), (old.data_dir / "journal.json", True))
    ):
        restored = with_master_key_of(old, tmp_path / f"restored-{n}")
        done = run_command(restored, "restore", backup, "--journal", journal)
        if is_taken:
            assert done.exit_code == 0, (done.output, done.exception)
            with (
                contextlib.closing(open_database(restored)) as database,
                pytest.raises(NotAuthenticated),
            ):
                Accounts(database).authenticate(second.text)
        else:
            assert isinstance(done.exception, DataDirError)
            assert "older than the backup" in done.exception.message
            with pytest.raises(DatabaseError, match="is a backup of"):
                open_database(restored)


async def test_a_restoration_that_was_interrupted_can_be_repeated(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        jobs = [await submit(service, VIDEO + bytes([n])) for n in range(2)]
        back_up(old, backup)
        admin = {"headers": headers(service, Role.ADMIN)}
        shredded, held = (f"/v1/cases/{job['case_id']}" for job in jobs)
        assert (await service.client.delete(shredded, **admin)).is_success
        assert (await service.client.put(f"{held}/hold", **admin)).is_success
    async with start():
        pass
    restored = with_master_key_of(old, tmp_path / "restored")

    def stop(*_: object) -> None:
        raise StorageUnavailable

    journal = old.data_dir / "journal.json"
    with monkeypatch.context() as patch:
        patch.setattr("deepfake_service.cli.restore.finish", stop)
        done = run_command(restored, "restore", backup, "--journal", journal)
        assert isinstance(done.exception, StorageUnavailable)
    with pytest.raises(DatabaseError, match="is a backup of"):
        open_database(restored)
    done = run_command(restored, "restore", "--journal", journal)
    assert done.exit_code == 0, (done.output, done.exception)
    with contextlib.closing(open_database(restored)) as database, database.read() as session:
        verify(session)
        assert session.get_one(Case, jobs[0]["case_id"]).wrapped_key is None
        assert session.get_one(Case, jobs[1]["case_id"]).held_at is not None


async def test_a_backup_that_was_copied_in_part_is_copied_again(start: Any, tmp_path: Path) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        job = await submit(service)
        back_up(old, backup)
    restored = with_master_key_of(old, tmp_path / "restored")
    restored.data_dir.chmod(0o755)
    (backup / "records.sqlite").chmod(0o644)
    in_the_way = restored.data_dir / "blobs"
    in_the_way.write_bytes(b"")
    with pytest.raises(DataDirError, match="cannot be copied"):
        copy_backup(restored, backup)
    with pytest.raises(SettingsError, match="has no records"):
        restore(restored, old.data_dir / "journal.json")
    in_the_way.unlink()
    copy_backup(restored, backup)
    restore(restored, old.data_dir / "journal.json")
    assert (in_the_way / "media" / job["media_id"]).exists()
    assert restored.data_dir.stat().st_mode & 0o077 == 0, "others can read the database"


async def test_a_journal_that_was_altered_or_lost_is_not_replayed(
    start: Any, tmp_path: Path
) -> None:
    settings, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        job = await submit(service)
        back_up(settings, backup)
        analyst = {"headers": headers(service, Role.ANALYST)}
        for change in (service.client.put, service.client.delete):
            answer = await change(f"/v1/cases/{job['case_id']}/hold", **analyst)
            assert answer.status_code == 204
        keys = dict(service.keys)
    async with start():
        pass
    journal = tmp_path / "journal.json"
    content = json.loads((settings.data_dir / "journal.json").read_text())
    holds = [row for row in content["rows"] if row[0] == "hold"]
    assert holds == [["hold", job["case_id"], 2, ""]]
    others = [row for row in content["rows"] if row not in holds]
    for rows in (others, [*others, ["case", job["case_id"], 1, "x"]], []):
        journal.write_text(json.dumps({**content, "rows": rows}))
        with (
            contextlib.closing(open_database(settings)) as database,
            pytest.raises(DataDirError, match="altered"),
        ):
            open_journal(settings, database).read(journal)

    restored = Settings(data_dir=tmp_path / "restored")
    missing = run_command(restored, "restore", backup)
    assert missing.exit_code == 2
    assert "--without-journal" in missing.output
    with pytest.raises(DataDirError, match="master-key"):
        copy_backup(restored, backup)
    restored.data_dir.mkdir()
    shutil.copy(settings.data_dir / "master-key", restored.data_dir)
    done = run_command(restored, "restore", backup, "--without-journal")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "keys revoked" in done.output
    from deepfake_service.accounts.accounts import Accounts

    with contextlib.closing(open_database(restored)) as database:
        for text in keys.values():
            with pytest.raises(NotAuthenticated):
                Accounts(database).authenticate(text)
    with pytest.raises(DataDirError, match="already exists"):
        copy_backup(restored, backup)
    other = Settings(data_dir=tmp_path / "other", master_key=SecretStr("A" * 43 + "="))
    open_database(other).close()
    with pytest.raises(DataDirError, match="another installation"):
        restore(other, journal)


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
        back_up(settings, backup)
    journal = tmp_path / "journal.json"
    (settings.data_dir / "journal.json").rename(journal)
    shutil.rmtree(settings.data_dir / "blobs")
    shutil.rmtree(settings.data_dir / "epoch-keys")
    (settings.data_dir / "records.sqlite").unlink()
    done = run_command(settings, "restore", backup, "--journal", journal)
    assert done.exit_code == 0, (done.output, done.exception)
    async with start() as service:
        path = f"/v1/cases/{jobs[1]['case_id']}/media/{jobs[1]['media_id']}/content"
        answer = await service.client.get(path, headers=headers(service, Role.ANALYST))
        assert answer.content == VIDEO + bytes([1])


def test_a_journal_that_could_not_be_written_is_written_at_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DataDirError("The disk is full.")

    settings = Settings(data_dir=tmp_path)
    with contextlib.closing(open_database(settings)) as database:
        journal = open_journal(settings, database)
        journal.write()
        with database.write() as session:
            protect(session, "hold", "a" * 26, "service")
        with monkeypatch.context() as patch:
            patch.setattr("deepfake_service.audit.journal.replace_private", full)
            with pytest.raises(DataDirError):
                journal.catch_up()
        assert not journal.read().rows
        journal.catch_up()
        assert journal.read().rows


async def test_what_changes_nothing_needs_no_space_for_the_journal(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk not even `deepfake keys list` worked, nor did the service start."""

    def full(*_: object) -> None:
        raise DataDirError("The disk is full.")

    async with start() as service:
        keep_journal(service.app.state.shared.services)
    monkeypatch.setattr("deepfake_service.audit.journal.replace_private", full)
    settings = Settings(data_dir=tmp_path / "var")
    done = run_command(settings, "keys", "list")
    assert done.exit_code == 0, (done.output, done.exception)
    with contextlib.closing(open_database(settings)) as database:
        keys = open_signing_keys(settings, database, open_keys(settings))
        merge_journal(database, open_journal(settings, database), keys)  # as a start does


async def test_a_worker_that_meets_an_older_database_undoes_nothing_and_says_so(
    service: Service,
) -> None:
    """It replaced the journal by what the older database had, and a revoked key opened again."""
    services, text = service.app.state.shared.services, service.keys[Role.PIPELINE]
    key_id = service.accounts.authenticate(text).key_id
    held = await submit(service)
    analyst = {"headers": headers(service, Role.ANALYST)}
    assert (await service.client.put(f"/v1/cases/{held['case_id']}/hold", **analyst)).is_success
    keys = Key.__table__
    with service.database.engine.connect() as rows:
        mac = rows.scalar(select(keys.c.mac).where(keys.c.id == key_id))
    service.accounts.revoke(str(key_id))
    assert (await service.client.delete(f"/v1/cases/{held['case_id']}/hold", **analyst)).is_success
    keep_journal(services)
    before = services.journal.read().rows
    assert before["hold", held["case_id"]] == (2, "")

    with service.database.engine.begin() as rows:  # as the older database had them
        rows.execute(update(keys).where(keys.c.id == key_id).values(revoked_at=None, mac=mac))
        rows.execute(delete(Protection).where(Protection.subject == key_id))
        lifted = update(Protection).where(Protection.subject == held["case_id"])
        rows.execute(lifted.values(version=1, value="service"))
    service.accounts.authenticate(text)
    service.accounts.revoke(  # and what it did since
        service.accounts.authenticate(service.keys[Role.AUDITOR]).key_id or ""
    )
    assert services.journal.write()  # as a backup does
    assert before.items() <= services.journal.read().rows.items()
    with capture_logs() as logged:
        keep_journal(services)
    assert logged == [{"event": "database_was_older", "log_level": "error", "rows": 2}]
    with pytest.raises(NotAuthenticated):
        service.accounts.authenticate(text)
    with service.database.read() as session:
        assert session.get_one(Protection, ("hold", held["case_id"])).version == 2
    assert before.items() <= services.journal.read().rows.items()
    with capture_logs() as logged:
        keep_journal(services)
    assert not logged


def test_only_a_restoration_without_the_journal_shrinks_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with contextlib.closing(open_database(settings)) as database:
        with database.write() as session:
            protect(session, "hold", "a" * 26, "service")
        open_journal(settings, database).write()
        with database.write() as session:
            session.execute(delete(Protection))
        open_journal(settings, database).catch_up()
        assert open_journal(settings, database).read().rows
    restore(settings, None)
    with contextlib.closing(open_database(settings)) as database:
        assert not open_journal(settings, database).read().rows


async def test_the_oldest_deletions_are_forgotten_and_a_restoration_says_so(
    start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stayed for ever, in a file that every worker wrote anew within seconds."""
    monkeypatch.setattr("deepfake_service.audit.journal.MOST_DELETIONS", 2)
    monkeypatch.setattr("deepfake_service.audit.journal._SPARE", 0)
    settings, backups = Settings(data_dir=tmp_path / "var"), [tmp_path / "early", tmp_path / "late"]
    async with start() as service:
        services = service.app.state.shared.services
        monkeypatch.setattr("deepfake_service.cli.backup.utc_now", service.clock)
        jobs = [await submit(service, VIDEO + bytes([n])) for n in range(4)]
        case = f"/v1/cases/{jobs[0]['case_id']}/hold"
        analyst = {"headers": headers(service, Role.ANALYST)}
        assert (await service.client.put(case, **analyst)).is_success  # stays
        for n, job in enumerate(jobs[1:]):
            service.clock.advance(timedelta(seconds=1))
            if n != 1:
                back_up(settings, backups[n // 2])
            service.clock.advance(timedelta(seconds=1))
            assert (await service.client.delete(f"/v1/jobs/{job['id']}")).status_code == 204
            keep_journal(services)
        rows = services.journal.read().rows
        assert {key for key in rows if key[0] == "job"} == {("job", j["id"]) for j in jobs[2:]}
        assert ("hold", jobs[0]["case_id"]) in rows
        with service.database.read() as session:
            assert session.get(Protection, ("job", jobs[1]["id"])) is None
        with capture_logs() as logged:  # nothing is taken for lacking, or written again
            written = services.journal.path.stat().st_mtime_ns
            keep_journal(services)
            open_journal(settings, service.database).catch_up()
        assert not logged
        assert services.journal.path.stat().st_mtime_ns == written
    for backup, renewed in zip(backups, (2, 1), strict=True):
        restored = with_master_key_of(settings, tmp_path / f"restored-{backup.name}")
        done = run_command(restored, "restore", backup, "--journal", settings.journal_path)
        assert done.exit_code == 0, (done.output, done.exception)
        assert f"renewed: job, {renewed}\n" in done.output
        assert ("Repeat those between the backup" in done.output) == (renewed == 2)


async def test_what_was_deleted_is_found_no_more_though_its_case_is_held(service: Service) -> None:
    """The hold kept sweeps from deleting it, and people could still read it."""
    post = {"case_reference": "R", "source_url": "https://example.org/1"}
    gone, kept = [await submit(service, VIDEO + bytes([n]), **post) for n in range(2)]
    case = f"/v1/cases/{gone['case_id']}"
    posts = {o["media_id"]: o["id"] for o in (await service.client.get(case)).json()["occurrences"]}
    renewed = {("hold", gone["case_id"]): (1, "service"), ("job", gone["id"]): (1, "service")}
    merge(service.database, Stored(service.clock(), renewed))
    sweep(service)
    admin = {"headers": headers(service, Role.ADMIN)}
    for job, found in ((gone, 404), (kept, 200)):
        job_path, content = f"/v1/jobs/{job['id']}", f"{case}/media/{job['media_id']}/content"
        for path in (job_path, content, f"{case}/occurrences/{posts[job['media_id']]}/looks"):
            assert (await service.client.get(path, **admin)).status_code == found, path
    shown = (await service.client.get(case)).json()
    assert [job["id"] for job in shown["jobs"]] == [kept["id"]]
    assert [post["media_id"] for post in shown["occurrences"]] == [kept["media_id"]]
    listed = (await service.client.get("/v1/jobs", **admin)).json()["jobs"]
    assert [job["id"] for job in listed] == [kept["id"]]
    more = {"source_url": (None, "https://example.org/2")}  # of the only medium
    added = await service.client.post(f"{case}/occurrences", files=more)
    assert added.is_success, added.text
    with service.database.read() as session:  # the hold keeps it
        assert session.get_one(Media, gone["media_id"]).blob is not None
    assert (await service.client.delete(f"{case}/hold", **admin)).is_success
    sweep(service)
    with service.database.read() as session:
        assert session.get(Media, gone["media_id"]) is None
        assert session.get(Media, kept["media_id"]) is not None
