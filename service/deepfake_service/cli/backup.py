"""``deepfake backup``: copy the database and the encrypted blobs of a running service."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from deepfake_service.audit import log as audit_log
from deepfake_service.audit.journal import BACKUP_FACT, open_journal
from deepfake_service.audit.records import open_existing_database, require_records
from deepfake_service.examination.queue import UNFINISHED
from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.db.sqlite import damage_of
from deepfake_service.platform.errors import DatabaseDamaged, DataDirError, SettingsError
from deepfake_service.platform.files import private_folder, restrict_files
from deepfake_service.platform.settings import (
    EPOCH_KEYS_FOLDER,
    RECORDS_FILE,
    Settings,
    load_settings,
)
from deepfake_service.platform.storage import BLOB_FOLDER, EpochKeys, open_keys

commands = typer.Typer()


@commands.command()
def backup(out: Annotated[Path, typer.Argument(help="Folder to create.")]) -> None:
    """Copy the database and the encrypted media while the service runs, without their keys."""
    back_up(load_settings(), out)
    typer.echo(f"{out}: database and encrypted media")
    typer.echo(
        "Store the master key separately: without it this backup cannot be decrypted.", err=True
    )


def back_up(settings: Settings, out: Path) -> None:
    """Copy the SQLite database and the blobs of the data directory into the new folder ``out``.

    The database is copied first: blobs newer than it become orphans, which are deleted after a
    restore. The master key is not copied. The copy can only be decrypted with it, so store the two
    separately. The epoch keys are copied. A new epoch begins afterwards, so that they do not open
    cases that are created, and deleted, after the backup. The copy says that it is one: no service
    starts on it before ``deepfake restore``.

    Raises:
        SettingsError: the database or the blobs are outside the data directory, or it has none.
        DatabaseDamaged: the database or its copy is damaged.
        DataDirError: ``out`` already exists or cannot be written.
        DecryptionFailed: the master key is not the one of the database. After any error, ``out``
            does not exist.
    """
    if settings.database_url or settings.blob_url:
        raise SettingsError(
            "Only the data directory can be backed up. Use pg_dump for PostgreSQL, and versioning "
            "for an object store."
        )
    require_records(settings)
    if out.exists():
        raise DataDirError(f"{out} already exists. Choose a new folder.")
    restrict_files()
    private_folder(out)
    source = (settings.data_dir / RECORDS_FILE).absolute().as_uri()
    try:
        with (
            closing(sqlite3.connect(f"{source}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(out / RECORDS_FILE)) as copy,
        ):
            _require_intact(live, "The database")
            _copy_epoch_keys(settings, out)
            live.backup(copy)
            _copy_epoch_keys(settings, out)  # and those that began meanwhile
            _restart_unfinished(copy)
            _mark(copy)
            _require_intact(copy, "The copy of the database")
            _copy_blobs(settings.data_dir / BLOB_FOLDER, out / BLOB_FOLDER)
            with closing(open_existing_database(settings)) as database:
                open_journal(settings, database).write()  # `deepfake restore` refuses an older one
                with database.read() as session:
                    number = audit_log.head(session).number
            EpochKeys(settings.data_dir / EPOCH_KEYS_FOLDER, open_keys(settings)).begin(number)
    except BaseException as error:
        shutil.rmtree(out, ignore_errors=True)  # or a rotation would count it as a backup
        if isinstance(error, OSError | sqlite3.Error):
            # Errors of shutil have only a text.
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            raise DataDirError(f"The backup could not be made: {reason}.") from error
        raise


def _require_intact(connection: sqlite3.Connection, name: str) -> None:
    """Refuse a damaged database; ``DatabaseDamaged`` if it is damaged, ``DataDirError`` if it
    cannot be read."""
    try:
        damage = damage_of(connection)
    except sqlite3.DatabaseError as error:
        raise DataDirError(
            f"{name} cannot be read: {error}. Like the service, `deepfake backup` must be able to "
            "write into its folder."
        ) from error
    if damage is not None:
        raise DatabaseDamaged(
            f"{name} is damaged, so no new backup was made. Restore an earlier one."
        )


def _mark(copy: sqlite3.Connection) -> None:
    """Say in the copy that it is a backup, and when it was made."""
    mark = json.dumps({"made_at": utc_now().isoformat()})
    copy.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (BACKUP_FACT, mark))
    copy.commit()


def _copy_epoch_keys(settings: Settings, out: Path) -> None:
    """Copy the epoch keys that exist, and are not destroyed at this moment."""
    for file in (settings.data_dir / EPOCH_KEYS_FOLDER).glob("*"):
        private_folder(out / EPOCH_KEYS_FOLDER)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(file, out / EPOCH_KEYS_FOLDER / file.name)


def _restart_unfinished(copy: sqlite3.Connection) -> None:
    """Delete unfinished uploads, and the checkpoints of unfinished jobs, whose blobs are not in the
    backup."""
    copy.execute("DELETE FROM upload_parts")
    copy.execute("DELETE FROM uploads WHERE job_id IS NULL")
    copy.commit()
    tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master")}
    if {"operation_outputs", "workflow_status"} <= tables:
        copy.execute(
            "DELETE FROM operation_outputs WHERE workflow_uuid IN (SELECT workflow_uuid "
            "FROM workflow_status WHERE status IN (?, ?, ?))",
            UNFINISHED,
        )
        copy.commit()


def _copy_blobs(source: Path, out: Path) -> None:
    """Copy blobs, skipping those that are deleted meanwhile or belong to unfinished work."""
    for folder, _, names in os.walk(source):
        where = Path(folder).relative_to(source)
        if where.parts[:1] in (("work",), ("uploads",)):
            continue  # of unfinished jobs and uploads, which start again
        (out / where).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            if "#" in name:
                continue  # an upload in progress
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(Path(folder) / name, out / where / name)  # not its mode
