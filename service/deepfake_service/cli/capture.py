"""``deepfake capture``: have links opened, or hand in pages that other tools recorded."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.progress import Progress
from typer.core import TyperGroup

from deepfake_models.command_line import flatten_options
from deepfake_service.cli.output import EXIT_OK, EXIT_UNREADABLE, clean, json_line
from deepfake_service.cli.score import open_regular
from deepfake_service.cli.submit import ServiceOptions, SubmissionOptions
from deepfake_service.cli.submitter import RESUMED_FROM_BYTES, Submitter
from deepfake_service.platform.errors import ServiceError
from deepfake_service.platform.texts.spreadsheets import BYTE_ORDER_MARK, csv_line

if TYPE_CHECKING:
    from deepfake_service.capture.captures import ShownCapture
    from deepfake_service.capture.registries import Operator


class _Group(TyperGroup):
    """Takes links without the name of their command."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0].startswith(("http://", "https://")):
            args = ["links", *args]
        return super().resolve_command(ctx, args)


commands = typer.Typer()
capture = typer.Typer(cls=_Group, help="Have links captured, or hand in recorded pages.")
commands.add_typer(capture, name="capture")


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
    screenshot: Annotated[
        list[Path] | None,
        typer.Option(
            help="Picture of the page, for a single file. The first one is to show the whole page.",
            exists=True,
            dir_okay=False,
        ),
    ] = None


@dataclass(frozen=True)
class _LinkOptions:
    """Which links are opened, and what becomes of them."""

    case_reference: Annotated[str | None, typer.Option(help="Your case number.")] = None
    table: Annotated[
        Path | None,
        typer.Option("--from", help="Table (CSV) with a link in each line.", exists=True),
    ] = None
    written: Annotated[
        Path | None, typer.Option("--to", help="Table (CSV) to write what became of them to.")
    ] = None
    examine: Annotated[
        bool, typer.Option(help="Examine every picture and video that is found.")
    ] = True


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


