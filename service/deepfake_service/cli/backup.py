"""A copy of an installation's records and sealed blobs, taken while it runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from deepfake_service.errors import DataDirError, SettingsError
from deepfake_service.files import private_folder
from deepfake_service.settings import RECORDS_FILE, Settings
from deepfake_service.storage import BLOB_FOLDER


def back_up(settings: Settings, out: Path) -> None:
    """Copy the SQLite database and the blobs of the data directory into the new folder ``out``.

    The database first: a blob that is younger than it is an orphan, which is swept after a restore.
    Keys are not copied. What is in ``out`` can be opened with the master key alone, so the two
    belong into different places.

    Raises:
        SettingsError: records or blobs lie elsewhere, where they have backups of their own.
        DataDirError: ``out`` is there already, or cannot be written.
    """
    if settings.database_url or settings.blob_url:
        raise SettingsError(
            "only what lies in the data directory is backed up: for PostgreSQL use pg_dump, for an "
            "object store its versioning"
        )
    if out.exists():
        raise DataDirError(f"{out}: is there already; name a new folder")
    private_folder(out)
    source = settings.data_dir / RECORDS_FILE
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(out / RECORDS_FILE)) as copy,
        ):
            live.backup(copy)
            _begin_anew(copy)
        _copy_blobs(settings.data_dir / BLOB_FOLDER, out / BLOB_FOLDER)
    except (OSError, sqlite3.Error) as error:
        raise DataDirError("the backup could not be written") from error


def _begin_anew(copy: sqlite3.Connection) -> None:
    """Forget the finished steps of jobs under way: what these kept is not in the backup."""
    tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master")}
    if {"operation_outputs", "workflow_status"} <= tables:
        copy.execute(
            "DELETE FROM operation_outputs WHERE workflow_uuid IN (SELECT workflow_uuid "
            "FROM workflow_status WHERE status IN ('PENDING', 'ENQUEUED'))"
        )
        copy.commit()


def _copy_blobs(source: Path, out: Path) -> None:
    """Copy what is there and stays there: files and folders vanish while the service runs."""
    for folder, _, names in os.walk(source):
        where = Path(folder).relative_to(source)
        if where.parts[:1] == ("work",):
            continue  # of jobs under way: they begin anew
        (out / where).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            if "#" in name:
                continue  # an upload that is still arriving
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(Path(folder) / name, out / where / name)
