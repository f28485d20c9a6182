"""What SQLite and PostgreSQL report about the files of a database: damage, or what they lack."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from sqlalchemy.exc import DBAPIError

from deepfake_service.platform.errors import DatabaseUnavailable

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


def is_damage(error: DBAPIError) -> bool:
    """Return whether SQLite reports that the file is damaged."""
    return _primary_code(error.orig) == sqlite3.SQLITE_CORRUPT


def unavailable(error: BaseException | None, *, connecting: bool = False) -> DatabaseUnavailable:
    """Return the domain error for an error of a driver, with what its code says about the disk.

    With ``connecting``, there was no statement whose values the driver's message could contain.
    """
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
