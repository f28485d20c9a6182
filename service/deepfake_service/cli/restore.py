"""``deepfake restore``: serve a backup, without undoing what protects people."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from deepfake_service.audit import log as audit_log
from deepfake_service.audit.journal import MOST_DELETIONS, forgotten, open_journal
from deepfake_service.audit.records import open_existing_database
from deepfake_service.evidence.signing_keys import open_signing_keys
from deepfake_service.platform.db.sqlite import damage_of
from deepfake_service.platform.errors import DatabaseDamaged, DataDirError, SettingsError
from deepfake_service.platform.files import private_folder
from deepfake_service.platform.settings import (
    EPOCH_KEYS_FOLDER,
    RECORDS_FILE,
    Settings,
    load_settings,
)
from deepfake_service.platform.storage import BLOB_FOLDER, MASTER_KEY_FILE, open_keys
from deepfake_service.retention.restoration import distrust, finish, merge, require_complete

commands = typer.Typer()


@commands.command("restore")
def restore_backup(
    backup: Annotated[
        Path | None,
        typer.Argument(
            help="Folder that `deepfake backup` created. Omit it if the database was already "
            "restored by other means."
        ),
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="Journal of the installation. Default: the configured one.")
    ] = None,
    without_journal: Annotated[
        bool,
        typer.Option(
            "--without-journal",
            help="Restore although the journal is lost: all keys are revoked, and flags, holds and "
            "deletions since the backup are undone.",
        ),
    ] = False,
) -> None:
    """Restore a backup, and renew the revocations, flags, holds and deletions that followed it.

    Stop the service first, and put the master key in place.
    """
    settings = load_settings()
    if journal is None and not without_journal:
        journal = settings.journal_path
        if not journal.exists():
            raise typer.BadParameter(
                f"{journal} does not exist. Name the journal of the installation, or pass "
                "--without-journal if it is lost.",
                param_hint="--journal",
            )
    if backup is not None:
        copy_backup(settings, backup)
    head, renewed, keys_revoked = restore(settings, None if without_journal else journal)
    typer.echo(f"restored as of entry {head} of the audit log")
    for kind, count in sorted(renewed.items()):
        typer.echo(f"renewed: {kind}, {count}")
    if without_journal:
        typer.echo(
            f"{keys_revoked} keys revoked. Flags for possible minors, legal holds and "
            "deletions that followed the backup are undone: set them again before you serve it.",
            err=True,
        )
    typer.echo("Everyone has to sign in again, and new signing keys are in use.", err=True)


def copy_backup(settings: Settings, backup: Path) -> None:
    """Copy the content of a backup into the data directory, which must not have a database.

    If it is interrupted, it can be repeated.

    Raises:
        SettingsError: the database or the blobs are outside the data directory.
        DataDirError: the data directory has a database, or a file cannot be copied.
        DatabaseDamaged: the database of the backup is damaged.
    """
    if settings.database_url or settings.blob_url:
        raise SettingsError(
            "A backup is restored into a data directory. Restore PostgreSQL and an object store by "
            "their own means, and run `deepfake restore` without a folder."
        )
    target = settings.data_dir / RECORDS_FILE
    if target.exists():
        raise DataDirError(f"{target} already exists. Set DEEPFAKE_DATA_DIR to a new folder.")
    if not (backup / RECORDS_FILE).is_file():
        raise DataDirError(f"{backup} is not a backup: it has no {RECORDS_FILE}.")
    if not settings.master_key and not (settings.data_dir / MASTER_KEY_FILE).exists():
        raise DataDirError(
            f"{settings.data_dir} has no {MASTER_KEY_FILE}. Put the installation's there first."
        )
    private_folder(settings.data_dir)
    try:
        settings.data_dir.chmod(0o700)  # whatever modes it or the backup had
        # No one changes a backup, which may be on a medium that cannot be written.
        address = f"{(backup / RECORDS_FILE).absolute().as_uri()}?immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as records:
            if damage_of(records) is not None:
                raise DatabaseDamaged("The database of the backup is damaged. Use another backup.")
        if (backup / BLOB_FOLDER).exists():
            shutil.copytree(
                backup / BLOB_FOLDER, settings.data_dir / BLOB_FOLDER, dirs_exist_ok=True
            )
        if (backup / EPOCH_KEYS_FOLDER).exists():
            keys = settings.data_dir / EPOCH_KEYS_FOLDER
            shutil.copytree(backup / EPOCH_KEYS_FOLDER, keys, dirs_exist_ok=True)
        # The database last and as a whole: a copy that stopped is not taken for a complete one.
        partial = settings.data_dir / f".{RECORDS_FILE}.partial"
        shutil.copy2(backup / RECORDS_FILE, partial)
        partial.replace(target)
    except (OSError, sqlite3.Error) as error:
        raise DataDirError(f"The backup cannot be copied: {error}.") from error


def restore(settings: Settings, journal: Path | None) -> tuple[int, Counter[str], int]:
    """Merge ``journal`` into the restored database, and let it be served again.

    Without a journal all keys are revoked, because it is unknown which ones were. If it is
    interrupted, it can be repeated.

    Returns:
        The last entry of the backup's audit log, how many protections of each kind were renewed
        from the journal, and how many keys were revoked because there was none.

    Raises:
        DataDirError: the journal cannot be read, was altered, or is older than the backup.
        DecryptionFailed: the master key is not the one of the backup.
    """
    with closing(open_existing_database(settings, restoring=True)) as database:
        database.check_integrity()
        with database.read() as session:
            head = audit_log.head(session).number
        own, renewed, revoked = open_journal(settings, database), Counter[str](), 0
        if journal is None:
            revoked = distrust(database)
        else:
            stored = own.read(journal)
            if not require_complete(database, stored):
                typer.echo(
                    f"The journal has the last {MOST_DELETIONS} deletions alone. Repeat those "
                    f"between the backup and {forgotten(stored.rows)[:16]} UTC.",
                    err=True,
                )
            renewed = merge(database, stored)
        keys = open_signing_keys(settings, database, open_keys(settings))
        finish(database, keys, f"entry {head}")
        own.write(anew=journal is None)
    return head, renewed, revoked
