"""The ``deepfake`` command and its subcommands."""

from __future__ import annotations

import errno
import importlib.util
import io
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main
from rich.console import Console
from typer.core import TyperGroup

from deepfake_models.errors import DeepfakeError
from deepfake_models.machine import Device, share_arenas
from deepfake_service.cli.output import EXIT_OK, EXIT_UNREADABLE, clean, clean_lines, writes_utf8
from deepfake_service.platform.errors import DatabaseUnavailable

MODULES = {
    "accounts": "admin",
    "keys": "admin",
    "audit": "admin",
    "evidence": "records",
    "clock": "records",
    "looks": "looks",
    "submit": "submit",
    "capture": "capture",
    "migrate": "preparation",
    "check-store": "preparation",
    "verify": "verify",
}
"""The module of ``deepfake_service.cli`` by the name of the command, which is that of its Typer."""


class CommandsOnDemand(TyperGroup):
    """The group of all commands. Those of ``MODULES`` are imported when they are run or listed:
    they import what would delay the start of the others by a second."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands for which the packages are installed."""
        found = importlib.util.find_spec("structlog") is not None  # as every one of the service's
        return list(dict.fromkeys([*super().list_commands(ctx), *(MODULES if found else ())]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, after importing its module; ``None`` if there is none of this name."""
        if cmd_name in MODULES and cmd_name not in self.commands:
            module = importlib.import_module(f"deepfake_service.cli.{MODULES[cmd_name]}")
            command = typer.main.get_command(getattr(module, cmd_name.replace("-", "_")))
            command.name = cmd_name
            self.add_command(command, cmd_name)
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    cls=CommandsOnDemand,
    help="Detect manipulated faces: calibrated scores, and evidence that others can verify.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(requested: bool) -> None:
    if requested:
        try:
            typer.echo(version("deepfake-service"))
        except PackageNotFoundError:
            typer.echo("0+unknown")
        raise typer.Exit(EXIT_OK)


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Accept the options common to all commands."""


@app.command()
def score(
    paths: Annotated[
        list[Path], typer.Argument(help="Pictures, videos, or folders containing them.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.")
    ] = False,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="Examine exactly this many evenly spaced frames of each video."),
    ] = None,
    faces: Annotated[
        bool, typer.Option("--faces", help="Include every face (requires --json).")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Directory of the model bundle.", envvar="DEEPFAKE_BUNDLE_DIR"),
    ] = None,
    device: Annotated[Device, typer.Option(help="Device that runs the model.")] = "auto",
) -> None:
    """Estimate whether a face in each picture or video has been manipulated.

    The exit code is 0, or 1 if a path could not be read or decoded.
    """
    from deepfake_service.cli.score import open_scorer, score_path, show, walk

    if faces and not as_json:
        raise typer.BadParameter("requires --json", param_hint="--faces")
    with open_scorer(bundle, device) as scorer:
        unreadable = False
        files = walk(paths)
        if as_json:
            for path in files:
                item = score_path(scorer, path, frames)
                line = item.to_json(scorer.bundle, faces=faces)
                typer.echo(json.dumps(line, ensure_ascii=not writes_utf8()))
                sys.stdout.flush()
                unreadable |= item.unreadable
        else:
            unreadable = show(scorer, list(files), frames, Console())
    raise typer.Exit(EXIT_UNREADABLE if unreadable else EXIT_OK)


@app.command()
def serve(
    worker: Annotated[bool, typer.Option(help="Also examine jobs in this process.")] = True,
) -> None:
    """Serve the HTTP API and the console. Configure it with DEEPFAKE_* environment variables."""
    typer.echo("Starting: opening the records and loading the model.", err=True)
    from deepfake_service.cli.serve import run
    from deepfake_service.platform import logs
    from deepfake_service.platform.files import protect_process
    from deepfake_service.platform.settings import load_settings

    settings = load_settings()
    protect_process()
    logs.configure(settings.log_level)
    run(settings, worker=worker)


@app.command()
def backup(out: Annotated[Path, typer.Argument(help="Folder to create.")]) -> None:
    """Copy the database and the encrypted media while the service runs, without their keys."""
    from deepfake_service.cli.backup import back_up
    from deepfake_service.platform.settings import load_settings

    settings = load_settings()
    damaged = back_up(settings, out)
    typer.echo(f"{out}: database and encrypted media")
    typer.echo(
        "Store the master key separately: without it this backup cannot be decrypted.", err=True
    )
    if damaged:
        for name in damaged:
            typer.echo(f"missing or damaged: {name}", err=True)
        raise typer.Exit(EXIT_UNREADABLE)


@app.command()
def restore(
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
    from deepfake_service.cli.restore import copy_backup
    from deepfake_service.cli.restore import restore as renew
    from deepfake_service.platform.settings import load_settings

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
    head, renewed, keys_revoked = renew(settings, None if without_journal else journal)
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


@app.command()
def worker() -> None:
    """Examine jobs, for a service started with --no-worker or alongside other workers."""
    from deepfake_service.platform import logs
    from deepfake_service.platform.settings import load_settings
    from deepfake_service.worker import run_worker

    settings = load_settings()
    logs.configure(settings.log_level)
    run_worker(settings)


def main() -> None:
    """Run the command; print a domain error or a failed write as one line and exit with code 1."""
    share_arenas()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except DeepfakeError as error:
        reason = error.reason if isinstance(error, DatabaseUnavailable) else None
        said = f" ({clean(reason)})" if reason else ""
        typer.echo(f"error: {clean_lines(error.message)}{said}", err=True)
        raise SystemExit(1) from error
    except ModuleNotFoundError as error:
        typer.echo(
            f"error: This command needs {error.name}, which is not installed. Install "
            "deepfake-service[cpu,service].",
            err=True,
        )
        raise SystemExit(1) from None
    except OSError as error:
        _drop_output()
        # A closed pipe, as with `deepfake score ... | head`, is not reported.
        if error.errno != errno.EPIPE:
            named = f"{clean(error.filename)}: " if isinstance(error.filename, str) else ""
            reason = error.strerror or "the output could not be written"
            typer.echo(f"error: {named}{reason}", err=True)
        raise SystemExit(1) from None


def _drop_output() -> None:
    """Discard buffered output, which the interpreter would otherwise try to write on exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)
