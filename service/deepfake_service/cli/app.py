"""The ``deepfake`` command and its subcommands."""

from __future__ import annotations

import errno
import importlib.util
import io
import os
import sys
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from deepfake_models.errors import DeepfakeError
from deepfake_models.machine import share_arenas
from deepfake_service import program_version
from deepfake_service.cli.output import EXIT_OK, clean, clean_lines
from deepfake_service.platform.errors import DatabaseUnavailable

MODULES = {
    "score": ("score",),
    "processes": ("serve", "worker", "migrate"),
    "check": ("check", "looks"),
    "backup": ("backup",),
    "restore": ("restore",),
    "admin": ("accounts", "keys", "audit", "evidence", "clock"),
    "submit": ("submit",),
    "capture": ("capture",),
    "verify": ("verify",),
}
"""The names of the commands and groups in ``commands`` of each module of this package."""


class CommandsOnDemand(TyperGroup):
    """The group of all commands. A module is imported when one of its commands is run or listed: it
    imports what would delay the start of the others by a second."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Return the names of all commands for which the packages are installed."""
        found = importlib.util.find_spec("structlog") is not None  # as every one of the service's
        return [name for names in MODULES.values() for name in names] if found else ["score"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, after importing its module; ``None`` if there is none of this name."""
        for name, commands in MODULES.items():
            if cmd_name in commands:
                module = importlib.import_module(f"deepfake_service.cli.{name}")
                return typer.main.get_group(module.commands).get_command(ctx, cmd_name)
        # What a mistyped name may stand for is looked up among these.
        self.commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        return None


app = typer.Typer(
    cls=CommandsOnDemand,
    help="Detect manipulated faces: calibrated scores, and evidence that others can verify.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(program_version())
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
            f"error: This command needs {error.name}, which is not installed. Install the extras "
            "cpu and service of this package.",
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
