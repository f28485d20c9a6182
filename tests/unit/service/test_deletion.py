"""Deletion, time and retention: what is deleted by whom, when, and with which trace."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyrage
import pytest
from sqlalchemy import select

from deepfake_service.casework.clock_guard import LONGEST_STANDSTILL, TOLERANCE
from deepfake_service.casework.core.cases import screenshot_of
from deepfake_service.casework.core.media_deletion import expire_screenshot
from deepfake_service.casework.due import GRACE
from deepfake_service.db import (
    AuditEntry,
    Case,
    Database,
    Fact,
    Job,
    Media,
    Notice,
    Occurrence,
    new_id,
)
from deepfake_service.db.enums import JobState, NoticeState, Role
from deepfake_service.db.write_ahead_log import overwrite_log
from deepfake_service.errors import DataDirError, DecryptionFailed
from deepfake_service.security.audit_log import verify
from deepfake_service.storage import EpochKeys
from deepfake_service.storage.envelope import MasterKeys, new_key
from deepfake_service.storage.epoch_keys import SLOTS
from tests.support.carving import carve_case_keys, carve_media, image_of, loop_mount
from tests.support.jobkit import blobs
from tests.support.submitting import VIDEO, submit

# ``conftest.Service``; conftest modules cannot be imported.
Service = Any


def finish(service: Service, job_id: str) -> None:
    """End a job as a worker would."""
    with service.database.write() as session:
        job = session.get_one(Job, job_id)
        job.state, job.finished_at = JobState.SUCCEEDED, service.clock()


def entries_of(service: Service, *subjects: str) -> list[AuditEntry]:
    """Verify the audit log, and return the entries on these items."""
    with service.database.read() as session:
        verify(session)
        return list(session.scalars(select(AuditEntry).where(AuditEntry.subject.in_(subjects))))


async def delete_job(service: Service, job: dict[str, Any]) -> httpx.Response:
    return await service.client.delete(f"/v1/jobs/{job['id']}")


async def delete_case(service: Service, job: dict[str, Any]) -> httpx.Response:
    return await service.client.delete(f"/v1/cases/{job['case_id']}")


async def delete_in_the_console(service: Service, job: dict[str, Any]) -> httpx.Response:
    await service.sign_in(Role.PIPELINE)
    bearer = service.client.headers.pop("Authorization")
    page = await service.client.get(f"/items/{job['id']}")
    token = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert token, page.text
    form = {"csrf": token[1], "sure": "yes"}
    answer = await service.client.post(f"/items/{job['id']}/delete", data=form)
    service.client.headers["Authorization"] = bearer
    return answer


@pytest.mark.parametrize("delete", [delete_job, delete_case, delete_in_the_console])
async def test_a_finished_item_cannot_be_deleted_without_a_trace(
    service: Service, delete: Any
) -> None:
    job = await submit(service, case_reference="R-1")
    await submit(service, VIDEO + b"2", case_reference="R-1")
    finish(service, job["id"])
    answer = await delete(service, job)
    assert answer.status_code in (204, 303), answer.text
    assert (await service.client.get(f"/v1/jobs/{job['id']}")).status_code == 404
    deletions = [
        entry
        for entry in entries_of(service, job["id"], job["case_id"])
        if entry.action in ("job.deleted", "case.shredded")
    ]
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    assert [e.account_id for e in deletions] == [caller.account_id]
    assert deletions[0].key_id == caller.key_id


async def test_a_shredded_case_cannot_be_carved_from_the_disk(start: Any, tmp_path: Path) -> None:
    with loop_mount(tmp_path) as (image, mounted):
        (tmp_path / "var").symlink_to(mounted / "var")
        (mounted / "var").mkdir()
        async with start(min_free_bytes=0) as service:
            kept = await submit(service, VIDEO + b"of another case", case_reference="KEPT")
            job = await submit(service, case_reference="SHRED-ME")
            shot = {"screenshot": ("s.png", b"\x89PNG\r\n\x1a\n" + bytes(100))}
            path = f"/v1/cases/{job['case_id']}/occurrences"
            answer = await service.client.post(path, data={"note": "her name"}, files=shot)
            assert answer.status_code == 201
        # SQLite has deleted its log, in which the wrapped keys were.
        master_key = base64.b64decode((mounted / "var" / "master-key").read_text())
        before = image_of(image, mounted)
        keys = carve_case_keys(before, master_key, job["case_id"])
        assert len(keys) == 1
        assert carve_media(before, keys, job["media_id"], len(VIDEO)) == VIDEO
        async with start(epoch_hours=0.0, min_free_bytes=0) as service:
            await service.client.delete(f"/v1/cases/{job['case_id']}", headers=admin(service))
            epochs = service.app.state.shared.services.key_epochs
            for _ in range(2):  # two sweeps
                epochs.advance()
            after = image_of(image, mounted)
            assert not carve_case_keys(after, master_key, job["case_id"])
            assert len(carve_case_keys(after, master_key, kept["case_id"])) == 1
            assert any(e.action == "case_keys.renewed" for e in all_entries(service))
            content = await service.client.get(
                f"/v1/cases/{kept['case_id']}/media/{kept['media_id']}/content",
                headers=admin(service),
            )
            assert content.content == VIDEO + b"of another case"
        assert not carve_case_keys(image_of(image, mounted), master_key, job["case_id"])


def path_of(service: Service) -> Path:
    """Return the file of the service's database."""
    return Path(str(service.database.engine.url.database))


