"""Open the database with the key that authenticates its rows, and seal rows of earlier versions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, RowMapping, Table, bindparam, select, update
from sqlalchemy.orm import Session

from deepfake_service.clock import Clock
from deepfake_service.db import Account, Database, Secret
from deepfake_service.db.database import has_tables
from deepfake_service.db.row_authentication import (
    AUTHENTICATOR,
    COLUMNS,
    RowAuthenticator,
)
from deepfake_service.db.tables import Authenticated
from deepfake_service.errors import DatabaseError, RowUnknown, SettingsError
from deepfake_service.files import create_private, private_folder
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.security.journal import require_newest
from deepfake_service.settings import RECORDS_FILE, Settings
from deepfake_service.storage import installation_secret, open_keys, secret_context
from deepfake_service.storage.envelope import KeyWrapper, new_key

SEALED_FILE = "records-sealed"
"""A file in the data directory that says that the rows of the database have codes."""
_NAME = "records"
_BATCH = 1000
_NOTE = (
    "The rows of this service's database have authentication codes. While this file exists, a\n"
    "database without codes is refused, because an attacker could have removed them.\n"
)


def open_database(
    settings: Settings, clock: Clock | None = None, *, restoring: bool = False
) -> Database:
    """Open the database that ``settings`` name, migrate its tables, and authenticate its rows.

    A database that was restored from a backup is only opened with ``restoring``.

    Raises:
        DataDirError: the data directory cannot be created. DatabaseError, DatabaseUnavailable: see
            ``Database`` and ``require_newest``. DecryptionFailed: the master key is another one.
    """
    private_folder(settings.data_dir)
    database = Database(settings.records_url, clock=clock)
    try:
        if not restoring:
            require_newest(settings, database)
        authenticate_rows(database, open_keys(settings), settings.data_dir)
    except BaseException:
        database.close()
        raise
    return database


def open_existing_database(settings: Settings, *, restoring: bool = False) -> Database:
    """Open the database of a service that was started before; otherwise see ``open_database``.

    A command that created an empty database at a wrong place would report that all is well there,
    or create keys that the service does not know.

    Raises:
        SettingsError: there is no database, or it has no tables.
    """
    require_records(settings)
    return open_database(settings, restoring=restoring)


def require_records(settings: Settings) -> None:
    """Refuse a data directory or a database in which no service has stored anything.

    Raises:
        SettingsError: naming the setting that is probably wrong. DatabaseUnavailable: the database
            cannot be reached.
    """
    if has_tables(settings.records_url):
        return
    if settings.database_url is not None:
        raise SettingsError(
            "The database of DEEPFAKE_DATABASE_URL has no records. Set DEEPFAKE_DATABASE_URL to "
            "the service's value, or start the service (`deepfake serve`) once."
        )
    raise SettingsError(
        f"{settings.data_dir.absolute()} is not the data directory of a service: it has no "
        f"{RECORDS_FILE}. Set DEEPFAKE_DATA_DIR to the service's value, or start the service "
        "(`deepfake serve`) once."
    )


def authenticate_rows(database: Database, keys: KeyWrapper, data_dir: Path) -> None:
    """Let ``database`` compute and compare the codes of rows from now on.

    The first time, all rows get a code: the state that an earlier version left is taken as it is.

    Raises:
        DatabaseError: the codes of the database were removed. DecryptionFailed: the master key is
            not the one that wraps the key of the codes.
    """
    marker = data_dir / SEALED_FILE
    with database.read() as session:
        is_sealed = session.get(Secret, _NAME) is not None
    if not is_sealed:
        with database.write() as session:
            database.one_at_a_time(session, _NAME)
            if session.get(Secret, _NAME) is None:  # no other process was faster
                _seal_first(session, keys, was_sealed=marker.exists())
    database.authenticator = RowAuthenticator(installation_secret(database, keys, _NAME))
    create_private(marker, lambda: _NOTE)


def _seal_first(session: Session, keys: KeyWrapper, *, was_sealed: bool) -> None:
    is_upgrade = session.scalars(select(Account.id).limit(1)).first() is not None
    if was_sealed and is_upgrade:
        raise DatabaseError(
            "The authentication codes of the database were removed. If you restored a backup made "
            f"before they existed, delete the file {SEALED_FILE} in the data directory and start "
            "again."
        )
    key = new_key()
    session.add(Secret(name=_NAME, wrapped=keys.wrap(key, secret_context(_NAME))))
    session.info[AUTHENTICATOR] = authenticator = RowAuthenticator(key)
    _seal_all(session, authenticator)
    if is_upgrade:
        append_entry(session, SERVICE, Action.RECORDS_SEALED)


def _seal_all(session: Session, authenticator: RowAuthenticator) -> None:
    for model, columns in COLUMNS.items():
        table, key = _table_of(model)
        statement = update(table).where(key == bindparam("row")).values(mac=bindparam("code"))
        after = None
        while rows := _page(session, model, after):
            codes = [
                {"row": row[key.name], "code": _code(authenticator, table, columns, row)}
                for row in rows
            ]
            session.connection().execute(statement, codes)
            after = rows[-1][key.name]


def _table_of(model: type[Authenticated]) -> tuple[Table, Column[Any]]:
    """Return a model's table and the only column of its primary key."""
    table = model.__table__
    assert isinstance(table, Table)
    (key,) = table.primary_key.columns
    return table, key


