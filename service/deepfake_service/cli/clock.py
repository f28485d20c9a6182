"""``deepfake clock``: confirm the clock that deletions rely on."""

from __future__ import annotations

import typer

from deepfake_service.casework.clock_check import confirm_clock
from deepfake_service.cli.records import opened_records

clock = typer.Typer(
    help="Confirm the clock that deletions rely on.", no_args_is_help=True, add_completion=False
)


@clock.callback()
def _group() -> None:
    """Keep ``confirm`` a command of its own although there is no other."""


@clock.command("confirm")
def confirm() -> None:
    """Let deletions rely on the clock. Check the date first.

    What is past its retention is marked at once, and deleted after a grace period of a day.
    """
    with opened_records() as (_, database):
        at = confirm_clock(database)
    typer.echo(f"confirmed: {at:%Y-%m-%d %H:%M} UTC")