def admin(service: Service) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.keys[Role.ADMIN]}"}


def all_entries(service: Service) -> list[AuditEntry]:
    with service.database.read() as session:
        return list(session.scalars(select(AuditEntry)))


async def test_what_the_last_item_of_a_case_leaves_cannot_be_carved_from_the_disk(
    start: Any, tmp_path: Path
) -> None:
    with loop_mount(tmp_path) as (image, mounted):
        (tmp_path / "var").symlink_to(mounted / "var")
        (mounted / "var").mkdir()
        async with start(min_free_bytes=0) as service:
            job = await submit(service, case_reference="STAYS")
        master_key = base64.b64decode((mounted / "var" / "master-key").read_text())
        before = image_of(image, mounted)
        keys = carve_case_keys(before, master_key, job["case_id"])
        assert carve_media(before, keys, job["media_id"], len(VIDEO)) == VIDEO
        async with start(epoch_hours=0.0, min_free_bytes=0) as service:
            path = f"/v1/jobs/{job['id']}"
            deleted = await service.client.delete(path, headers=admin(service))
            assert deleted.status_code == 204
            epochs = service.app.state.shared.services.key_epochs
            for _ in range(2):
                epochs.advance()
            after = image_of(image, mounted)
            left = carve_case_keys(after, master_key, job["case_id"])
            assert len(left) == 1
            assert not left & keys
            path = f"/v1/cases/{job['case_id']}"
            case = (await service.client.get(path, headers=admin(service))).json()
            assert case["case_reference"] == "STAYS"


async def test_an_empty_case_expires_as_other_cases_do(service: Service) -> None:
    job = await submit(service, case_reference="R")
    examined(service, job)
    assert (await delete_job(service, job)).status_code == 204
    settings = service.app.state.shared.settings
    for days, status in ((settings.evidence_days + settings.case_days - 1, 200), (2, 404)):
        service.clock.advance(timedelta(days=days))
        for _ in range(2):
            sweep(service)
            service.clock.advance(timedelta(hours=1))
        answer = await service.client.get(f"/v1/cases/{job['case_id']}")
        assert answer.status_code == status, days
    (expired,) = [e for e in all_entries(service) if e.action == "case.expired"]
    assert expired.subject == job["case_id"]


