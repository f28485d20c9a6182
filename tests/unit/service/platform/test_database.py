"""The database: migrations that agree with the tables, and columns of states."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import alembic.command
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text, update
from sqlalchemy.exc import StatementError

from deepfake_service.audit.records import open_database
from deepfake_service.platform.db import Account, Database, new_id
from deepfake_service.platform.db.columns import Base
from deepfake_service.platform.db.database import _newest_version
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import DatabaseUnavailable
from deepfake_service.platform.settings import Settings


@pytest.fixture
def database(tmp_path: Path, backend: dict[str, Any]) -> Iterator[Database]:
    with contextlib.closing(open_database(Settings(data_dir=tmp_path, **backend))) as opened:
        yield opened


def test_the_migrations_make_the_tables_that_the_models_describe(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, Base.metadata)
    known = set(Base.metadata.tables)
    # Tables that DBOS made in the same database are not ours.
    ours = [d for d in found if not (d[0] == "remove_table" and d[1].name not in known)]
    assert not ours


def test_tables_of_this_version_are_not_migrated_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(*_: object) -> None:
        raise AssertionError("the migrations were loaded")

    monkeypatch.setattr(alembic.command, "upgrade", unexpected)
    Database(database.url).close()


def test_the_newest_migration_is_the_last_file() -> None:
    migrations = files("deepfake_service.platform.db") / "migrations"
    assert [_newest_version(migrations)] == ScriptDirectory(str(migrations)).get_heads()


def test_a_database_that_accepts_no_changes_is_named(database: Database) -> None:
    is_sqlite = database.engine.dialect.name == "sqlite"
    command = "PRAGMA query_only = ON" if is_sqlite else "SET TRANSACTION READ ONLY"

    def write() -> None:
        with database.write() as session:
            session.execute(text(command))
            session.execute(text("CREATE TABLE more (number INTEGER)"))

    with pytest.raises(DatabaseUnavailable, match="read-only"):
        write()


def test_a_state_is_stored_as_its_string(database: Database) -> None:
    account = Account(
        id=new_id(),
        name="a",
        kind="person",
        role=Role.ANALYST,
        created_at=database.clock(),
        second_factor=False,
    )
    with database.write() as session:
        session.add(account)
    with database.read() as session:
        assert session.execute(text("SELECT role FROM accounts")).scalar_one() == "analyst"
        assert session.scalars(select(Account.role)).one() is Role.ANALYST


def test_a_state_of_a_newer_version_breaks_no_query(database: Database) -> None:
    with database.write() as session:
        for name in ("a", "b"):
            session.add(
                Account(
                    id=new_id(), name=name, kind="person", role=Role.ANALYST,
                    created_at=database.clock(), second_factor=False,
                )
            )  # fmt: skip
    with database.write() as session:
        session.execute(text("UPDATE accounts SET role = 'translator' WHERE name = 'b'"))
    with database.read() as session:
        roles = session.scalars(select(Account.role).order_by(Account.name)).all()
    assert roles == [Role.ANALYST, "translator"]
    with pytest.raises(StatementError), database.write() as session:
        session.execute(update(Account).values(role="translator"))
