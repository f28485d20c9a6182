"""``deepfake submit``: submit a file, or the files of a folder."""

from __future__ import annotations

import dataclasses
import getpass
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import MofNCompleteColumn, Progress

from deepfake_models.command_line import flatten_options
from deepfake_service.cli.output import EXIT_OK, EXIT_UNREADABLE, clean, json_line
from deepfake_service.cli.score import walk
from deepfake_service.cli.submitter import (
    FINAL_STATES,
    UNSUCCESSFUL,
    Job,
    KeyRefused,
    ServiceRefused,
    ServiceUnreachable,
    Submitter,
)

FOLLOWED = 32
"""Files that are sent or examined at the same time: enough for the workers of most services."""
SENT = 4
"""Of these, files that are sent at the same time."""

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
    is_folder = path.is_dir()
    fields["priority"] = work.priority or ("batch" if is_folder else "live")
    waits = is_folder if work.wait is None else work.wait
    files = list(walk([path]))
    problems = 0
    with (
        service.connect() as submitter,
        Progress(
            *Progress.get_default_columns(), MofNCompleteColumn(),
            console=submitter.console,
            transient=True,
            disable=not sys.stderr.isatty(),
            # Lines are printed to standard output. Where that is a file, they must reach it.
            redirect_stdout=sys.stdout.isatty(),
        ) as bars,
    ):  # fmt: skip
        ended = submit_all(submitter, files, fields, bars, wait=waits)
        for outcome in bars.track(ended, total=len(files), description="files"):
            problems += outcome.failed
            if is_folder:
                typer.echo(
                    json_line(outcome.to_json(path)) if work.as_json else outcome.to_line(path)
                )
            elif outcome.job is None:
                raise ServiceRefused(outcome.problem)
            else:
                typer.echo(
                    json_line(outcome.job.model_dump()) if work.as_json else summary(outcome.job)
                )
    if problems and is_folder:
        typer.echo(
            f"{problems} of {len(files)} files were rejected or not examined to the end", err=True
        )
    raise typer.Exit(EXIT_UNREADABLE if problems or not files else EXIT_OK)


@dataclass(frozen=True, slots=True)
class SubmissionOutcome:
    """What became of a file: its job, or why there is none."""

    path: Path
    job: Job | None
    problem: str | None = None

    @property
    def failed(self) -> bool:
        return self.job is None or self.job.state in UNSUCCESSFUL

    def to_json(self, folder: Path) -> dict[str, object]:
        """Return the path below a folder, the problem, and the job as the service sent it."""
        job = self.job.model_dump() if self.job else None
        file = str(self.path.relative_to(folder))
        return {"file": file, "problem": self.problem, "job": job}

    def to_line(self, folder: Path) -> str:
        """Return a line of text. The columns of different width are at its end."""
        name = clean(str(self.path.relative_to(folder)))
        if self.job is None:
            return f"{'rejected':<31}  {name}: {clean(self.problem or '')}"
        state = clean(self.job.verdict or self.job.state).replace("_", " ")
        shown = "" if self.job.score is None else f"{self.job.score:.2f}"
        return f"{state:<24}  {shown:>5}  {name}  {self.job.id}"


def submit_all(
    submitter: Submitter,
    files: Iterable[Path],
    fields: Mapping[str, object],
    bars: Progress,
    *,
    wait: bool,
) -> Iterator[SubmissionOutcome]:
    """Submit files with ``fields``, and yield what became of each as soon as it has ended, or else
    was submitted. ``ServiceUnreachable`` if the service does not respond, ``KeyRefused`` if it does
    not accept the key."""
    sending = threading.Semaphore(SENT)

    def submit_one(path: Path) -> SubmissionOutcome:
        try:
            with sending:
                job = submitter.patiently(partial(submitter.submit, path, fields, bars))
            if wait:
                read = partial(submitter.read, job.id)
                job = submitter.until(lambda job: job.state in FINAL_STATES, read)
        except (ServiceUnreachable, KeyRefused) as error:
            submitter.failure = submitter.failure or error  # every other file would end like this
            submitter.stopping.set()
            raise
        except ServiceRefused as error:
            return SubmissionOutcome(path, None, error.message)
        except OSError as error:
            reason = error.strerror or error
            return SubmissionOutcome(path, None, f"the file cannot be read: {reason}")
        return SubmissionOutcome(path, job)

    with ThreadPoolExecutor(FOLLOWED, thread_name_prefix="submit") as pool:
        try:
            for ended in as_completed([pool.submit(submit_one, path) for path in files]):
                yield ended.result()
        finally:
            submitter.stopping.set()
            pool.shutdown(cancel_futures=True)


def summary(job: Job) -> str:
    """Return a job as a few lines of text, safe for a terminal."""
    lines = [f"job {job.id}: {job.state}"]
    if job.state == "failed":
        lines.append(f"The service failed: {job.failure}")
    if job.result is not None and job.verdict is not None:
        score = "" if job.score is None else f" (score {job.score:.2f})"
        lines.append(job.verdict.replace("_", " ") + score)
        lines += [f"  {reason.detail}" for reason in job.result.reasons]
    return "\n".join(map(clean, lines))
