"""Make an archive of a stored data directory that tells nothing of the machine that made it."""

from __future__ import annotations

import contextlib
import io
import lzma
import re
import socket
import sqlite3
import tarfile
import tempfile
from pathlib import Path

EPOCH = 1_767_225_600  # 2026-01-01, the time of every file in the archive


def tidy(records: Path) -> str:
    """Replace the host name and merge everything into one small file. Return the worker's name."""
    host = socket.gethostname()[:32]
    with contextlib.closing(sqlite3.connect(records)) as base:
        base.execute("PRAGMA secure_delete = ON")
        for table, column in (("workflow_status", "executor_id"), ("leases", "executor_id")):
            base.execute(f"UPDATE {table} SET {column} = replace({column}, ?, 'stored')", (host,))
        base.commit()
        base.execute("PRAGMA journal_mode = DELETE")
        base.execute("VACUUM")
        (found,) = base.execute(
            "SELECT executor_id FROM workflow_status WHERE status = 'PENDING'"
        ).fetchone()
    return str(found)


def packed(root: Path) -> bytes:
    """Pack ``root`` into a tar archive whose bytes depend on its files only."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            entry = archive.gettarinfo(path, str(path.relative_to(root)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = EPOCH
            if path.is_file():
                with path.open("rb") as file:
                    archive.addfile(entry, file)
            else:
                archive.addfile(entry)
    return lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def nothing_of_this_machine(root: Path, checkout: Path) -> None:
    texts = [str(root), str(checkout), tempfile.gettempdir() + "/", str(Path.home()) + "/"]
    patterns = [re.escape(text.encode()) for text in texts]
    # The name of a worker. The host name alone may be so short that it occurs by chance.
    patterns.append(re.escape(socket.gethostname()[:32].encode()) + rb"-[0-9a-f]{12}")
    for path in root.rglob("*"):
        if path.is_file():
            for pattern in patterns:
                assert not re.search(pattern, path.read_bytes()), f"{pattern!r} in {path}"
