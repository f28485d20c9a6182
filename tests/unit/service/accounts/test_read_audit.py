"""Repeated reads are audited once in a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import select, text

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.read_audit import WINDOW, ReadAudit
from deepfake_service.audit.log import SERVICE, Action
from deepfake_service.platform.db import AuditEntry, Database
from deepfake_service.platform.db.enums import Role
from deepfake_service.platform.errors import DatabaseUnavailable
from deepfake_service.platform.storage.blobs import BLOB_FOLDER
from tests.support import exhibits
from tests.support.jobs import examined, submit
from tests.support.stand_ins import AdjustableClock
from tests.unit.service.conftest import Service

CALLER = Caller("a", Role.ANALYST, "1")


def is_first_read(reads: ReadAudit, caller: Caller, subject: str) -> bool:
    with reads.first_read(caller, subject) as is_first:
        return is_first


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


def test_a_key_that_reads_a_subject_again_is_noted_after_ten_minutes() -> None:
    clock = AdjustableClock()
    reads = ReadAudit(clock)
    caller, other_key = Caller("a", Role.ANALYST, "1"), Caller("a", Role.ANALYST, "2")
    assert is_first_read(reads, caller, "media")
    assert is_first_read(reads, caller, "pictures")
    assert is_first_read(reads, other_key, "media")
    clock.advance(WINDOW - timedelta(seconds=1))
    assert not is_first_read(reads, caller, "media")
    clock.advance(timedelta(seconds=2))
    assert is_first_read(reads, caller, "media")


def test_a_clock_that_is_set_back_hides_no_read() -> None:
    clock = AdjustableClock()
    reads = ReadAudit(clock)
    caller = Caller("a", Role.ANALYST, "1")
    assert is_first_read(reads, caller, "media")
    clock.advance(timedelta(hours=-1))
    assert is_first_read(reads, caller, "media")


def test_a_read_whose_entry_could_not_be_written_is_noted_when_it_is_repeated(
    tmp_path: Path,
) -> None:
    with contextlib.closing(Database(f"sqlite:///{tmp_path}/records.sqlite")) as database:
        reads = ReadAudit(database.clock)
        read = (database, CALLER, Action.MEDIA_READ, "media")
        with without_log(database), pytest.raises(DatabaseUnavailable):
            reads.note(*read)
        for _ in range(2):
            reads.note(*read)
        assert count(database, Action.MEDIA_READ) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_a_read_at_the_same_time_waits_for_the_entry(fails: bool) -> None:
    reads = ReadAudit(AdjustableClock())
    began = Event()

    def again() -> bool:
        began.set()
        return is_first_read(reads, CALLER, "media")

    with ThreadPoolExecutor(1) as pool:
        with contextlib.suppress(DatabaseUnavailable), reads.first_read(CALLER, "media"):
            other = pool.submit(again)
            assert began.wait(300)
            assert is_first_read(reads, CALLER, "pictures")  # which others do not wait for
            assert not other.done()
            if fails:
                raise DatabaseUnavailable
        assert other.result(300) is fails


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
