"""The options of commands, which their functions take as they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

BundleOption = Annotated[
    Path | None, typer.Option(help="Bundle folder. The default is the shipped bundle.")
]
DatasetOption = Annotated[
    list[str],
    typer.Option(
        help="NAME:ROOT or NAME,OPTION=VALUE:ROOT, with a name from `deepfake-eval datasets` or "
        "the path of a manifest (.toml). May be repeated."
    ),
]
ResultsOption = Annotated[
    Path, typer.Option(help="Folder for the results. An interrupted run resumes there.")
]
SplitOption = Annotated[str, typer.Option(help="train, val, test or all.")]
DrawsOption = Annotated[int, typer.Option(min=1, help="Resamples behind each interval.")]
FramesOption = Annotated[
    int,
    typer.Option(
        min=0,
        help="Evenly spread frames to examine in each video; 0 samples as the service does.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run selects, scores and measures media. Most papers examine 32 frames."""

    frames: FramesOption = 32
    workers: Annotated[
        int, typer.Option(min=1, help="Number of processes that score media in parallel.")
    ] = 1
    split: SplitOption = "test"
    draws: DrawsOption = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions(RunOptions):
    """How a sweep selects, degrades, scores and measures media."""

    frames: FramesOption = 16
    only: Annotated[
        str,
        typer.Option(
            help="Degradations to apply, separated by commas: jpeg, h264, resize, blur, noise. "
            "The default is all of them."
        ),
    ] = ""
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of media to draw, half of them real. The default is all media."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorOptions:
    """How the scores of a detector are measured. Without a threshold, no rates are reported."""

    name: Annotated[
        str, typer.Option(help="Name of the detector. The default is that of the function or file.")
    ] = ""
    threshold: Annotated[
        float | None, typer.Option(help="Score from which the detector says fake.")
    ] = None
    probabilities: Annotated[
        bool,
        typer.Option("--probabilities", help="The scores are calibrated probabilities."),
    ] = False
    prior: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=0.999,
            help="Share of manipulated media at which probabilities are calibrated.",
            show_default="0.5",
        ),
    ] = None
    draws: DrawsOption = 1000
    fitted: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with the column media, and optionally dataset: what the detector was "
            "fitted on. Without it, that is not known."
        ),
    ] = None
