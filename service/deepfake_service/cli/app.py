"""``deepfake``: score files, and serve."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from deepfake_models.errors import DeepfakeError
from deepfake_models.session import Device
from deepfake_service.cli import score as scoring
from deepfake_service.cli.admin import accounts, audit, keys
from deepfake_service.cli.submit import Client, submission_bars, told
from deepfake_service.cli.verify import signing, verify_bundle

app = typer.Typer(
    help="Face-manipulation detection: scores with a meaning, evidence that can be checked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.add_typer(accounts, name="accounts")
app.add_typer(keys, name="keys")
app.add_typer(audit, name="audit")
keys.add_typer(signing, name="signing")
app.command("verify")(verify_bundle)

EXIT_OK, EXIT_UNREADABLE = 0, 1


def _print_version(wanted: bool) -> None:
    if wanted:
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
    """Options common to all commands. Keeps every command behind its name."""


@app.command()
def score(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, videos, or folders of them.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="Exactly this many evenly spread frames of each video."),
    ] = None,
    faces: Annotated[
        bool, typer.Option("--faces", help="With --json: every face as well.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Model bundle directory.", envvar="DEEPFAKE_BUNDLE_DIR"),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to run the model.")] = "auto",
) -> None:
    """Say of each picture or video whether a face in it is probably manipulated.

    Exit code 0, or 1 when a path could not be read or decoded.
    """
    if faces and not as_json:
        raise typer.BadParameter("give --json with it", param_hint="--faces")
    with scoring.open_scorer(bundle, device) as scorer:
        unreadable = False
        found = scoring.walk(paths, _say_empty)
        if as_json:
            for item in scoring.score_paths(scorer, found, frames):
                line = item.to_json(scorer.bundle, faces=faces)
                typer.echo(json.dumps(line, ensure_ascii=not _writes_utf8()))
                sys.stdout.flush()
                unreadable |= item.unreadable
        else:
            unreadable = scoring.show(scorer, list(found), frames, Console())
    raise typer.Exit(EXIT_UNREADABLE if unreadable else EXIT_OK)


def _say_empty(folder: Path) -> None:
    typer.echo(f"no files in {scoring.clean(str(folder))}", err=True)


def _writes_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


@app.command()
def serve(
    worker: Annotated[bool, typer.Option(help="Examine jobs in this process too.")] = True,
) -> None:
    """Serve the HTTP API; settings come from DEEPFAKE_ environment variables."""
    from deepfake_service.cli.serve import run
    from deepfake_service.settings import load_settings

    run(load_settings(), worker=worker)


@app.command()
def submit(
    path: Annotated[Path, typer.Argument(help="A video or picture.", exists=True, dir_okay=False)],
    url: Annotated[
        str, typer.Option(help="Of the service.", envvar="DEEPFAKE_URL")
    ] = "http://127.0.0.1:8000",
    key: Annotated[
        str,
        typer.Option(
            help="A key of the service.", envvar="DEEPFAKE_KEY", prompt=True, hide_input=True
        ),
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Until there is a verdict.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The job as JSON.")] = False,
    case_reference: Annotated[str | None, typer.Option(help="Your case number.")] = None,
    source_url: Annotated[str | None, typer.Option(help="Where it was seen.")] = None,
    priority: Annotated[
        Literal["live", "batch", "low"], typer.Option(help="Whose turn it is first.")
    ] = "live",
    frames: Annotated[
        int | None, typer.Option(min=1, help="Exactly this many evenly spread frames.")
    ] = None,
) -> None:
    """Submit a file to a running service, and with --wait show its verdict.

    Exit code 0; 1 when the service cannot be reached, refuses, or fails.
    """
    given = {
        "case_reference": case_reference,
        "source_url": source_url,
        "priority": priority,
        "frames": frames,
    }
    fields = {name: str(value) for name, value in given.items() if value is not None}
    with Client(url, key) as client, submission_bars() as bars:
        job = client.submit(path, fields, bars.uploaded)
        if wait:
            job = client.wait(job["id"], bars.examined)
    if as_json:
        typer.echo(json.dumps(job, ensure_ascii=not _writes_utf8()))
    else:
        typer.echo(told(job))
    raise typer.Exit(EXIT_UNREADABLE if job["state"] == "failed" else EXIT_OK)


@app.command()
def backup(
    out: Annotated[Path, typer.Argument(help="New folder to write.")],
) -> None:
    """Copy records and sealed blobs while the service runs; not the keys that open them."""
    from deepfake_service.cli.backup import back_up
    from deepfake_service.settings import load_settings

    settings = load_settings()
    back_up(settings, out)
    typer.echo(f"{out}: records and sealed blobs")
    typer.echo("Keep the master key elsewhere: it alone opens what is in there.", err=True)


@app.command()
def worker() -> None:
    """Examine jobs, beside a service started with --no-worker or other workers."""
    from deepfake_service.observability import logs
    from deepfake_service.settings import load_settings
    from deepfake_service.worker import run_worker

    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    run_worker(settings)


def main() -> None:
    """Entry point: a domain error, or output that cannot be written, becomes one line and exit
    code 1, never a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except DeepfakeError as error:
        typer.echo(f"error: {error.message}", err=True)
        raise SystemExit(1) from error
    except OSError as error:
        _drop_output()
        # A reader that went away, as with `deepfake score ... | head`, needs no telling.
        if error.errno != errno.EPIPE:
            typer.echo(f"error: {error.strerror or 'the output cannot be written'}", err=True)
        raise SystemExit(1) from None


def _drop_output() -> None:
    """Let what is still buffered go nowhere: the interpreter would try to write it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
