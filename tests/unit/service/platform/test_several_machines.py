"""What processes on several machines share, and what none of them may take to be its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.orm import Session

from deepfake_service import worker
from deepfake_service.accounts.accounts import Accounts
from deepfake_service.accounts.admin_key import ensure_admin_key
from deepfake_service.audit.records import open_database
from deepfake_service.platform import disk_space
from deepfake_service.platform.db import Account, Database, Fact
from deepfake_service.platform.db.postgresql import ServerClock, patient_url
from deepfake_service.platform.disk_space import DiskSpace
from deepfake_service.platform.settings import Settings
from tests.support import databases
from tests.support.stand_ins import AdjustableClock
from tests.unit.service.conftest import Service

MASTER_KEY = SecretStr("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")


@pytest.fixture
def url(postgres: databases.Server) -> str:
    return postgres.new_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with contextlib.closing(Database(url)) as opened:
        yield opened


def three_hours_ahead() -> datetime:
    """Return the time of a machine whose clock is wrong."""
    return datetime.now(UTC) + timedelta(hours=3)


@pytest.mark.postgres
def test_all_machines_go_by_the_clock_of_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.platform.db.postgresql.utc_now", three_hours_ahead)
    database.clock = ServerClock()
    with database.read():
        pass
    assert abs(database.clock() - datetime.now(UTC)) < timedelta(minutes=1)
    database.clock = ServerClock()
    with database.write():
        pass
    assert abs(database.clock() - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.postgres
def test_who_writes_sees_what_others_committed_before_its_lock(database: Database) -> None:
    def facts(session: Session) -> int:
        return session.execute(text("SELECT count(*) FROM facts")).scalar_one()

    with database.write() as session, database.read() as reading:
        before = facts(session)
        assert facts(reading) == before
        with database.write() as other:
            other.add(Fact(name="a fact", value="x"))
        assert facts(session) == before + 1
        assert facts(reading) == before
        assert facts(reading) == before


@pytest.mark.postgres
def test_the_server_is_asked_for_its_time_now_and_then(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = AdjustableClock()
    monkeypatch.setattr("deepfake_service.platform.db.postgresql.ticks", machine.ticks)
    database.clock = clock = ServerClock()
    with database.read():
        before = clock()
    machine.advance(timedelta(seconds=20))  # the machine's ticks, and not the server's time
    with database.read():
        assert clock() - before > timedelta(seconds=19)
    machine.advance(timedelta(seconds=11))
    with database.read():
        assert clock() - before < timedelta(seconds=19)


@pytest.mark.postgres
def test_both_ends_of_a_connection_notice_that_it_was_cut(database: Database) -> None:
    for opened in (database, Database(database.url)):  # DBOS opens the URL that this one shows
        with opened.read() as session:
            timeout = session.execute(text("SHOW idle_in_transaction_session_timeout")).scalar()
            assert timeout == "1min"
        opened.close()
    query = make_url(patient_url("postgresql://host/name")).query
    assert query["tcp_user_timeout"] == "15000"
    own = patient_url("postgresql://u:p%40x@host/name?connect_timeout=9&options=-csearch_path%3Dx")
    parsed = make_url(own)
    assert (parsed.password, parsed.query["connect_timeout"]) == ("p@x", "9")
    assert str(parsed.query["options"]).endswith("-csearch_path=x")
    assert patient_url("sqlite:///a.sqlite") == "sqlite:///a.sqlite"


@pytest.mark.postgres
def test_services_that_start_at_once_agree_on_the_administrators_key(
    tmp_path: Path, url: str
) -> None:
    together = 4
    barrier = threading.Barrier(together)
    key = "an-administrators-key-for-tests-0123456789"

    def start(number: int) -> None:
        settings = Settings(
            data_dir=tmp_path / str(number),
            database_url=SecretStr(url),
            master_key=MASTER_KEY,
            admin_key=SecretStr(key),
        )
        with contextlib.closing(open_database(settings)) as opened:
            barrier.wait(60)
            ensure_admin_key(opened, settings, terminal=False)

    with ThreadPoolExecutor(together) as pool:
        list(pool.map(start, range(together)))
    settings = Settings(data_dir=tmp_path / "0", database_url=SecretStr(url), master_key=MASTER_KEY)
    with contextlib.closing(open_database(settings)) as opened:
        assert Accounts(opened).authenticate(key)
        with opened.read() as session:
            assert session.query(Account).count() == 1


def test_a_chore_is_done_by_one_worker_of_all(service: Service) -> None:
    def claimed() -> list[bool]:
        return [worker.claim_chore(service.database, "sweep", 60.0) for _ in "ab"]

    assert claimed() == [True, False]
    service.clock.advance(timedelta(seconds=50))
    assert claimed() == [False, False]
    service.clock.advance(timedelta(seconds=8))
    assert claimed() == [True, False]


def test_a_chore_with_a_long_period_is_done_soon_after_a_start(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is restarted every day never lived for a whole period of a week."""
    monkeypatch.setattr(worker, "POLL_S", 0.05)
    week, done = 7 * 24 * 3600.0, threading.Semaphore(0)
    for _ in range(2):
        chore = worker.shared_chore(service.database, "checkpoints", done.release, week)
        try:
            assert done.acquire(timeout=30.0)
            # Nobody does it again before the period is over.
            service.clock.advance(timedelta(days=6, hours=23))
            assert not done.acquire(timeout=0.5)
        finally:
            chore.stop()
        service.clock.advance(timedelta(hours=1))


def test_the_disk_does_not_matter_where_nothing_is_stored_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_space, "MIN_FREE_BYTES", 10**18)
    settings = Settings(
        data_dir=tmp_path,
        database_url=SecretStr("postgresql://h/n"),
        blob_url="s3://bucket",
    )
    DiskSpace(settings).require()


def test_a_chore_at_leisure_never_takes_more_than_a_twentieth_of_a_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, done = [100.0], []

    def task() -> None:
        done.append(now[0])
        now[0] += 2.0

    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: now[0]))
    chore = worker.at_leisure(task)
    for _ in range(200):
        chore()
        now[0] += worker.JOURNAL_EVERY_S
    took, all_s = 2.0 * len(done), now[0] - 100.0
    assert done[0] == 100.0
    assert 0.03 < took / all_s < 0.05
