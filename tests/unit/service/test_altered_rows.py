"""Rows that an attacker with write access to the database alters are refused and reported."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from deepfake_service.cli.app import app
from deepfake_service.db import Account, Case, Database, Job, Media, Review
from deepfake_service.db.enums import (
    Decision,
    Finding,
    JobState,
    Priority,
    RetentionPolicy,
    Role,
)
from deepfake_service.db.row_authentication import COLUMNS
from deepfake_service.db.tables import Authenticated
from deepfake_service.errors import AuditBroken, DatabaseError, RecordAltered
from deepfake_service.security.accounts import Accounts
from deepfake_service.security.audit_log import Action, Actor, append_entry, verify
from deepfake_service.security.records import SEALED_FILE, altered_rows, open_database
from deepfake_service.settings import Settings

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A database with two analysts, and a job of a flagged case that the first confirmed."""
    with contextlib.closing(open_database(settings)) as opened:
        first, second = (
            Accounts(opened).create(name, "person", Role.ANALYST) for name in ("ana1", "ana2")
        )
        with opened.write() as session:
            session.add(
                Case(
                    id="case", account_id=first.id, wrapped_key=b"k", created_at=AT,
                    minor_at=AT, minor_by=first.id,
                )
            )  # fmt: skip
            session.flush()
            session.add(Media(id="media", case_id="case", sha256="0" * 64, size=1, created_at=AT))
            session.flush()
            session.add(
                Job(
                    id="job", case_id="case", media_id="media", account_id=second.id,
                    kind="video", state=JobState.SUCCEEDED, priority=Priority.LIVE,
                    bundle_sha256="0" * 64, retention=RetentionPolicy.STANDARD, created_at=AT,
                    finding=Finding.CONFIRMED,
                )
            )  # fmt: skip
            session.flush()
            session.add(
                Review(
                    id="review", job_id="job", account_id=first.id, sealed=b"reason",
                    decision=Decision.CONFIRMED, created_at=AT,
                )
            )  # fmt: skip
        yield opened


def altered(database: Database, statement: str, **values: Any) -> None:
    """Write to the database as a person with a database client would."""
    with database.engine.begin() as connection:
        connection.execute(text(statement), values)


FORGERIES = {
    "decision": ("UPDATE reviews SET decision = 'rejected'", Review),
    "reviewer": ("UPDATE reviews SET account_id = (SELECT id FROM accounts WHERE name = 'ana2')",
                 Review),
    "time of a decision": ("UPDATE reviews SET created_at = '2026-02-02 00:00:00'", Review),
    "finding": ("UPDATE jobs SET finding = 'rejected'", Job),
    "verdict": ("UPDATE jobs SET verdict = 'inconclusive'", Job),
    "flag of a minor": ("UPDATE cases SET minor_at = NULL, minor_by = NULL", Case),
    "hold": ("UPDATE cases SET held_at = '2026-02-02 00:00:00'", Case),
    "digest": ("UPDATE media SET sha256 = 'f'", Media),
    "expiry": ("UPDATE media SET expires_at = '2026-02-02 00:00:00'", Media),
    "role": ("UPDATE accounts SET role = 'admin' WHERE name = 'ana2'", Account),
    "no code": ("UPDATE accounts SET role = 'admin', mac = NULL WHERE name = 'ana2'", Account),
    "another row's code": (
        "UPDATE accounts SET role = 'admin', mac = (SELECT a.mac FROM accounts a "
        "WHERE a.name = 'ana1') WHERE name = 'ana2'", Account),
}  # fmt: skip


@pytest.mark.parametrize("attack", FORGERIES)
def test_a_row_altered_in_the_database_is_refused(database: Database, attack: str) -> None:
    statement, model = FORGERIES[attack]
    with database.read() as session:
        assert session.scalars(select(model)).all()
    altered(database, statement)
    with pytest.raises(RecordAltered, match=model.__tablename__), database.read() as session:
        session.scalars(select(model)).all()
    assert {table for table, _ in altered_rows(database)} == {model.__tablename__}


def test_a_decision_that_nobody_made_is_refused(database: Database) -> None:
    altered(
        database,
        "INSERT INTO reviews (id, job_id, account_id, decision, sealed, created_at, mac) "
        "SELECT 'forged', job_id, account_id, 'rejected', sealed, created_at, mac FROM reviews",
    )
    with pytest.raises(RecordAltered), database.read() as session:
        session.scalars(select(Review)).all()


def test_a_key_written_into_the_database_opens_nothing(database: Database) -> None:
    forged = "dfk_" + "a" * 12 + "_" + "b" * 43
    admin = Accounts(database).create("boss", "person", Role.ADMIN)
    altered(
        database,
        "INSERT INTO keys (id, account_id, sha256, created_at) VALUES (:id, :account, :hash, :at)",
        id="a" * 12, account=admin.id, hash=hashlib.sha256(forged.encode()).hexdigest(),
        at="2026-01-02 00:00:00",
    )  # fmt: skip
    with pytest.raises(RecordAltered):
        Accounts(database).authenticate(forged)


