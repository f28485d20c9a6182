"""Commands about looks at posts: try one, ask for them, and count removals."""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated

import typer
from sqlalchemy import update

from deepfake_service.cli.output import clean
from deepfake_service.cli.records import opened_records
from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.db import Watch
from deepfake_service.platform.pages import Pages
from deepfake_service.platform.storage import (
    open_case_keys,
    open_keys,
    open_vault,
)
from deepfake_service.platform.texts.formatting import KST
from deepfake_service.platform.texts.spreadsheets import BYTE_ORDER_MARK
from deepfake_service.removal.lane import look_now
from deepfake_service.removal.statistics import GroupBy, RemovalStatistics
from deepfake_service.removal.statistics_pages import csv_of

looks = typer.Typer(
    help="Look whether posts are gone, and count removals.",
    no_args_is_help=True,
    add_completion=False,
)


@looks.command("try")
def try_look(
    url: Annotated[str, typer.Argument(help="Address of a post.")],
) -> None:
    """Look at one address from this machine now, and print what a look would record.

    This sends two requests to the site: for the post, and for one that never was. Nothing is
    stored.
    """
    sight, page = look_now(Pages(), url, utc_now())
    strength = "strong" if sight.strong else "weak"
    typer.echo(f"{sight.result} ({strength})")
    typer.echo(f"signals: {clean(json.dumps(sight.signals))}")
    for answer in page.answers:
        said = f"{answer.status} from {answer.address}, {answer.body_bytes} bytes read"
        typer.echo(f"{clean(answer.url)}: {said}")


@looks.command("now")
def ask_now(
    occurrence: Annotated[str, typer.Argument(help="Id of the post.")],
) -> None:
    """Let a worker look at a post as soon as its site may be asked again."""
    with opened_records() as (settings, database):
        if settings.looks_from is None:
            raise typer.BadParameter("DEEPFAKE_LOOKS_FROM is not set, so that no worker looks.")
        with database.write() as session:
            asked = session.execute(
                update(Watch)
                .where(Watch.occurrence_id == occurrence, Watch.host.is_not(None))
                .values(next_look_at=database.clock())
                .returning(Watch.id)
            ).all()
    if not asked:
        raise typer.BadParameter("No notice about such a post was recorded as sent.")
    typer.echo("asked for")


@looks.command("statistics")
def statistics(
    start: Annotated[str, typer.Option(help="First day of sending, YYYY-MM-DD.")],
    end: Annotated[str | None, typer.Option(help="Last day; today if omitted.")] = None,
    by: Annotated[GroupBy, typer.Option(help="What posts are grouped by.")] = GroupBy.PLATFORM,
) -> None:
    """Count what became of the posts of notices, of all cases, as CSV."""
    try:
        first = date.fromisoformat(start)
        last = date.fromisoformat(end) if end else utc_now().astimezone(KST).date()
    except ValueError as error:
        raise typer.BadParameter("Give days as YYYY-MM-DD.") from error
    with opened_records() as (settings, database):
        keys = open_case_keys(settings, open_keys(settings), database.clock)
        vault = open_vault(settings, keys)
        found = RemovalStatistics(database, vault).summary(None, first, last, by)
    typer.echo(csv_of(found).removeprefix(BYTE_ORDER_MARK), nl=False)
