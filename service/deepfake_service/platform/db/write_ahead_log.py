"""Overwrite SQLite's write-ahead log before it is truncated, so that its blocks hold zeros.

Truncating a file returns its blocks to the file system with what they hold: rows that were deleted
since, for instance wrapped keys. Writing into the file behind SQLite's back could damage the
database after a crash, so the zeros are written by SQLite itself, in a transaction that is large
enough to run over the whole log and is then rolled back.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from deepfake_models.machine import sync

_PAGE_BYTES = 4096
_CACHE_PAGES = 10
"""Pages that the transaction may hold in memory. The others are written into the log at once."""
_ROW_BYTES = 64 * 1024 * 1024


def clear_log(path: Path, timeout_s: float) -> bool:
    """Merge the log of the database at ``path`` into it, overwrite the log, and truncate it.

    Writers wait in the meantime, for as long as writing the log's size to the disk takes.

    Returns:
        Whether it was done. Readers and writers of other connections can prevent it.
    """
    try:
        # The address does not create a file where there is none.
        address = f"{path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(address, timeout=timeout_s, isolation_level=None, uri=True)
    except sqlite3.OperationalError:
        return False
    with closing(connection):
        try:
            # RESTART waits until no reader needs the log, so that the next writer begins it anew.
            if _checkpoint(connection, "RESTART"):
                return False
            overwrite_log(connection, path)
            return not _checkpoint(connection, "TRUNCATE")
        except sqlite3.DatabaseError:  # it is locked, or damaged, which its users notice
            return False


def _checkpoint(connection: sqlite3.Connection, mode: str) -> bool:
    """Return whether another connection prevented the checkpoint from completing."""
    (is_busy, _, _) = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return bool(is_busy)


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
