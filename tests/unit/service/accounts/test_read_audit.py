"""Repeated reads are audited once in a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest
from sqlalchemy import select, text

from deepfake_service.accounts import read_audit
from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.read_audit import WINDOW, ReadAudit
from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.platform.db import AuditEntry, Database
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import DatabaseUnavailable
from deepfake_service.platform.storage.blobs import BLOB_FOLDER
from tests.support import exhibits
from tests.support.jobs import examined, submit
from tests.support.servers import WAIT_S
from tests.support.stand_ins import AdjustableClock
from tests.unit.service.conftest import Service

CALLER = Caller("a", Role.ANALYST, "1")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/records.sqlite"
    with contextlib.closing(Database(url, clock=AdjustableClock())) as opened:
        yield opened


@contextlib.contextmanager
def without_log(database: Database) -> Iterator[None]:
    """Let the database refuse to write to the audit log."""
    with database.write() as session:
        session.execute(text("ALTER TABLE audit RENAME TO elsewhere"))
    try:
        yield
    finally:
        with database.write() as session:
            session.execute(text("ALTER TABLE elsewhere RENAME TO audit"))


def count(database: Database, action: Action) -> int:
    with database.read() as session:
        return len(session.scalars(select(AuditEntry).where(AuditEntry.action == action)).all())


def test_a_key_that_reads_a_subject_again_is_noted_after_ten_minutes(database: Database) -> None:
    clock = cast(AdjustableClock, database.clock)
    reads, other_key = ReadAudit(database), Caller("a", Role.ANALYST, "2")

    def noted(*read: Any, caller: Caller = CALLER) -> bool:
        before = count(database, read[0])
        reads.note(caller, *read)
        return count(database, read[0]) > before

    assert noted(Action.MEDIA_READ, "media")
    assert noted(Action.MEDIA_READ, "others")
    assert noted(Action.RESULT_READ, "media")
    assert noted(Action.MEDIA_READ, "media", caller=other_key)
    clock.advance(WINDOW - timedelta(seconds=1))
    assert not noted(Action.MEDIA_READ, "media")
    clock.advance(timedelta(seconds=2))
    assert noted(Action.MEDIA_READ, "media")
    clock.advance(timedelta(hours=-1))  # set back: what was noted later hides no read
    assert noted(Action.MEDIA_READ, "media")


def test_a_read_whose_entry_could_not_be_written_is_noted_when_it_is_repeated(
    database: Database,
) -> None:
    reads = ReadAudit(database)
    with without_log(database), pytest.raises(DatabaseUnavailable):
        reads.note(CALLER, Action.MEDIA_READ, "media")
    for _ in range(2):
        reads.note(CALLER, Action.MEDIA_READ, "media")
    assert count(database, Action.MEDIA_READ) == 1


def test_reads_at_the_same_time_wait_for_one_entry(database: Database) -> None:
    reads = ReadAudit(database)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: reads.note(CALLER, Action.MEDIA_READ, "media"), range(40)))
    assert count(database, Action.MEDIA_READ) == 1


def test_who_reads_again_waits_for_no_entry_of_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A video is fetched in many parts, and a page has many pictures."""
    reads, begun, goes_on = ReadAudit(database), Event(), Event()
    reads.note(CALLER, Action.MEDIA_READ, "media")

    def slow(*entry: Any) -> None:
        begun.set()
        assert goes_on.wait(WAIT_S)
        append_entry(*entry)

    monkeypatch.setattr(read_audit, "append_entry", slow)
    with ThreadPoolExecutor(2) as pool:
        try:
            other = pool.submit(reads.note, CALLER, Action.MEDIA_READ, "others")
            assert begun.wait(WAIT_S)
            pool.submit(reads.note, CALLER, Action.MEDIA_READ, "media").result(WAIT_S / 2)
        finally:
            goes_on.set()
        other.result(WAIT_S)
    assert count(database, Action.MEDIA_READ) == 2


async def test_evidence_is_not_shown_again_without_an_entry(service: Service) -> None:
    job = await examined(service, exhibits.video())
    store = service.app.state.shared.services.evidence_store
    caller = service.accounts.authenticate(service.keys[Role.ANALYST])
    with ThreadPoolExecutor(1) as pool:  # signing needs a thread without an event loop
        pool.submit(store.issue, job["id"], SERVICE).result(300)
    with service.database.read() as session:
        edition = store.find(session, caller, job["id"], None)
    with without_log(service.database), pytest.raises(DatabaseUnavailable):
        store.open(caller, *edition, shown=True)
    for _ in range(2):
        store.open(caller, *edition, shown=True)
    assert count(service.database, Action.EVIDENCE_READ) == 1


@pytest.mark.parametrize("what", ["content", "screenshot"])
async def test_a_read_that_fails_is_not_in_the_audit_log(service: Service, what: str) -> None:
    job = await submit(service)
    shot = {"screenshot": ("s.png", b"\x89PNG\r\n\x1a\n" + bytes(100))}
    case = f"/v1/cases/{job['case_id']}"
    answer = await service.client.post(f"{case}/occurrences", files=shot)
    assert answer.is_success, answer.text
    path, action, blob = {
        "content": (f"media/{job['media_id']}/content", Action.MEDIA_READ, job["media_id"]),
        "screenshot": (
            f"occurrences/{answer.json()['id']}/screenshot",
            Action.SCREENSHOT_READ,
            f"screenshot-{answer.json()['id']}",
        ),
    }[what]
    folder: Path = service.app.state.shared.settings.data_dir
    (file,) = (folder / BLOB_FOLDER).rglob(blob)
    stored = file.read_bytes()
    file.unlink()
    file.symlink_to(file.name)  # a loop
    assert (await service.client.get(f"{case}/{path}")).status_code == 503
    assert count(service.database, action) == 0
    file.unlink()
    file.write_bytes(stored)
    assert (await service.client.get(f"{case}/{path}")).status_code == 200
    assert count(service.database, action) == 1
