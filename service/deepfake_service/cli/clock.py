"""``deepfake clock``: whether deletions may rely on the clock."""

from __future__ import annotations

from contextlib import closing

import typer

from deepfake_service.casework.clock_guard import ClockGuard
from deepfake_service.security.records import open_existing_database
from deepfake_service.settings import load_settings

clock = typer.Typer(
    help="Check and accept the clock that deletions rely on.",
    no_args_is_help=True,
    add_completion=False,
)


@clock.command("check")
def check_clock() -> None:
    """Check whether the clock can be trusted. The exit code is 1 if it cannot."""
    with closing(open_existing_database(load_settings())) as database:
        problem = ClockGuard(database).problem()
    typer.echo(problem or "the clock agrees with what this installation has seen")
    raise typer.Exit(1 if problem else 0)


@clock.command("accept")
def accept_clock() -> None:
    """Trust the clock as it is. Check the date first: what is past its retention will be deleted.

    Everything that is due is marked at once, and deleted after a grace period of a day.
    """
    with closing(open_existing_database(load_settings())) as database:
        at = ClockGuard(database).accept()
    typer.echo(f"accepted: {at:%Y-%m-%d %H:%M} UTC")