async def test_a_case_with_notices_keeps_them_and_its_key_when_it_is_emptied(
    service: Service,
) -> None:
    job = await submit(service, case_reference="R")
    with service.database.write() as session:
        case = session.get_one(Case, job["case_id"])
        before = case.wrapped_key
        notice = Notice(
            id=new_id(), case_id=case.id, account_id=case.account_id, kind="eu-dsa-16",
            language="en", state=NoticeState.SENT, sealed=b"", created_at=service.clock(),
        )  # fmt: skip
        session.add(notice)
    assert (await delete_job(service, job)).status_code == 204
    with service.database.read() as session:
        assert session.get_one(Case, job["case_id"]).wrapped_key == before
        assert session.get(Notice, notice.id) is not None


async def test_the_console_says_what_becomes_of_the_case(service: Service) -> None:
    jobs = [await submit(service, VIDEO + bytes([n]), case_reference="R-<1>") for n in range(2)]
    await service.sign_in(Role.PIPELINE)
    del service.client.headers["Authorization"]
    service.client.headers["Accept-Language"] = "en"
    page = (await service.client.get(f"/items/{jobs[0]['id']}")).text
    token = re.search(r'name="csrf" value="([^"]+)"', page)
    assert token
    assert "The case <bdi>R-&lt;1&gt;</bdi> stays, with its other items." in page
    form = {"csrf": token[1], "sure": "yes"}
    unsure = await service.client.post(f"/items/{jobs[0]['id']}/delete", data={"csrf": token[1]})
    assert unsure.status_code == 422
    deleted = await service.client.post(f"/items/{jobs[0]['id']}/delete", data=form)
    assert deleted.headers["location"] == f"/cases/{jobs[0]['case_id']}?done=item_deleted"
    page = (await service.client.get(f"/items/{jobs[1]['id']}")).text
    assert "This is the only item of the case <bdi>R-&lt;1&gt;</bdi>." in page
    deleted = await service.client.post(
        f"/items/{jobs[1]['id']}/delete", data={**form, "case": "keep"}
    )
    page = (await service.client.get(deleted.headers["location"])).text
    assert "The item was deleted. Its case stays." in page
    assert "This case has no items" in page
    case = f"/cases/{jobs[1]['case_id']}"
    assert f'href="{case}"' in (await service.client.get("/?q=R-<1>")).text
    assert (await service.client.post(f"{case}/delete", data=form)).headers[
        "location"
    ] == "/?done=case_deleted"
    assert (await service.client.get(case)).status_code == 404
    last = await submit_signed_in(service, form["csrf"])
    deleted = await service.client.post(
        f"/items/{last['id']}/delete", data={**form, "case": "delete"}
    )
    assert deleted.headers["location"] == "/?done=case_deleted"
    assert "The case was deleted" in (await service.client.get(deleted.headers["location"])).text


async def submit_signed_in(service: Service, token: str) -> dict[str, Any]:
    """Submit a video as the browser that is signed in does."""
    answer = await service.client.post(
        "/v1/videos", files={"file": ("v.mp4", VIDEO)}, headers={"X-CSRF-Token": token}
    )
    assert answer.is_success, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def test_who_may_see_but_not_delete_is_told_so_in_the_console(service: Service) -> None:
    job = await submit(service, case_reference="R")
    del service.client.headers["Authorization"]
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.ANALYST)
    for path in (f"/items/{job['id']}", f"/cases/{job['case_id']}"):
        page = await service.client.get(path)
        assert f'action="{path}/delete"' not in page.text
        assert "or an administrator, can delete it" in page.text
        token = re.search(r'name="csrf" content="([^"]+)"', page.text)
        assert token
        form = {"csrf": token[1], "sure": "yes"}
        assert (await service.client.post(f"{path}/delete", data=form)).status_code == 403


