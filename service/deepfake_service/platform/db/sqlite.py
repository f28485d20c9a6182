"""The files of an SQLite database: open them, notice damage, and keep deleted rows out of the log.

Truncating the write-ahead log returns its blocks to the file system with what they hold: rows that
were deleted since, for instance wrapped keys. Writing into the file behind SQLite's back could
damage the database after a crash, so zeros are written by SQLite itself, in a transaction that is
large enough to run over the whole log and is then rolled back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from deepfake_models.machine import sync
from deepfake_service.platform.errors import DatabaseUnavailable

BUSY_TIMEOUT_S = 15
"""How long a writer waits for its turn: SQLite has one at a time, and each takes milliseconds."""
CHECKPOINT_TIMEOUT_S = 2.0
_PAGE_BYTES = 4096
_CACHE_PAGES = 10
"""Pages that the transaction may hold in memory. The others are written into the log at once."""
_ROW_BYTES = 64 * 1024 * 1024
_PRIMARY = 0xFF
"""The primary result code is the lowest byte of an extended one."""
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_FULL = "The disk of the database is full. Free space on it."
_READ_ONLY = (
    "The database cannot be changed: it, or its disk, is read-only. Check who may write it."
)
_STANDBY = "25006"
"""SQLSTATE of a server that accepts no changes."""
UNAVAILABLE: Mapping[int | str | None, str] = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: "A file of the database cannot be opened. Check who owns it, and the "
    "limit on open files.",
    sqlite3.SQLITE_IOERR: "The disk of the database reports an error. Check its free space and the "
    "log of the system.",
    "53100": _FULL,
    _STANDBY: _READ_ONLY,
}
"""What is wrong, by the codes of SQLite and of PostgreSQL."""


def open_sqlite(path: str) -> Engine:
    Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(path).touch(mode=0o600)  # SQLite gives the files beside it the same mode
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=path),
        connect_args={"timeout": BUSY_TIMEOUT_S},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # an accepted job survives a power failure
        "foreign_keys = ON",
        "secure_delete = ON",  # the key of a shredded case is overwritten
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def is_damage(error: DBAPIError) -> bool:
    """Return whether SQLite reports that the file is damaged."""
    return _primary_code(error.orig) == sqlite3.SQLITE_CORRUPT


def is_full(error: BaseException | None) -> bool:
    """Return whether SQLite could not write because the disk is full."""
    return _primary_code(getattr(error, "orig", None)) == sqlite3.SQLITE_FULL


def unavailable(error: BaseException | None, *, connecting: bool = False) -> DatabaseUnavailable:
    """Return the domain error for an error of a driver, with what its code says about the disk.
    With ``connecting``, there was no statement whose values the driver's message could contain."""
    code = _primary_code(error) or getattr(error, "sqlstate", None)
    found = DatabaseUnavailable(UNAVAILABLE.get(code))
    if connecting and hasattr(error, "sqlstate"):
        found.reason = " ".join(str(error).split())
    return found


def is_read_only(error: DBAPIError) -> bool:
    """Return whether the PostgreSQL server accepts no changes."""
    return getattr(error.orig, "sqlstate", None) == _STANDBY


def damage_of(connection: sqlite3.Connection) -> str | None:
    """Return what SQLite's quick check finds first, or ``None`` if the database is intact.

    It reads every page: about a second for each gigabyte on a fast disk.

    Raises:
        sqlite3.DatabaseError: the database cannot be read, which says nothing about its pages.
    """
    try:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if _primary_code(error) not in _DAMAGE:
            raise
        return str(error)
    return None if finding == "ok" else str(finding)


def _primary_code(error: BaseException | None) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & _PRIMARY


def clear_log(path: Path) -> None:
    """Merge the log of the database at ``path`` into it, overwrite the log, and truncate it.

    Writers wait in the meantime, for as long as writing the log's size to the disk takes. Readers
    and writers of other connections can prevent it.
    """
    try:
        # The address does not create a file where there is none.
        address = f"{path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(
            address, timeout=CHECKPOINT_TIMEOUT_S, isolation_level=None, uri=True
        )
    except sqlite3.OperationalError:
        return
    # It may be locked, or damaged, which its users notice.
    with closing(connection), suppress(sqlite3.DatabaseError):
        # RESTART waits until no reader needs the log, so that the next writer begins it anew.
        (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        if not is_busy:
            overwrite_log(connection, path)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def overwrite_log(connection: sqlite3.Connection, path: Path) -> None:
    """Overwrite the log from its start to its present end, after a checkpoint that restarts it."""
    log = path.with_name(f"{path.name}-wal")
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return
    if not size:
        return
    connection.execute(f"PRAGMA cache_size = {_CACHE_PAGES}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("CREATE TABLE overwriting (zeros BLOB)")
        left = size + 4 * _CACHE_PAGES * _PAGE_BYTES
        while left > 0:
            part = min(left, _ROW_BYTES)
            connection.execute("INSERT INTO overwriting VALUES (zeroblob(?))", (part,))
            left -= part
        sync(log)
    finally:
        connection.execute("ROLLBACK")