@capture.command("links")
@flatten_options
def open_links(
    service: ServiceOptions,
    options: _LinkOptions,
    urls: Annotated[list[str] | None, typer.Argument(help="Links of posts.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let the service open links, wait, and say what became of each and what you can do.

    "deepfake capture URL..." does the same. The exit code is 0, or 1 if one has no picture or
    video, or the service cannot be reached.
    """
    from deepfake_service.capture.links import QueuedLinks, links_of  # which takes a second

    text = "\n".join(urls or ())
    try:
        links, faults = links_of(text) if text else ([], [])
        more, wrong = links_of(_decoded(options.table.read_bytes())) if options.table else ([], [])
    except ServiceError as error:
        raise typer.BadParameter(str(error)) from error
    links, faults = [*links, *more], [*faults, *wrong]
    for fault in faults:
        typer.echo(f"Not opened: {fault.error.detail}.", err=True)
    if not links:
        raise typer.BadParameter("give a link, or a table with --from")
    asked = {
        "case_reference": options.case_reference,
        "urls": [{"url": link.url, "note": link.note} for link in links],
        "examine": options.examine,
    }
    with service.connect() as submitter, _table(options.written) as table:
        missed = bool(faults)
        for one in submitter.request(QueuedLinks, "POST", "links", json=asked).links:
            read = _wait(submitter, one.id)
            media = sum(medium.role == "medium" for medium in read.media)
            missed |= not media
            end = read.reason or read.state
            table.write(csv_line((one.url, end, media, read.detail, read.id)))
            told = [f"{one.url}: {end.replace('_', ' ')}; {media} pictures and videos"]
            told += [f"  {text}" for text in (read.detail, read.no_picture) if text]
            told += _operator(read.operator)
            typer.echo(
                json_line(read.model_dump(mode="json")) if as_json else "\n".join(map(clean, told))
            )
    raise typer.Exit(EXIT_UNREADABLE if missed else EXIT_OK)


def _operator(operator: Operator | None) -> Iterator[str]:
    """Yield a line on the network of a post's host, and one on its domain."""
    if operator is not None and (network := operator.network):
        holder = f", {network.holder}" if network.holder else ""
        country = f" ({network.country})" if network.country else ""
        cdn = "; a CDN, not the host" if network.is_cdn else ""
        told = f"{network.name}{holder}{country}{_abuse(network.abuse)}{cdn}"
        yield f"  network of {operator.address}: {told}"
    if operator is not None and (domain := operator.domain):
        registrar = f"; registrar: {domain.registrar}" if domain.registrar else ""
        yield f"  domain {domain.name}{registrar}{_abuse(domain.abuse)}"


def _abuse(addresses: list[str]) -> str:
    return f"; abuse contact: {', '.join(addresses)}" if addresses else ""


def _decoded(content: bytes) -> str:
    """Return the text of a table; Excel saves its plain CSV in Korea as CP949."""
    for encoding in ("utf-8-sig", "cp949"):
        with contextlib.suppress(UnicodeDecodeError):
            return content.decode(encoding)
    raise typer.BadParameter(
        "The table is neither in UTF-8 nor in CP949. Save it as CSV UTF-8.", param_hint="--from"
    )


def _table(path: Path | None) -> TextIO:
    """Open a table to write to, line by line; without a path, it is kept nowhere."""
    file = path.open("w", 1, encoding="utf-8", newline="") if path else StringIO()
    file.write(BYTE_ORDER_MARK + csv_line(("url", "end", "media", "next_step", "capture")))
    return file


@capture.command("import")
@flatten_options
def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Pages that other tools recorded, pictures or recordings; each is a capture.",
            exists=True,
            dir_okay=False,
        ),
    ],
    service: ServiceOptions,
    submission: SubmissionOptions,
    about: CaptureOptions,
    examine: Annotated[
        bool, typer.Option("--examine", help="Examine every picture and video in them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Hand in captured pages for a case, wait until they are read, and say what is missing.

    The exit code is 0, or 1 if one is refused or the service cannot be reached.
    """
    said = dataclasses.asdict(about)
    shots = said.pop("screenshot") or []
    if shots and len(files) > 1:
        raise typer.BadParameter("requires a single file", param_hint="--screenshot")
    fields = {**dataclasses.asdict(submission), **said}
    fields |= {"examine": "all" if examine else None, "full_page": "true" if shots else None}
    given = {name: str(value) for name, value in fields.items() if value is not None}
    refused = False
    with service.connect() as submitter:
        for path in files:
            with Progress(console=submitter.console, transient=True) as bar:
                sent = _hand_in(submitter, path, shots, given, bar)
            read = _wait(submitter, sent.id)
            refused |= read.state == "refused"
            typer.echo(json_line(read.model_dump(mode="json")) if as_json else _summary(path, read))
    raise typer.Exit(EXIT_UNREADABLE if refused else EXIT_OK)


def _hand_in(
    submitter: Submitter, path: Path, shots: list[Path], fields: dict[str, str], bar: Progress
) -> ShownCapture:
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open_regular(path))
        size = os.fstat(file.fileno()).st_size
        if size >= RESUMED_FROM_BYTES:
            submitter.check_size(size)
        sent: list[tuple[str, object]] = [
            ("file", (path.name, bar.wrap_file(file, size, description="uploading")))
        ]
        for shot in shots:
            sent.append(("screenshots", (shot.name, stack.enter_context(open_regular(shot)))))
        return submitter.request(_shape(), "POST", "captures", data=fields, files=sent)


def _shape() -> type[ShownCapture]:
    from deepfake_service.capture.captures import ShownCapture  # which takes a second

    return ShownCapture


def _wait(submitter: Submitter, capture_id: str) -> ShownCapture:
    """Wait until a capture is read or refused, and say once what keeps it; return it."""
    told = False

    def is_over(read: ShownCapture) -> bool:
        nonlocal told
        if read.waits and not told:
            typer.echo(clean(read.waits), err=True)
            told = True
        return read.state not in ("queued", "received")

    return submitter.until(
        is_over, lambda: submitter.request(_shape(), "GET", f"captures/{capture_id}")
    )


def _summary(path: Path, read: ShownCapture) -> str:
    if read.state == "refused":
        return clean(f"{path.name}: refused ({read.reason}): {read.detail or ''}")
    of_first = read.files[0].integrity if read.files else None
    stated = f"digests {of_first.digests}" if of_first else ""
    if of_first and of_first.signed_by:
        stated += f"; says that {of_first.signed_by} signed it, unchecked"
    missing = ", ".join(read.missing)
    lines = [
        f"{path.name}: capture {read.id}",
        f"  {len(read.pages)} pages, {len(read.media)} pictures and videos; {stated}",
    ]
    if missing:
        lines.append(f"  below the minimum of the Berkeley Protocol; missing: {missing}")
    return "\n".join(clean(line.replace("_", " ")) for line in lines)
