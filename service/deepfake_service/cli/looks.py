"""``deepfake looks try``: look at one address, to see what a look would record."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from deepfake_service.cli.output import clean
from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.pages import Pages
from deepfake_service.removal.lane import look_now
from deepfake_service.removal.signals import host_of

commands = typer.Typer()
looks = typer.Typer(help="Try what a look at a post finds.", no_args_is_help=True)
commands.add_typer(looks, name="looks")


@looks.command("try")
def try_look(url: Annotated[str, typer.Argument(help="Address of a post.")]) -> None:
    """Look at one address from this machine now, and print what a look would record.

    This sends up to three requests to the site: for the post, for one that never was, and, without
    the name of this service, for a post that is gone. Nothing is stored.
    """
    if not host_of(url):
        raise typer.BadParameter("it has no host; give one such as https://example.org/v/1")
    sight, page = look_now(Pages(), url, utc_now())
    strength = "strong" if sight.strong else "weak"
    typer.echo(f"{sight.result} ({strength})")
    typer.echo(f"signals: {clean(json.dumps(sight.signals))}")
    for answer in page.answers:
        said = f"{answer.status} from {answer.address}, {answer.body_bytes} bytes read"
        typer.echo(f"{clean(answer.url)}: {said}")