async def test_a_deletion_renews_the_keys_of_all_other_cases_and_nothing_else_does(
    start: Any,
) -> None:
    async with start(epoch_hours=1.0) as service:
        jobs = [await submit(service, VIDEO + bytes([n]), case_reference=str(n)) for n in range(3)]
        epochs = service.app.state.shared.services.key_epochs

        def prefixes() -> set[bytes]:
            with service.database.read() as session:
                wrapped = session.scalars(select(Case.wrapped_key)).all()
            return {(w or b"")[:16] for w in wrapped}

        first = prefixes()
        for _ in range(3):
            service.clock.advance(timedelta(hours=2))
            epochs.advance()
        assert prefixes() == first
        assert (await delete_case(service, jobs[0])).status_code == 204
        epochs.advance()
        assert prefixes() != first
        service.clock.advance(timedelta(minutes=1))
        epochs.advance()
        renewed = prefixes()
        assert (await delete_case(service, jobs[1])).status_code == 204
        service.clock.advance(timedelta(minutes=58))
        epochs.advance()
        assert prefixes() == renewed  # an epoch lasts an hour
        service.clock.advance(timedelta(minutes=2))
        epochs.advance()
        assert prefixes().isdisjoint(renewed)
        assert (await service.client.get(f"/v1/cases/{jobs[2]['case_id']}")).status_code == 200


