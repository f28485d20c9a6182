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

from deepfake_service.accounts.accounts import Accounts, key_hash
from deepfake_service.audit.log import Action, Actor, append_entry, verify
from deepfake_service.audit.records import altered_rows, open_database
from deepfake_service.cli.app import app
from deepfake_service.platform.db import Account, Database, Key
from deepfake_service.platform.db.columns import Authenticated
from deepfake_service.platform.db.row_authentication import COLUMNS
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import DatabaseError, RecordAltered
from deepfake_service.platform.settings import Settings

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A database with two analysts, each with a key."""
    with contextlib.closing(open_database(settings)) as opened:
        for name in ("ana1", "ana2"):
            Accounts(opened).create(name, "person", Role.ANALYST)
            Accounts(opened).create_key(name)
        yield opened


def altered(database: Database, statement: str, **values: Any) -> None:
    """Write to the database as a person with a database client would."""
    with database.engine.begin() as connection:
        connection.execute(text(statement), values)


FORGERIES = {
    "role": ("UPDATE accounts SET role = 'admin' WHERE name = 'ana2'", Account),
    "no code": ("UPDATE accounts SET role = 'admin', mac = NULL WHERE name = 'ana2'", Account),
    "another row's code": (
        "UPDATE accounts SET role = 'admin', mac = (SELECT a.mac FROM accounts a "
        "WHERE a.name = 'ana1') WHERE name = 'ana2'", Account),
    "owner of a key": ("UPDATE keys SET account_id = (SELECT id FROM accounts "
                       "WHERE name = 'ana2')", Key),
    "end of a key": ("UPDATE keys SET expires_at = '2099-02-02 00:00:00'", Key),
}  # fmt: skip


@pytest.mark.parametrize("attack", FORGERIES)
def test_a_row_altered_in_the_database_is_refused(database: Database, attack: str) -> None:
    statement, model = FORGERIES[attack]
    with database.read() as session:
        assert session.scalars(select(model)).all()
    altered(database, statement)
    with pytest.raises(RecordAltered), database.read() as session:
        session.scalars(select(model)).all()
    assert {table for table, _ in altered_rows(database)} == {model.__tablename__}


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


def test_a_session_written_into_the_database_opens_nothing(database: Database) -> None:
    altered(
        database,
        "INSERT INTO sign_ins (id, key_id, created_at, expires_at) "
        "SELECT :hash, id, :at, '2099-01-01 00:00:00' FROM keys LIMIT 1",
        hash=key_hash("a-cookie"), at="2026-01-02 00:00:00",
    )  # fmt: skip
    with pytest.raises(RecordAltered):
        Accounts(database).signed_in("a-cookie")


def test_an_altered_row_stays_refused_when_the_service_writes_it(database: Database) -> None:
    with pytest.raises(RecordAltered), database.write() as session:
        _alter_and_write(session)


def _alter_and_write(session: Session) -> None:
    account = session.scalars(select(Account).where(Account.name == "ana2")).one()
    session.execute(text("UPDATE accounts SET role = 'admin'"))
    account.disabled_at = AT
    session.flush()


def test_columns_without_a_code_may_change_without_a_key(database: Database) -> None:
    book = Accounts(database)
    new = book.create_key("ana1")
    (before,) = [key for key, _ in book.keys("ana1") if key.id == new.id]
    book.authenticate(new.text)  # notes the day
    (after,) = [key for key, _ in book.keys("ana1") if key.id == new.id]
    assert before.last_used_on != after.last_used_on
    assert after.mac == before.mac


def test_transactions_that_change_one_row_at_once_leave_a_valid_code(
    database: Database, backend: dict[str, Any]
) -> None:
    if not backend:
        pytest.skip("SQLite has one writer at a time")
    account_id = Accounts(database).named("ana1").id
    with database.write() as one:
        account = one.get_one(Account, account_id)
        with database.write() as other:
            other.get_one(Account, account_id).disabled_at = AT
        account.second_factor = True
    account = Accounts(database).named("ana1")
    assert (account.disabled_at, account.second_factor) == (AT, True)


def test_codes_removed_to_have_forgeries_sealed_are_noticed(
    database: Database, settings: Settings
) -> None:
    altered(database, "DELETE FROM secrets WHERE name = 'records'")
    with pytest.raises(DatabaseError, match="authentication codes"):
        open_database(settings)


def test_an_audit_log_chained_anew_does_not_verify(database: Database) -> None:
    """The attacker removes an entry and computes every hash again, which needs no key."""
    with database.write() as session:
        append_entry(session, actor := _actor(session), Action.HOLD_SET, "case")
        append_entry(session, actor, Action.HOLD_LIFTED, "case")
    altered(database, "DELETE FROM audit")
    keyless = Database(database.url)
    with contextlib.closing(keyless):
        with keyless.write() as session:
            append_entry(session, actor, Action.HOLD_LIFTED, "case")
        with keyless.read() as session:
            verify(session)  # the hashes alone look right
    with pytest.raises(RecordAltered, match="audit log"), database.read() as session:
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
    altered(database, "UPDATE accounts SET role = 'auditor' WHERE name = 'ana2'")
    done = CliRunner().invoke(app, ["audit", "verify"])
    assert isinstance(done.exception, RecordAltered)
    (row,) = (row for _, row in altered_rows(database))
    assert f"altered: accounts {row}" in done.stdout
    assert CliRunner().invoke(app, ["audit", "accept", "accounts", row]).exit_code == 0
    assert CliRunner().invoke(app, ["audit", "verify"]).exit_code == 0
    assert Accounts(database).named("ana2").role is Role.AUDITOR
