"""``deepfake looks try``: look at one address, to see what a look would record."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer

from deepfake_service.cli.output import clean
from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.networks import host_of
from deepfake_service.platform.pages import Pages
from deepfake_service.platform.sandbox_setting import naming_the_setting, sandbox_required
from deepfake_service.post_pages.reading import PageReaders
from deepfake_service.removal.page_looks import PostLooker

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
    with naming_the_setting(), closing(PageReaders(require=sandbox_required())) as readers:
        found, page = PostLooker(Pages(), readers).look_first(url, utc_now())
    strength = "strong" if found.strong else "weak"
    typer.echo(f"{found.result} ({strength})")
    signals = [asdict(signal) for signal in found.signals]
    typer.echo(f"signals: {clean(json.dumps(signals))}")
    for answer in page.answers:
        said = f"{answer.status} from {answer.address}, {answer.body_bytes} bytes read"
        typer.echo(f"{clean(answer.url)}: {said}")