async def test_a_case_key_that_does_not_unwrap_keeps_no_others_from_being_renewed(
    start: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async with start(epoch_hours=0.0) as service:
        jobs = [await submit(service, VIDEO + bytes([n]), case_reference=str(n)) for n in range(3)]
        damaged, deleted, kept = (job["case_id"] for job in jobs)
        with service.database.write() as session:
            case = session.get_one(Case, damaged)
            assert case.wrapped_key is not None
            case.wrapped_key = before = case.wrapped_key[:-1] + bytes([case.wrapped_key[-1] ^ 1])
        assert (await delete_case(service, jobs[1])).status_code == 204
        epochs = service.app.state.shared.services.key_epochs
        for _ in range(2):
            epochs.advance()
        with service.database.read() as session:
            wrapped = {case.id: case.wrapped_key or b"" for case in session.scalars(select(Case))}
        assert deleted not in wrapped
        assert wrapped[damaged] == before
        assert wrapped[kept][:16] != before[:16]
        assert (await service.client.get(f"/v1/cases/{kept}")).status_code == 200
    assert "case_key_unreadable" in capsys.readouterr().out


async def test_a_service_does_not_start_without_its_epoch_keys(start: Any, tmp_path: Path) -> None:
    async with start() as service:
        job = await submit(service)
    file = tmp_path / "var" / "epoch-keys"
    kept = file.read_bytes()
    file.unlink()
    with pytest.raises(DataDirError, match="epoch"):
        async with start():
            pass
    file.write_bytes(kept)
    async with start() as service:
        path = f"/v1/cases/{job['case_id']}/media/{job['media_id']}/content"
        answer = await service.client.get(path, headers=admin(service))
        assert answer.content == VIDEO


def test_a_destroyed_epoch_key_is_not_in_its_file_and_the_others_are(tmp_path: Path) -> None:
    master = MasterKeys(new_key())
    keys = EpochKeys(tmp_path / "epoch-keys", master)
    key = new_key()
    wrapped = keys.wrap(key, b"case-key/1")
    old = keys.current()
    kept = keys.path.read_bytes()
    keys.begin(7)
    again = keys.wrap(keys.unwrap(wrapped, b"case-key/1"), b"case-key/1")
    inode = keys.path.stat().st_ino
    keys.destroy(old.id)
    content = keys.path.read_bytes()
    assert (len(content), keys.path.stat().st_ino) == (len(kept), inode)
    assert old.wrapped in kept
    assert old.wrapped not in content
    other = EpochKeys(keys.path, master)  # as in another process
    assert other.unwrap(again, b"case-key/1") == key
    assert other.current().audit_number == 7
    for reader in (keys, other):
        with pytest.raises(DecryptionFailed):
            reader.unwrap(wrapped, b"case-key/1")
    with pytest.raises(ValueError, match="current"):
        keys.destroy(keys.current().id)
    for _ in range(SLOTS - 1):
        keys.begin(0)
    with pytest.raises(DataDirError, match="full"):
        keys.begin(0)


def test_a_torn_slot_and_a_changed_master_key_lose_no_epoch(tmp_path: Path) -> None:
    old_master, master = new_key(), new_key()
    keys = EpochKeys(tmp_path / "epoch-keys", MasterKeys(old_master))
    wrapped = keys.wrap(b"k" * 32, b"c")
    torn = bytearray(keys.path.read_bytes())
    torn[4096 : 4096 + 40] = torn[:40]  # a power failure while the next one was written
    keys.path.write_bytes(torn)
    assert len(keys.all()) == 1
    moved = EpochKeys(keys.path, MasterKeys(master, (old_master,)))
    assert (moved.rewrap(), moved.rewrap()) == (1, 0)
    assert EpochKeys(keys.path, MasterKeys(master)).unwrap(wrapped, b"c") == b"k" * 32


def test_an_epoch_whose_master_key_is_lost_does_not_lock_the_others(tmp_path: Path) -> None:
    lost, old, master = new_key(), new_key(), new_key()
    first = EpochKeys(tmp_path / "epoch-keys", MasterKeys(lost))
    under_lost = first.wrap(b"k" * 32, b"c")
    # The next epoch begins under another master key, as after an incomplete rotation.
    second = EpochKeys(first.path, MasterKeys(old))
    second.begin(0)
    wrapped = second.wrap(b"k" * 32, b"c")
    moved = EpochKeys(first.path, MasterKeys(master, (old,)))
    assert moved.unwrap(wrapped, b"c") == b"k" * 32
    assert (moved.rewrap(), moved.rewrap()) == (1, 0)
    assert [epoch.sequence for epoch in moved.unreadable()] == [1]
    alone = EpochKeys(first.path, MasterKeys(master))
    assert alone.unwrap(wrapped, b"c") == b"k" * 32
    with pytest.raises(DecryptionFailed):
        alone.unwrap(under_lost, b"c")


def test_the_log_is_overwritten_before_it_is_truncated(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'records.sqlite'}")
    marker = b"a wrapped key that was deleted"
    path, log = tmp_path / "records.sqlite", tmp_path / "records.sqlite-wal"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("CREATE TABLE scratch (content BLOB)")
        for _ in range(300):
            connection.execute("INSERT INTO scratch VALUES (?)", (marker * 100,))
        connection.execute("DELETE FROM scratch")
        assert marker in log.read_bytes()
        connection.execute("PRAGMA wal_checkpoint(RESTART)")
        overwrite_log(connection, path)
        assert marker not in log.read_bytes()
        assert marker not in path.read_bytes()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("INSERT INTO scratch VALUES ('after')")
        database.purge_deleted()
        assert not log.stat().st_size
        assert connection.execute("SELECT content FROM scratch").fetchall() == [("after",)]
    database.close()


def sweep(service: Service) -> None:
    """Do what the worker's chores do once."""
    services = service.app.state.shared.services
    services.sweeps.sweep()
    services.clock_guard.when_trusted(services.orphans.delete)()
    services.clock_guard.when_trusted(services.hash_bank.forget_expired)()


def examined(service: Service, job: dict[str, Any]) -> None:
    """End a job as a worker would, with media that expire a week later."""
    finish(service, job["id"])
    with service.database.write() as session:
        media = session.get_one(Media, job["media_id"])
        media.expires_at = service.clock() + timedelta(days=7)


@pytest.mark.parametrize("days", [8, 4 * 365, -3])
async def test_a_clock_that_jumps_deletes_nothing(service: Service, days: int) -> None:
    jobs = [await submit(service, VIDEO + bytes([n])) for n in range(3)]
    for job in jobs[:2]:
        examined(service, job)
    sweep(service)
    assert (await service.client.get("/readyz")).status_code == 200
    service.clock.jump(timedelta(days=days))
    for _ in range(2 * 24 * 60 // 120):  # two days of sweeps, here every second hour
        sweep(service)
        service.clock.advance(timedelta(hours=2))
    assert len(blobs(service)) == 3
    with service.database.read() as session:
        assert {j.state for j in session.scalars(select(Job))} == {"succeeded", "queued"}
    refused = await service.client.get("/readyz")
    assert refused.status_code == 503
    assert "deepfake clock accept" in refused.json()["detail"]
    assert "deepfake_clock_trusted 0.0" in (await service.client.get("/metrics")).text
    service.clock.jump(timedelta(days=-days))  # the operator corrects the clock
    assert (await service.client.get("/readyz")).status_code == 200
    for _ in range(3):
        service.clock.advance(timedelta(days=4))
        sweep(service)
    assert not blobs(service)


async def test_a_clock_that_an_operator_accepts_is_trusted_by_all_processes(
    service: Service,
) -> None:
    job = await submit(service)
    examined(service, job)
    sweep(service)
    service.clock.jump(timedelta(days=8))
    sweep(service)
    assert len(blobs(service)) == 1
    from deepfake_service.casework.clock_guard import ClockGuard

    ClockGuard(service.database).accept()  # as `deepfake clock accept`, in another process
    assert (await service.client.get("/readyz")).status_code == 200
    sweep(service)
    assert len(blobs(service)) == 1  # it was only marked
    assert "deepfake_deletions_marked 1.0" in (await service.client.get("/metrics")).text
    service.clock.advance(GRACE)
    sweep(service)
    assert not blobs(service)
    assert any(e.action == "clock.accepted" for e in all_entries(service))


async def test_a_clock_that_was_wrong_at_the_start_deletes_nothing_either(start: Any) -> None:
    async with start() as service:
        job = await submit(service)
        examined(service, job)
        sweep(service)
    for boot, days, problem in (
        ("another", LONGEST_STANDSTILL.days + 1, True),  # a machine that was switched off
        ("another", LONGEST_STANDSTILL.days - 1, False),
        (None, 2, True),  # the same boot: its ticks say that two days have not passed
    ):
        async with start() as service:
            with service.database.write() as session:
                fact = session.get_one(Fact, "clock")
                seen = json.loads(fact.value)
                past = datetime.fromisoformat(seen["at"]) - timedelta(days=days)
                change = {"boot": boot} if boot else {}
                fact.value = json.dumps({**seen, "at": past.isoformat(), **change})
            guard = service.app.state.shared.services.clock_guard
            assert (guard.problem() is not None) is problem
            sweep(service)
            assert len(blobs(service)) == 1
            with service.database.write() as session:
                session.get_one(Fact, "clock").value = json.dumps(seen)


async def test_small_errors_of_the_clock_and_sleep_are_no_jumps(service: Service) -> None:
    guard = service.app.state.shared.services.clock_guard
    for step in (timedelta(minutes=50), timedelta(minutes=-50), timedelta(minutes=50)):
        assert guard.is_trusted()
        service.clock.jump(step)
    service.clock.advance(timedelta(days=30))  # a laptop that slept
    assert guard.is_trusted()
    service.clock.jump(-TOLERANCE - timedelta(minutes=1))
    assert not guard.is_trusted()


async def test_one_sweep_deletes_a_bounded_share(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.casework.sweeps.MIN_SHARE", 5)
    for n in range(5 + 3):
        job = await submit(service, VIDEO + n.to_bytes(2, "big"), case_reference="R")
        examined(service, job)
    service.clock.advance(timedelta(days=6, hours=1))
    sweep(service)
    service.clock.advance(GRACE)
    for left in (3, 0):
        sweep(service)
        assert len(blobs(service)) == left


async def test_a_deletion_that_fails_does_not_keep_others_from_being_completed(
    service: Service,
) -> None:
    jobs = [await submit(service, VIDEO + bytes([n])) for n in range(3)]
    broken, wrapped = (jobs[0], jobs[2]), {}
    with service.database.write() as session:
        for job in jobs:  # as a process that stopped leaves them
            session.get_one(Job, job["id"]).state = JobState.CANCELLED
        for job in broken:  # whichever comes first, it is before another
            case = session.get_one(Case, job["case_id"])
            wrapped[case.id], case.wrapped_key = case.wrapped_key, b"not a wrapped key"

    def left() -> set[str]:
        with service.database.read() as session:
            return set(session.scalars(select(Job.id)))

    sweep(service)
    assert left() == {job["id"] for job in broken}
    with service.database.write() as session:
        for case_id, key in wrapped.items():
            session.get_one(Case, case_id).wrapped_key = key
    sweep(service)
    assert not left()
    assert not blobs(service)


async def test_what_is_no_longer_due_loses_its_mark(service: Service) -> None:
    job = await submit(service)
    examined(service, job)
    service.clock.advance(timedelta(days=6, hours=1))
    sweep(service)
    with service.database.write() as session:
        media = session.get_one(Media, job["media_id"])
        assert media.expiring_at is not None
        media.expires_at = service.clock() + timedelta(days=30)
    sweep(service)
    with service.database.write() as session:
        media = session.get_one(Media, job["media_id"])
        assert media.expiring_at is None
        media.expires_at = service.clock()  # a setting that was mistyped
    sweep(service)
    assert len(blobs(service)) == 1
    service.clock.advance(GRACE)
    sweep(service)
    assert not blobs(service)


async def test_a_slow_store_does_not_hold_up_other_writers_when_a_screenshot_expires(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await submit(service, case_reference="R")
    shot = {"screenshot": ("s.png", b"\x89PNG\r\n\x1a\n" + bytes(100))}
    path = f"/v1/cases/{job['case_id']}/occurrences"
    assert (await service.client.post(path, data={"platform": "X"}, files=shot)).status_code == 201
    seen = (await service.client.get(path)).json()["occurrences"]
    (occurrence_id,) = (o["id"] for o in seen if o["screenshot"])
    vault = service.app.state.shared.services.exports._vault
    opened, real = [], vault.blobs.open

    def open_blob(name: str) -> Any:
        with contextlib.closing(sqlite3.connect(path_of(service), timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")  # raises an error while another connection writes
        opened.append(name)
        return real(name)

    monkeypatch.setattr(vault.blobs, "open", open_blob)
    expire_screenshot(service.database, vault, occurrence_id)
    assert opened == [screenshot_of(job["case_id"], occurrence_id)]
    assert sum(e.action == "screenshot.expired" for e in all_entries(service)) == 1


async def test_what_the_store_does_not_have_any_more_is_not_found(service: Service) -> None:
    job = await submit(service, case_reference="R")
    shot = {"screenshot": ("s.png", b"\x89PNG\r\n\x1a\n" + bytes(100))}
    occurrences = f"/v1/cases/{job['case_id']}/occurrences"
    added = await service.client.post(occurrences, data={"platform": "X"}, files=shot)
    medium = f"/v1/cases/{job['case_id']}/media/{job['media_id']}"
    screenshot = f"{occurrences}/{added.json()['id']}/screenshot"
    assert (await service.client.get(f"{medium}/content")).status_code == 200
    assert (await service.client.get(screenshot)).status_code == 200
    for path in blobs(service):  # as when both expire after their rows were read
        path.unlink()
    recipient = {"recipient": str(pyrage.x25519.Identity.generate().to_public())}
    answers = [
        await service.client.get(f"{medium}/content"),
        await service.client.get(screenshot),
        await service.client.post(f"{medium}/export", json=recipient, headers=admin(service)),
    ]
    assert [(a.status_code, a.json()["type"]) for a in answers] == [
        (404, "urn:deepfake-service:problem:not_found")
    ] * 3


async def test_screenshots_expire_with_the_media_and_cases_in_the_end(service: Service) -> None:
    job = await submit(service, case_reference="R", note="her name")
    examined(service, job)
    shot = {"screenshot": ("s.png", b"\x89PNG\r\n\x1a\n" + bytes(100))}
    path = f"/v1/cases/{job['case_id']}/occurrences"
    added = await service.client.post(path, data={"platform": "X"}, files=shot)
    assert added.status_code == 201
    held = await submit(service, VIDEO + b"held", case_reference="HELD")
    examined(service, held)
    analyst = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
    hold = await service.client.put(f"/v1/cases/{held['case_id']}/hold", headers=analyst)
    assert hold.status_code == 204

    async def screenshots() -> list[bool]:
        case = (await service.client.get(f"/v1/cases/{job['case_id']}")).json()
        return [o["screenshot"] for o in case["occurrences"]]

    assert sorted(await screenshots()) == [False, True]
    assert len(blobs(service)) == 3
    service.clock.advance(timedelta(days=6, hours=1))
    sweep(service)
    service.clock.advance(GRACE)
    sweep(service)
    assert await screenshots() == [False, False]
    assert len(blobs(service)) == 1  # of the held case
    with service.database.read() as session:
        shown = session.scalars(select(Occurrence.id).where(Occurrence.case_id == job["case_id"]))
        ids = shown.all()
    for occurrence_id in ids:
        answer = await service.client.get(f"{path}/{occurrence_id}/screenshot")
        assert answer.status_code == 404
    assert sum(e.action == "screenshot.expired" for e in all_entries(service)) == 1

    # One that is added later is kept as long as media are.
    again = await service.client.post(path, data={"platform": "Y"}, files=shot)
    assert again.status_code == 201
    for days, kept in ((0, 2), (6, 2), (2, 1)):
        service.clock.advance(timedelta(days=days))
        sweep(service)
        assert len(blobs(service)) == kept

    for days, gone in ((1095 + 300, False), (64, False), (2, True)):
        service.clock.advance(timedelta(days=days))
        sweep(service)
        answer = await service.client.get(f"/v1/cases/{job['case_id']}")
        assert (answer.status_code == 404) is gone
    assert (await service.client.get(f"/v1/cases/{held['case_id']}")).status_code == 200
    assert len(blobs(service)) == 1
    (expired,) = [e for e in all_entries(service) if e.action == "case.expired"]
    assert (expired.subject, expired.account_id) == (job["case_id"], None)


@pytest.mark.postgres
@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_epoch_keys_can_be_used_with_postgresql(
    start: Any, backend: dict[str, Any], tmp_path: Path
) -> None:
    async with start(epoch_keys=tmp_path / "epoch-keys", epoch_hours=0.0) as service:
        kept, gone = [await submit(service, VIDEO + bytes([n])) for n in range(2)]
        keys = EpochKeys(tmp_path / "epoch-keys", MasterKeys(new_key()))
        first = keys.current()
        assert (await delete_case(service, gone)).status_code == 204
        for _ in range(2):
            service.app.state.shared.services.key_epochs.advance()
        assert first.wrapped not in keys.path.read_bytes()
        path = f"/v1/cases/{kept['case_id']}/media/{kept['media_id']}/content"
        content = await service.client.get(path, headers=admin(service))
        assert content.content == VIDEO + bytes([0])
    async with start(epoch_keys=tmp_path / "epoch-keys") as service:
        assert service.app.state.shared.services.key_epochs.check() is None
