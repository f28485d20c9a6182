"""``deepfake serve`` and ``worker``, and ``migrate``, which prepares what they share."""

from __future__ import annotations

import contextlib
import os
from typing import Annotated

import typer
from sqlalchemy import text

from deepfake_service.accounts.admin_key import ensure_admin_key
from deepfake_service.audit.records import open_database
from deepfake_service.examination.queue import JobQueue
from deepfake_service.platform import logs
from deepfake_service.platform.files import protect_process
from deepfake_service.platform.settings import Settings, load_settings, unknown_variables

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
    logs.configure()
    log = logs.logger("deepfake_service.processes")
    for name in unknown_variables():
        log.warning("unknown_setting", variable=name)
    if os.geteuid() == 0:
        log.warning("running_as_root")
        typer.echo(
            "The service runs as root: an attacker who exploits it controls the whole machine. "
            "Run it as its own user; the unit and the compose file in deploy/ do.",
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
