"""``deepfake check``: whether this machine can do what its settings ask for; and
``deepfake looks try``: what a look at one address would record."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_service.audit.records import require_records
from deepfake_service.cli.output import EXIT_OK, EXIT_UNREADABLE, clean
from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.db import new_id
from deepfake_service.platform.errors import StorageError
from deepfake_service.platform.networks import host_of
from deepfake_service.platform.pages import Pages
from deepfake_service.platform.sandbox_setting import naming_the_setting, sandbox_required
from deepfake_service.platform.settings import Settings, load_settings
from deepfake_service.platform.storage import BLOB_FOLDER, open_blobs
from deepfake_service.post_pages.reading import PageReaders
from deepfake_service.removal.page_looks import PostLooker

_CONTENT = b"written by deepfake check\n"

commands = typer.Typer()
looks = typer.Typer(help="Try what a look at a post finds.", no_args_is_help=True)
commands.add_typer(looks, name="looks")


@commands.command()
def check(
    urls: Annotated[
        list[str] | None, typer.Argument(help="Links to try to open, in place of the rest.")
    ] = None,
) -> None:
    """Check whether the store works, links can be opened and pages be pictured, as far as the
    settings switch that on.

    In the store, a small blob is written, listed, read and deleted; if that fails, what the store
    or the network reports is shown, such as wrong credentials, a bucket that is missing, or an
    expired certificate. With links, these are opened, without keeping anything. The exit code is 0,
    or 1 if something does not work, or a link has no picture or video.
    """
    settings = load_settings()
    works = True
    if settings.capture_links or urls:
        works &= _try_links(urls or [])
    if settings.capture_browser is not None and not urls:
        works &= _try_browser(settings.capture_browser)
    if not urls:
        try_store(settings)
        typer.echo("The store works: a blob was written, listed, read and deleted.")
    raise typer.Exit(EXIT_OK if works else EXIT_UNREADABLE)


def _try_links(urls: list[str]) -> bool:
    """Say which yt-dlp fetches videos, and what came of each link; return whether all have
    media."""
    from deepfake_service.capture.fetcher import find_program
    from deepfake_service.capture.fetches import try_link

    if find_program() is None:
        raise typer.BadParameter("Install yt-dlp: the extra capture-link of this package.")
    said, *_ = try_link(None)
    typer.echo(clean(f"yt-dlp {said.tools.get('yt-dlp') or 'does not run'}: {find_program()}"))
    works = bool(said.tools.get("yt-dlp"))
    for url in urls:
        _, end, size, gate = try_link(url)
        typer.echo(f"{clean(url)}: {end.replace('_', ' ')}; {size} bytes recorded")
        for line in gate.log:
            where = line.address or line.refused
            typer.echo(f"  {line.host}:{line.port}: {where}, {line.received} bytes")
        works &= end == "captured"
    return works


def _try_browser(program: Path) -> bool:
    """Say whether pictures of pages can be taken."""
    from deepfake_service.capture.browser import PageBrowser
    from deepfake_service.capture.captures import UNPICTURED
    from deepfake_service.capture.gate import Gate
    from deepfake_service.capture.shapes import MissingPicture

    with contextlib.closing(ProcessDecoder(workers=1)) as decoder:
        browser = PageBrowser(program, decoder)
        about, _ = browser.take("data:,test", lambda control: Gate(control, utc_now))
    if is_missing := isinstance(about, MissingPicture):
        said = f"none: {about.detail or UNPICTURED[about.reason]}"
    else:
        said = about.browser
    typer.echo(clean(f"pictures of pages: {said}"))
    return not is_missing


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


@looks.command("try")
def try_look(url: Annotated[str, typer.Argument(help="Address of a post.")]) -> None:
    """Look at one address from this machine now, and print what a look would record.

    This sends up to three requests to the site: for the post, for one that never was, and, without
    the name of this service, for a post that is gone. Nothing is stored.
    """
    if not host_of(url):
        raise typer.BadParameter("it has no host; give one such as https://example.org/v/1")
    with (
        naming_the_setting(),
        contextlib.closing(PageReaders(require=sandbox_required())) as readers,
    ):
        found, page = PostLooker(Pages(), readers).look_first(url, utc_now())
    strength = "strong" if found.strong else "weak"
    typer.echo(f"{found.result} ({strength})")
    signals = [asdict(signal) for signal in found.signals]
    typer.echo(f"signals: {clean(json.dumps(signals))}")
    for answer in page.answers:
        said = f"{answer.status} from {answer.address}, {answer.body_bytes} bytes read"
        typer.echo(f"{clean(answer.url)}: {said}")
