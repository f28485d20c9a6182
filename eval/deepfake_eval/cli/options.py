"""Options and messages that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from deepfake_models.errors import DeepfakeError

console = Console(stderr=True)

BundleOption = Annotated[
    Path | None, typer.Option(help="Bundle folder. The default is the shipped bundle.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        help="Address of a Dask scheduler whose workers do the work, such as tcp://10.0.0.5:8786."
    ),
]
DatasetOption = Annotated[
    list[str],
    typer.Option(
        help="NAME:ROOT or NAME,OPTION=VALUE:ROOT, with a name from `deepfake-eval datasets`. "
        "May be repeated."
    ),
]
SplitOption = Annotated[str, typer.Option(help="train, val, test or all.")]
DrawsOption = Annotated[int, typer.Option(min=1, help="Resamples behind each interval.")]
FRAMES_HELP = "Evenly spread frames to examine in each video; 0 samples as the service does."


@dataclass(frozen=True)
class MediaOptions:
    """Options of the commands that score media."""

    dataset: DatasetOption
    out: Annotated[
        Path, typer.Option(help="Folder for the results. An interrupted run resumes there.")
    ]
    bundle: BundleOption = None
    split: SplitOption = "test"
    workers: Annotated[
        int, typer.Option(min=1, help="Number of processes that score media in parallel.")
    ] = 1
    scheduler: SchedulerOption = None
    draws: DrawsOption = 1000


def run_app(app: typer.Typer) -> None:
    """Run a command line; a domain error, or a file that cannot be used, becomes one line on stderr
    and exit code 1."""
    try:
        app()
    except DeepfakeError as error:
        _fail(error.message, error)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), error)


def _fail(message: str, cause: Exception) -> None:
    console.print(f"error: {message}", style="red", highlight=False, markup=False)
    raise SystemExit(1) from cause


def warn_in_sample(datasets: list[dict[str, Any]]) -> bool:
    """Print a warning for each measured training source of the bundle; return True if any."""
    from deepfake_eval.analysis.training_sources import in_sample_warnings

    warnings = in_sample_warnings(datasets)
    for warning in warnings:
        console.print(f"warning: {warning}", style="yellow", highlight=False, markup=False)
    return bool(warnings)
