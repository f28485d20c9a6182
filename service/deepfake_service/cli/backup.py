"""``deepfake backup``: copy the database and the encrypted blobs of a running service."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from deepfake_service.clock import utc_now
from deepfake_service.errors import DataDirError, SettingsError
from deepfake_service.files import private_folder
from deepfake_service.settings import EPOCH_KEYS_FILE, RECORDS_FILE, Settings
from deepfake_service.storage import (
    BLOB_FOLDER,
    EpochKeys,
    case_key_context,
    open_case_keys,
    open_keys,
)


def back_up(settings: Settings, out: Path) -> None:
    """Copy the SQLite database and the blobs of the data directory into the new folder ``out``.

    The database is copied first: blobs newer than it become orphans, which are deleted after a
    restore. The master key is not copied. The copy can only be decrypted with it, so store the two
    separately. In the copy, an epoch key of its own wraps the keys of cases, so that the epoch keys
    of the service can be destroyed, and the copy's own with the copy.

    Raises:
        SettingsError: the database or the blobs are outside the data directory.
        DataDirError: ``out`` already exists or cannot be written.
        DecryptionFailed: the master key is not the one of the database.
    """
    if settings.database_url or settings.blob_url:
        raise SettingsError(
            "Only the data directory can be backed up. Use pg_dump for PostgreSQL, and versioning "
            "for an object store."
        )
    if out.exists():
        raise DataDirError(f"{out} already exists. Choose a new folder.")
    private_folder(out)
    source = settings.data_dir / RECORDS_FILE
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(out / RECORDS_FILE)) as copy,
        ):
            live.backup(copy)
            _wrap_by_own_epoch(settings, copy, out / EPOCH_KEYS_FILE)
            _restart_pending_jobs(copy)
        _copy_blobs(settings.data_dir / BLOB_FOLDER, out / BLOB_FOLDER)
    except (OSError, sqlite3.Error) as error:
        raise DataDirError("The backup could not be written.") from error


def _wrap_by_own_epoch(settings: Settings, copy: sqlite3.Connection, path: Path) -> None:
    """Wrap the keys of cases in ``copy`` with a new epoch key, stored at ``path``.

    Whoever finds the copy cannot open with it what was deleted from the disk of the service.
    """
    master = open_keys(settings)
    current, own = open_case_keys(settings, master, utc_now), EpochKeys(path, master)
    copy.execute("PRAGMA secure_delete = ON")
    for case_id, wrapped in copy.execute(
        "SELECT id, wrapped_key FROM cases WHERE wrapped_key IS NOT NULL"
    ).fetchall():
        context = case_key_context(case_id)
        again = own.wrap(current.unwrap(wrapped, context), context)
        copy.execute("UPDATE cases SET wrapped_key = ? WHERE id = ?", (again, case_id))
    copy.commit()


def _restart_pending_jobs(copy: sqlite3.Connection) -> None:
    """Delete the checkpoints of unfinished jobs, whose intermediate blobs are not in the backup."""
    tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master")}
    if {"operation_outputs", "workflow_status"} <= tables:
        copy.execute(
            "DELETE FROM operation_outputs WHERE workflow_uuid IN (SELECT workflow_uuid "
            "FROM workflow_status WHERE status IN ('PENDING', 'ENQUEUED'))"
        )
        copy.commit()


def _copy_blobs(source: Path, out: Path) -> None:
    """Copy blobs, skipping those that are deleted meanwhile or belong to unfinished work."""
    for folder, _, names in os.walk(source):
        where = Path(folder).relative_to(source)
        if where.parts[:1] == ("work",):
            continue  # intermediate results of unfinished jobs, which start again
        (out / where).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            if "#" in name:
                continue  # an upload in progress
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(Path(folder) / name, out / where / name)
