"""Whether the file of an SQLite database is intact."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

_PRIMARY = 0xFF
"""The primary result code is the lowest byte of an extended one."""


def is_damage(error: DBAPIError) -> bool:
    """Return whether SQLite reports that the file is damaged."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & _PRIMARY == sqlite3.SQLITE_CORRUPT


def damage_of(connection: sqlite3.Connection) -> str | None:
    """Return what SQLite's quick check finds first, or ``None`` if the database is intact.

    It reads every page: about a second for each gigabyte on a fast disk.
    """
    try:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if finding == "ok" else str(finding)
