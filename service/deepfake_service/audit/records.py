"""Open the database with the key that authenticates its rows, and find rows that were altered."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Table, select, update

from deepfake_service.audit.journal import refuse_backup
from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.platform.clock import Clock
from deepfake_service.platform.db import AuditEntry, Database, Secret
from deepfake_service.platform.db.columns import Authenticated
from deepfake_service.platform.db.database import has_tables
from deepfake_service.platform.db.row_authentication import COLUMNS, RowAuthenticator
from deepfake_service.platform.errors import DatabaseError, NotFound, SettingsError
from deepfake_service.platform.files import private_folder
from deepfake_service.platform.settings import RECORDS_FILE, Settings
from deepfake_service.platform.storage import installation_secret, open_keys

_NAME = "records"


def open_database(
    settings: Settings, clock: Clock | None = None, *, restoring: bool = False
) -> Database:
    """Open the database that ``settings`` name, migrate its tables, and authenticate its rows.

    A database that was restored from a backup is only opened with ``restoring``.

    Raises:
        DataDirError: the data directory cannot be created. DatabaseError, DatabaseUnavailable: see
            ``Database``, ``refuse_backup`` and ``authenticate_rows``.
    """
    private_folder(settings.data_dir)
    database = Database(settings.records_url, clock=clock)
    try:
        if not restoring:
            refuse_backup(database)
        authenticate_rows(database, settings)
    except BaseException:
        database.close()
        raise
    return database


def open_existing_database(settings: Settings, *, restoring: bool = False) -> Database:
    """Open the database of a service that was started before; otherwise see ``open_database``.

    A command that created an empty database at a wrong place would report that all is well there,
    or create keys that the service does not know. ``SettingsError`` if there is no database, or it
    has no tables.
    """
    require_records(settings)
    return open_database(settings, restoring=restoring)


def require_records(settings: Settings) -> None:
    """Refuse a data directory or a database in which no service has stored anything;
    ``SettingsError``, naming the setting that is probably wrong; ``DatabaseUnavailable`` if the
    database cannot be reached."""
    if settings.database_url is not None:
        if has_tables(settings.records_url):
            return
        raise SettingsError(
            "The database of DEEPFAKE_DATABASE_URL has no records. Set DEEPFAKE_DATABASE_URL to "
            "the service's value, or start the service (`deepfake serve`) once."
        )
    file = settings.data_dir / RECORDS_FILE
    if file.is_file() and file.stat().st_size > 0:
        return
    raise SettingsError(
        f"{settings.data_dir.absolute()} is not the data directory of a service: it has no "
        f"{RECORDS_FILE}. Set DEEPFAKE_DATA_DIR to the service's value, or start the service "
        "(`deepfake serve`) once."
    )


def authenticate_rows(database: Database, settings: Settings) -> None:
    """Let ``database`` compute and compare the codes of rows from now on.

    Raises:
        DatabaseError: the codes of the database were removed. DataDirError: the master key that
            wraps the key of the codes is missing. DecryptionFailed: it is another one.
    """
    with database.read() as session:
        is_sealed = session.get(Secret, _NAME) is not None
        is_used = session.scalars(select(AuditEntry.number).limit(1)).first() is not None
    if is_used and not is_sealed:
        raise DatabaseError(
            "The key of the authentication codes was removed from the database. Restore a backup."
        )
    keys = open_keys(settings, is_new=not is_sealed)
    database.authenticator = RowAuthenticator(installation_secret(database, keys, _NAME))


def altered_rows(database: Database) -> Iterator[tuple[str, str]]:
    """Yield the table and the id of every row whose code does not belong to it.

    They are read by columns and not as objects: nothing is refused by that. The entries of the
    audit log are left out; see ``audit_log.verify``.
    """
    assert database.authenticator is not None
    for model, columns in COLUMNS.items():
        if model is AuditEntry:
            continue
        table = _table_of(model)
        query = select(*(table.c[name] for name in columns), table.c.mac).order_by(table.c.id)
        with database.read() as session:
            for row in session.execute(query).mappings():
                values = {name: row[name] for name in columns}
                if row["mac"] != database.authenticator.code(table.name, values):
                    yield table.name, row["id"]


def accept_row(database: Database, table: str, row_id: str) -> None:
    """Give an altered row the code of its present content, after a person has checked it. Audited.
    ``NotFound`` if there is no such table or row."""
    models = {model.__tablename__: model for model in COLUMNS if model is not AuditEntry}
    if table not in models or database.authenticator is None:
        raise NotFound(f"There is no table {table!r} whose rows have codes.")
    rows, columns = _table_of(models[table]), COLUMNS[models[table]]
    with database.write() as session:
        query = select(*(rows.c[name] for name in columns)).where(rows.c.id == row_id)
        row = session.execute(query.with_for_update()).mappings().one_or_none()
        if row is None:
            raise NotFound(f"The table {table} has no row {row_id!r}.")
        code = database.authenticator.code(table, dict(row))
        session.connection().execute(update(rows).where(rows.c.id == row_id).values(mac=code))
        append_entry(session, SERVICE, Action.ROW_ACCEPTED, row_id[:26], table)


def _table_of(model: type[Authenticated]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table
