"""``deepfake capture import``: hand in pages that other tools or people recorded."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import Progress

from deepfake_models.command_line import flatten_options
from deepfake_service.cli.output import EXIT_OK, EXIT_UNREADABLE, clean, json_line
from deepfake_service.cli.score import open_regular
from deepfake_service.cli.submit import ServiceOptions, SubmissionOptions
from deepfake_service.cli.submitter import POLL_S, ServiceBusy, ServiceRefused, Submitter

capture = typer.Typer(add_completion=False, help="Hand in pages that other tools recorded.")


class _Integrity(BaseModel):
    digests: str
    signature: str


class _File(BaseModel):
    integrity: _Integrity | None = None


class _Capture(BaseModel):
    """What the command reads of a capture."""

    id: str
    state: str
    reason: str | None = None
    detail: str | None = None
    missing: list[str]
    files: list[_File]
    media: list[dict[str, Any]]
    pages: list[dict[str, Any]]


@dataclass(frozen=True)
class CaptureOptions:
    """What is said about captured pages."""

    account: Annotated[str | None, typer.Option(help="The account that published it.")] = None
    title: Annotated[str | None, typer.Option(help="Title of the post or page.")] = None
    captured_by: Annotated[str | None, typer.Option(help="Who captured it, if another person.")] = (
        None
    )
    device: Annotated[str | None, typer.Option(help="With which device.")] = None
    reached: Annotated[
        str | None, typer.Option(help="How it was reached, such as signed in to an account.")
    ] = None


@capture.callback()
def _group() -> None:
    """Hand in pages that other tools recorded."""


@capture.command("import")
@flatten_options
def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="WACZ, WARC or MHTML files, pictures or recordings; each is a capture.",
            exists=True,
            dir_okay=False,
        ),
    ],
    service: ServiceOptions,
    submission: SubmissionOptions,
    about: CaptureOptions,
    screenshot: Annotated[
        list[Path] | None,
        typer.Option(
            help="Picture of the page, for a single file. The first one is to show the whole page.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    examine: Annotated[
        bool, typer.Option("--examine", help="Examine every picture and video in them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Hand in captured pages for a case, wait until they are read, and say what is missing.

    The exit code is 0, or 1 if one is refused or the service cannot be reached.
    """
    if screenshot and len(files) > 1:
        raise typer.BadParameter("requires a single file", param_hint="--screenshot")
    fields = {**dataclasses.asdict(submission), **dataclasses.asdict(about)}
    fields |= {"examine": "all" if examine else None, "full_page": "true" if screenshot else None}
    given = {name: str(value) for name, value in fields.items() if value is not None}
    refused = False
    with Submitter(service.url, service.key) as submitter:
        for path in files:
            with Progress(console=Console(stderr=True), transient=True) as bar:
                sent = _hand_in(submitter, path, screenshot or [], given, bar)
            ended = _wait(submitter, _parsed(sent).id)
            read = _parsed(ended)
            refused |= read.state == "refused"
            typer.echo(json_line(ended) if as_json else _summary(path, read))
    raise typer.Exit(EXIT_UNREADABLE if refused else EXIT_OK)


def _hand_in(
    submitter: Submitter, path: Path, shots: list[Path], fields: dict[str, str], bar: Progress
) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open_regular(path))
        size = os.fstat(file.fileno()).st_size
        sent: list[tuple[str, Any]] = [
            ("file", (path.name, bar.wrap_file(file, size, description="uploading")))
        ]
        for shot in shots:
            sent.append(("screenshots", (shot.name, stack.enter_context(open_regular(shot)))))
        return submitter.request("POST", "captures", data=fields, files=sent)


def _wait(submitter: Submitter, capture_id: str) -> dict[str, Any]:
    while True:
        try:
            shown = submitter.request("GET", f"captures/{capture_id}")
        except ServiceBusy as busy:
            time.sleep(busy.wait_s)
            continue
        if _parsed(shown).state != "received":
            return shown
        time.sleep(POLL_S)


def _parsed(shown: dict[str, Any]) -> _Capture:
    try:
        return _Capture.model_validate(shown)
    except ValidationError as error:
        raise ServiceRefused("The answer is not a capture.") from error


def _summary(path: Path, read: _Capture) -> str:
    if read.state == "refused":
        return clean(f"{path.name}: refused ({read.reason}): {read.detail or ''}")
    integrity = read.files[0].integrity
    stated = f"digests {integrity.digests}, signature {integrity.signature}" if integrity else ""
    missing = ", ".join(read.missing)
    lines = [
        f"{path.name}: capture {read.id}",
        f"  {len(read.pages)} pages, {len(read.media)} pictures and videos; {stated}",
    ]
    if missing:
        lines.append(f"  below the minimum of the Berkeley Protocol; missing: {missing}")
    return "\n".join(clean(line.replace("_", " ")) for line in lines)