def _page(session: Session, model: type[Authenticated], after: object) -> Sequence[RowMapping]:
    """Return the next rows of a table in order of the primary key, without checking them."""
    table, key = _table_of(model)
    query = select(*(table.c[name] for name in COLUMNS[model]), table.c.mac)
    if after is not None:
        query = query.where(key > after)
    return session.execute(query.order_by(key).limit(_BATCH)).mappings().all()


def _code(
    authenticator: RowAuthenticator, table: Table, columns: Sequence[str], row: RowMapping
) -> bytes:
    return authenticator.code(table.name, {name: row[name] for name in columns})


def altered_rows(database: Database) -> Iterator[tuple[str, str]]:
    """Yield the table and the id of every row whose code does not belong to it."""
    for model in COLUMNS:
        after, ended = None, False
        while not ended:
            page = altered_after(database, model, after)
            yield from ((model.__tablename__, row_id) for row_id in page.altered)
            after, ended = page.last, page.last is None


@dataclass(frozen=True, slots=True)
class CheckedPage:
    """The ids of altered rows in a page of a table, and its last primary key; ``None`` if it is
    empty."""

    altered: list[str]
    last: Any


def altered_after(database: Database, model: type[Authenticated], after: Any) -> CheckedPage:
    """Check the codes of the rows of a table that follow the primary key ``after``.

    They are read by columns and not as objects: nothing is refused by that.
    """
    _, key = _table_of(model)
    with database.read() as session:
        rows = _page(session, model, after)
    return CheckedPage(_altered(database, model, rows), rows[-1][key.name] if rows else None)


def still_altered(database: Database, model: type[Authenticated], ids: Sequence[str]) -> list[str]:
    """Return which of these rows exist and have a code that does not belong to them."""
    table, key = _table_of(model)
    query = select(*(table.c[name] for name in COLUMNS[model]), table.c.mac).where(key.in_(ids))
    with database.read() as session:
        return _altered(database, model, session.execute(query).mappings().all())


def _altered(
    database: Database, model: type[Authenticated], rows: Sequence[RowMapping]
) -> list[str]:
    authenticator = database.authenticator
    assert authenticator is not None
    table, key = _table_of(model)
    columns = COLUMNS[model]
    return [str(r[key.name]) for r in rows if r["mac"] != _code(authenticator, table, columns, r)]


def accept_row(database: Database, table: str, row_id: str) -> None:
    """Give an altered row the code of its present content, after a person has checked it. Audited.

    Raises:
        RowUnknown: there is no such table or row.
    """
    authenticator = database.authenticator
    models = {model.__tablename__: model for model in COLUMNS}
    if table not in models or authenticator is None:
        raise RowUnknown(f"There is no table {table!r} whose rows have codes.")
    model, columns = models[table], COLUMNS[models[table]]
    rows, key = _table_of(model)
    identity = int(row_id) if key.type.python_type is int and row_id.isdigit() else row_id
    with database.write() as session:
        query = select(*(rows.c[name] for name in columns)).where(key == identity)
        row = session.execute(query.with_for_update()).mappings().one_or_none()
        if row is None:
            raise RowUnknown(f"The table {table} has no row {row_id!r}.")
        code = _code(authenticator, rows, columns, row)
        session.connection().execute(update(rows).where(key == identity).values(mac=code))
        append_entry(session, SERVICE, Action.ROW_ACCEPTED, row_id[:26], table)
