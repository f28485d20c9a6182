"""``deepfake submit``: submit a file, the files of a folder, or those of a manifest."""

from __future__ import annotations

import dataclasses
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from deepfake_models.command_line import flatten_options
from deepfake_service.cli.output import EXIT_INVALID, EXIT_OK, EXIT_UNREADABLE, json_line


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
            help="Key of an account of the service.",
            envvar="DEEPFAKE_KEY",
            prompt=True,
            hide_input=True,
        ),
    ] = ""


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
    parallel: Annotated[
        int, typer.Option(min=1, max=32, help="Files of a folder that are sent at the same time.")
    ] = 4
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the job, or one object per line for a folder.")
    ] = False


@flatten_options
def submit(
    path: Annotated[Path, typer.Argument(help="Video, picture or folder to submit.", exists=True)],
    service: ServiceOptions,
    submission: SubmissionOptions,
    work: WorkOptions,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="CSV that lists files of the folder, with the columns file, case_reference, "
            "source_url, platform, account, note and captured_at. Only they are submitted.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
) -> None:
    """Submit a file, or the files of a folder, to a running service and print the verdicts.

    With a manifest, submitted rows are recorded in MANIFEST.submitted: after an interruption, the
    same command resumes. The exit code is 0; 1 if the service cannot be reached, or a file is
    rejected or not examined to the end; 2 if the options or the manifest are invalid. Nothing is
    sent then.
    """
    if path.is_dir():
        raise typer.Exit(_submit_many(path, manifest, service, submission, work))
    if manifest is not None:
        raise typer.BadParameter("requires a folder", param_hint="--manifest")
    from deepfake_service.cli.submit import UNSUCCESSFUL, Submitter, submission_bars, summary

    fields = {**dataclasses.asdict(submission), "frames": work.frames}
    fields["priority"] = work.priority or "live"
    with Submitter(service.url, service.key) as submitter, submission_bars() as bars:
        job = submitter.submit(path, fields, bars.uploaded)
        if work.wait:
            job = submitter.wait(job.content.id, bars.examined)
    if work.as_json:
        typer.echo(json_line(job.sent))
    else:
        typer.echo(summary(job.content))
    raise typer.Exit(EXIT_UNREADABLE if job.content.state in UNSUCCESSFUL else EXIT_OK)


def _submit_many(
    folder: Path,
    manifest: Path | None,
    service: ServiceOptions,
    submission: SubmissionOptions,
    work: WorkOptions,
) -> int:
    """Submit the files of a folder and return the exit code."""
    from deepfake_service.cli.manifest import (
        InvalidManifest,
        SubmittedRows,
        read_manifest,
        rows_of_folder,
    )
    from deepfake_service.cli.submit import Submitter
    from deepfake_service.cli.submit_many import ManySubmitter, Options, SubmissionOutcome, heading

    fields = {n: v for n, v in dataclasses.asdict(submission).items() if v is not None}
    try:
        if manifest is None:
            rows, submitted = rows_of_folder(folder, fields), SubmittedRows(None)
        else:
            rows = read_manifest(manifest, folder, fields)
            submitted = SubmittedRows(manifest.with_name(f"{manifest.name}.submitted"))
    except InvalidManifest as error:
        typer.echo(f"error: {error.message}", err=True)
        return EXIT_INVALID
    if rows.encoding not in (None, "UTF-8"):
        typer.echo(f"The manifest is not UTF-8; it was read as {rows.encoding}.", err=True)
    wait = work.wait is not False

    def report(outcome: SubmissionOutcome) -> None:
        if work.as_json:
            typer.echo(json_line(outcome.to_json()))
        else:
            typer.echo(outcome.to_line())
        sys.stdout.flush()

    if not work.as_json:
        typer.echo(heading())
    options = Options(service.url, work.priority or "batch", work.frames, wait, work.parallel)
    with Submitter(service.url, service.key) as submitter:
        many = ManySubmitter(submitter, options, submitted, report)
        many.run(rows)
    if many.problems:
        typer.echo(
            f"{many.problems} of {len(rows)} files were rejected or not examined to the end",
            err=True,
        )
    return EXIT_UNREADABLE if many.problems else EXIT_OK
