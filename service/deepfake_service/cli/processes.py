"""``deepfake serve`` and ``worker``, and ``migrate`` and ``check-store``, which prepare what they
share."""

from __future__ import annotations

import contextlib
import os
from datetime import timedelta
from typing import Annotated

import typer
from sqlalchemy import text

from deepfake_service.accounts.admin_key import ensure_admin_key
from deepfake_service.audit.records import open_database, require_records
from deepfake_service.examination.queue import JobQueue
from deepfake_service.platform import logs
from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.db import new_id
from deepfake_service.platform.errors import StorageError
from deepfake_service.platform.files import protect_process
from deepfake_service.platform.settings import Settings, load_settings, unknown_variables
from deepfake_service.platform.storage import BLOB_FOLDER, open_blobs

_CONTENT = b"written by deepfake check-store\n"

commands = typer.Typer()


@commands.command()
def serve(
    worker: Annotated[bool, typer.Option(help="Also examine jobs in this process.")] = True,
) -> None:
    """Serve the HTTP API and the console. Configure it with DEEPFAKE_* environment variables."""
    typer.echo("Starting: opening the records and loading the model.", err=True)
    from deepfake_service.cli.serve import run  # which takes a second or two

    run(_prepared(), worker=worker)


@commands.command()
def worker() -> None:
    """Examine jobs, for a service started with --no-worker or alongside other workers."""
    from deepfake_service.worker import run_worker  # which takes a second

    run_worker(_prepared())


def _prepared() -> Settings:
    """Return the settings of a process that stays, with its memory closed to others, and log what
    is suspicious about them."""
    settings = load_settings()
    protect_process()
    logs.configure(settings.log_level)
    log = logs.logger("deepfake_service.processes")
    for name in unknown_variables():
        log.warning("unknown_setting", variable=name)
    if os.geteuid() == 0:
        log.warning("running_as_root")
        typer.echo(
            "The service runs as root: an attacker who exploits it controls the whole machine. "
            "Run it as a user of its own; the unit and the compose file in deploy/ do.",
            err=True,
        )
    return settings


@commands.command()
def migrate() -> None:
    """Create or migrate the tables of the database, and store the administrator's key.

    Services and workers do the same when they start. Where several start at once, run this first.
    """
    settings = load_settings()
    protect_process()
    with contextlib.closing(open_database(settings)) as database:
        JobQueue(database).close()
        if settings.admin_key is not None:
            ensure_admin_key(database, settings, terminal=False)
        with database.read() as session:
            version = session.scalar(text("SELECT version_num FROM alembic_version"))
    typer.echo(f"The database is at version {version}.")


@commands.command()
def check_store() -> None:
    """Write, list, read and delete a small blob in the store of encrypted media and results.

    If that fails, what the store or the network reports is shown, such as wrong credentials, a
    bucket that is missing, or an expired certificate.
    """
    try_store(load_settings())
    typer.echo("The store works: a blob was written, listed, read and deleted.")


def try_store(settings: Settings) -> None:
    """Write, list, read and delete a small blob; raise ``StorageError`` if a step fails."""
    if settings.blob_url is None:
        require_records(settings)
    blobs = open_blobs(settings.blob_url, settings.data_dir / BLOB_FOLDER)
    name = f"checks/{new_id()}"
    try:
        blobs.put_bytes(name, _CONTENT)
        try:
            is_listed = name in list(blobs.older_than("checks/", utc_now() + timedelta(days=1)))
            blob = blobs.open(name)
            content = blob.read_at(0, blob.size)
        finally:
            blobs.delete(name)
    except StorageError as error:
        # Unlike the log, a terminal may show the text, which names the address and the bucket.
        raise StorageError(
            f"The store or the network reported: {error.__cause__ or error}"
        ) from error
    if content != _CONTENT or not is_listed:
        raise StorageError("The store does not return what was written to it.")
