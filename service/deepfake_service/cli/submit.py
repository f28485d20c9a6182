"""``deepfake submit``: submit a file, or the files of a folder."""

from __future__ import annotations

import dataclasses
import getpass
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress

from deepfake_models.command_line import flatten_options
from deepfake_service.cli.output import EXIT_OK, EXIT_UNREADABLE, clean, json_line
from deepfake_service.cli.score import walk
from deepfake_service.cli.submit_many import ManySubmitter
from deepfake_service.cli.submitter import FINAL_STATES, UNSUCCESSFUL, Job, KeyRefused, Submitter

commands = typer.Typer()


@dataclass(frozen=True)
class ServiceOptions:
    """How to reach a service."""

    url: Annotated[
        str,
        typer.Option(
            help="Base URL of the service.",
            envvar="DEEPFAKE_URL",
            show_default="this machine, at DEEPFAKE_PORT or 8000",
        ),
    ] = f"http://127.0.0.1:{os.environ.get('DEEPFAKE_PORT', '8000')}"
    key: Annotated[
        str,
        typer.Option(
            help="Key of an account of the service. If unset, it is asked for in a terminal.",
            envvar="DEEPFAKE_KEY",
            show_default=False,
        ),
    ] = ""

    def connect(self) -> Submitter:
        """Return what submits to the service; ``KeyRefused`` without a key and a terminal."""
        return Submitter(self.url, self.key or _ask_for_key())


def _ask_for_key() -> str:
    with warnings.catch_warnings():
        # Without a terminal, it would warn and read the key from standard input.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass("Key: ")
        except getpass.GetPassWarning as error:
            raise KeyRefused(
                "There is no key, and no terminal to ask for it: name the key with --key or "
                "DEEPFAKE_KEY."
            ) from error


@dataclass(frozen=True)
class SubmissionOptions:
    """The fields that accompany a submitted file."""

    case_reference: Annotated[str | None, typer.Option(help="Your case number.")] = None
    source_url: Annotated[str | None, typer.Option(help="URL at which the media were seen.")] = None
    platform: Annotated[str | None, typer.Option(help="Platform on which they were seen.")] = None
    note: Annotated[str | None, typer.Option(help="Remarks.")] = None
    captured_at: Annotated[
        str | None, typer.Option(help="When they were seen: ISO 8601 with a time zone.")
    ] = None


@dataclass(frozen=True)
class WorkOptions:
    """How media are submitted."""

    priority: Annotated[
        Literal["live", "batch", "low"] | None,
        typer.Option(help="Queue priority. Default: live for a file, batch for a folder."),
    ] = None
    frames: Annotated[
        int | None, typer.Option(min=1, help="Examine exactly this many evenly spaced frames.")
    ] = None
    wait: Annotated[
        bool | None,
        typer.Option(
            "--wait/--no-wait", help="Wait for verdicts. Default: for a folder, not for a file."
        ),
    ] = None
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the job, or one object per line for a folder.")
    ] = False


@commands.command("submit")
@flatten_options
def submit_path(
    path: Annotated[Path, typer.Argument(help="Video, picture or folder to submit.", exists=True)],
    service: ServiceOptions,
    submission: SubmissionOptions,
    work: WorkOptions,
) -> None:
    """Submit a file, or the files of a folder, to a running service and print the verdicts.

    A file that was submitted before gets the job that exists: after an interruption, run the
    command again. The exit code is 0 whatever the verdicts are; 1 if a file cannot be read or is
    rejected, its job failed, expired or was cancelled, a folder contains no files, or the service
    cannot be reached or refuses the key; and 2 for a usage error.
    """
    fields = {**dataclasses.asdict(submission), "frames": work.frames}
    fields["priority"] = work.priority or ("batch" if path.is_dir() else "live")
    if path.is_dir():
        raise typer.Exit(_submit_many(path, service, fields, work))
    console = Console(stderr=True)
    with service.connect() as submitter:
        with Progress(console=console, transient=True) as bar:
            job = submitter.submit(path, fields, bar)
        if work.wait:
            job = _wait(submitter, job, console)
    typer.echo(json_line(job.sent) if work.as_json else summary(job))
    raise typer.Exit(EXIT_UNREADABLE if job.state in UNSUCCESSFUL else EXIT_OK)


def _wait(submitter: Submitter, job: Job, console: Console) -> Job:
    with console.status(job.state) as status:

        def has_ended(job: Job) -> bool:
            status.update(examined(job))
            return job.state in FINAL_STATES

        return submitter.until(has_ended, lambda: submitter.read(job.id))


def _submit_many(
    folder: Path, service: ServiceOptions, fields: dict[str, object], work: WorkOptions
) -> int:
    """Submit the files of a folder and return the exit code."""
    files = list(walk([folder]))
    problems = 0
    bars = Progress(
        *Progress.get_default_columns(), MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
        # Lines are printed to standard output. Where that is a file, they must reach it.
        redirect_stdout=sys.stdout.isatty(),
    )  # fmt: skip

    def explain(line: str) -> None:
        bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    with service.connect() as submitter, bars:
        many = ManySubmitter(submitter, folder, fields, explain, wait=work.wait is not False)
        for outcome in bars.track(many.run(files), total=len(files), description="files"):
            typer.echo(json_line(outcome.to_json()) if work.as_json else outcome.to_line())
            problems += outcome.failed
    if problems:
        typer.echo(
            f"{problems} of {len(files)} files were rejected or not examined to the end", err=True
        )
    return EXIT_UNREADABLE if problems or not files else EXIT_OK


def examined(job: Job) -> str:
    """Return how far the examination is, as markup of Rich."""
    counts = f": {job.progress.done} of {job.progress.total} frames" if job.progress.total else ""
    return escape(clean(job.state) + counts)


def summary(job: Job) -> str:
    """Return a job as a few lines of text, safe for a terminal."""
    lines = [f"job {job.id}: {job.state}"]
    if job.state == "failed":
        lines.append(f"The service failed: {job.failure}")
    if job.result is not None:
        score = "" if job.result.score is None else f" (score {job.result.score:.2f})"
        lines.append(job.result.verdict.replace("_", " ") + score)
        lines += [f"  {reason.detail}" for reason in job.result.reasons]
    return "\n".join(map(clean, lines))