def test_a_revoked_key_brought_back_in_the_database_opens_nothing(database: Database) -> None:
    book = Accounts(database)
    key = book.create_key("ana1")
    book.revoke(key.id)
    altered(database, "UPDATE keys SET revoked_at = NULL")
    with pytest.raises(RecordAltered):
        book.authenticate(key.text)


def test_an_altered_row_stays_refused_when_the_service_writes_it(database: Database) -> None:
    with pytest.raises(RecordAltered), database.write() as session:
        _alter_and_write(session)


def _alter_and_write(session: Session) -> None:
    case = session.get_one(Case, "case")
    session.execute(text("UPDATE cases SET minor_at = NULL"))
    case.held_at = AT
    session.flush()


def test_columns_without_a_code_may_change_without_a_key(database: Database) -> None:
    with database.write() as session:
        job = session.get_one(Job, "job")
        before = job.mac
        job.done, job.stage = 5, "dense"
    with database.read() as session:
        assert session.get_one(Job, "job").mac == before


def test_transactions_that_change_one_row_at_once_leave_a_valid_code(
    database: Database, backend: dict[str, Any]
) -> None:
    if not backend:
        pytest.skip("SQLite has one writer at a time")
    with database.write() as one:
        case = one.get_one(Case, "case")
        with database.write() as other:
            other.get_one(Case, "case").held_at = AT
        case.reviewed_at = AT
    with database.read() as session:
        case = session.get_one(Case, "case")
        assert (case.held_at, case.reviewed_at) == (AT, AT)


def test_codes_removed_to_have_forgeries_sealed_are_noticed(
    database: Database, settings: Settings
) -> None:
    altered(database, "UPDATE jobs SET finding = 'rejected'")
    altered(database, "DELETE FROM secrets WHERE name = 'records'")
    with pytest.raises(DatabaseError, match=SEALED_FILE):
        open_database(settings)


def test_rows_of_an_earlier_version_are_sealed_as_they_are(
    database: Database, settings: Settings
) -> None:
    altered(database, "DELETE FROM secrets WHERE name = 'records'")
    for model in COLUMNS:
        altered(database, f"UPDATE {model.__tablename__} SET mac = NULL")
    (settings.data_dir / SEALED_FILE).unlink()
    with contextlib.closing(open_database(settings)) as again, again.read() as session:
        assert session.get_one(Job, "job").finding == Finding.CONFIRMED
        assert not list(altered_rows(again))
        assert verify(session).number == 3
        entry = session.execute(text("SELECT action FROM audit WHERE number = 3")).scalar_one()
        assert entry == Action.RECORDS_SEALED


def test_an_audit_log_chained_anew_does_not_verify(database: Database) -> None:
    """The attacker removes an entry and computes every hash again, which needs no key."""
    with database.write() as session:
        append_entry(session, actor := _actor(session), Action.HOLD_SET, "case")
        append_entry(session, actor, Action.HOLD_LIFTED, "case")
    altered(database, "DELETE FROM audit")
    keyless = Database(database.url, migrate=False)
    with contextlib.closing(keyless):
        with keyless.write() as session:
            append_entry(session, actor, Action.HOLD_LIFTED, "case")
        with keyless.read() as session:
            verify(session)  # the hashes alone look right
    with pytest.raises(AuditBroken), database.read() as session:
        verify(session)


def _actor(session: Session) -> Actor:
    return Actor(session.scalars(select(Account.id).limit(1)).one())


def test_every_table_with_codes_names_its_columns() -> None:
    assert set(Authenticated.__subclasses__()) == set(COLUMNS)
    for model, columns in COLUMNS.items():
        assert {c.name for c in model.__table__.primary_key} <= set(columns)
        assert not [n for n in columns if model.__table__.c[n].default is not None]


def test_the_command_lists_altered_rows_and_accepts_one(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPFAKE_DATA_DIR", str(settings.data_dir))
    if isinstance(settings.database_url, SecretStr):
        monkeypatch.setenv("DEEPFAKE_DATABASE_URL", settings.database_url.get_secret_value())
    altered(database, "UPDATE cases SET minor_at = NULL, minor_by = NULL")
    done = CliRunner().invoke(app, ["audit", "verify"])
    assert isinstance(done.exception, AuditBroken)
    assert "altered: cases case" in done.stdout
    assert CliRunner().invoke(app, ["audit", "accept", "cases", "case"]).exit_code == 0
    assert CliRunner().invoke(app, ["audit", "verify"]).exit_code == 0
    with database.read() as session:
        assert session.get_one(Case, "case").minor_at is None
