"""Measure a model bundle on labelled media, and compare measurements."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from deepfake_eval.progress import progress as progress_shown
from deepfake_models.bundle import default_bundle_dir
from deepfake_models.command_line import flatten_options
from deepfake_models.errors import DeepfakeError

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
_console = Console(stderr=True)

BundleOption = Annotated[
    Path | None, typer.Option(help="Bundle folder. The default is the shipped bundle.")
]
DrawsOption = Annotated[int, typer.Option(min=1, help="Resamples behind each interval.")]
FRAMES_HELP = "Evenly spread frames to examine in each video; 0 samples as the service does."


@dataclass(frozen=True)
class _MediaOptions:
    """Options of the commands that score media."""

    dataset: Annotated[
        list[str],
        typer.Option(
            help="NAME:ROOT or NAME,OPTION=VALUE:ROOT, with a name from `deepfake-eval datasets`. "
            "May be repeated."
        ),
    ]
    out: Annotated[
        Path, typer.Option(help="Folder for the results. An interrupted run resumes there.")
    ]
    bundle: BundleOption = None
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "test"
    workers: Annotated[
        int, typer.Option(min=1, help="Number of processes that score media in parallel.")
    ] = 1
    draws: DrawsOption = 1000


@dataclass(frozen=True)
class _SweepOptions:
    """Options of the command ``robustness`` alone."""

    only: Annotated[
        str,
        typer.Option(
            help="Degradations to apply, separated by commas: jpeg, h264, resize, blur, noise, "
            "smoothing, screen. The default is all of them."
        ),
    ] = ""
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of media to draw, half of them real. The default is all media."
        ),
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw and of added noise.")] = 0


@app.command()
@flatten_options
def run(
    media: _MediaOptions,
    frames: Annotated[int, typer.Option(min=0, help=FRAMES_HELP)] = 32,
    detector: Annotated[
        str,
        typer.Option(
            help="MODULE:FUNCTION, a Python function that scores the file at a path, instead of a "
            "bundle; see docs/evaluation.md."
        ),
    ] = "",
) -> None:
    """Score media and write predictions, figures, tables, plots and report.html."""
    from deepfake_eval.evaluate import RunOptions
    from deepfake_eval.evaluate import run as run_all
    from deepfake_eval.reporting.results import REPORT

    if detector:
        _run_detector(detector, media)
        return
    options = RunOptions(
        frames=frames or None, workers=media.workers, split=media.split, draws=media.draws
    )
    with progress_shown(_console) as progress:
        metrics = run_all(
            media.bundle or default_bundle_dir(),
            media.dataset,
            media.out,
            options,
            progress=progress,
        )
    for entry in metrics["settings"]["datasets"]:
        if entry["missing"]:
            _console.print(
                f"{entry['adapter']}: {entry['missing']} listed media are absent", highlight=False
            )
    in_sample = _warn_in_sample(metrics["settings"]["datasets"])
    _print_aucs(metrics, ", in-sample" if in_sample else "")
    typer.echo(media.out / REPORT)


def _run_detector(detector: str, media: _MediaOptions) -> None:
    from deepfake_eval.foreign import run_detector
    from deepfake_eval.inference.score_table import ScoreTableOptions
    from deepfake_eval.reporting.results import REPORT

    if media.bundle or media.workers > 1:
        raise typer.BadParameter("--detector runs without --bundle, and in one process")
    with progress_shown(_console) as progress:
        metrics = run_detector(
            detector,
            media.dataset,
            media.out,
            ScoreTableOptions(name=detector, draws=media.draws),
            split=media.split,
            progress=progress,
        )
    _print_aucs(metrics)
    typer.echo(media.out / REPORT)


@app.command(name="score-table")
def score_table(
    scores: Annotated[
        Path,
        typer.Argument(
            help="CSV file with the columns media, label (real or fake) and score (higher for "
            "more suspect media); optional are frame, method, dataset, group and kind."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    name: Annotated[
        str, typer.Option(help="Name of the detector. The default is the file's name.")
    ] = "",
    threshold: Annotated[
        float | None, typer.Option(help="Score from which the detector says fake.")
    ] = None,
    probabilities: Annotated[
        bool,
        typer.Option("--probabilities", help="The scores are calibrated probabilities."),
    ] = False,
    draws: DrawsOption = 1000,
) -> None:
    """Measure the scores of any detector, with intervals from resampling whole groups."""
    from deepfake_eval.foreign import measure_table
    from deepfake_eval.inference.score_table import ScoreTableOptions
    from deepfake_eval.reporting.results import REPORT

    options = ScoreTableOptions(
        name=name, threshold=threshold, probabilities=probabilities, draws=draws
    )
    with progress_shown(_console) as progress:
        metrics = measure_table(scores, out, options, progress=progress)
    _print_aucs(metrics)
    typer.echo(out / REPORT)


def _print_aucs(metrics: dict[str, Any], remark: str = "") -> None:
    """Print the AUC of each level, and ask if the scores point the wrong way."""
    for level in ("item", "frame"):
        if entries := metrics["levels"][level]:
            typer.echo(f"{level} AUC {_auc_text(entries[0])}{remark}")
            if entries[0]["auc"]["value"] is not None and entries[0]["auc"]["value"] < 0.4:
                _console.print(
                    f"The {level} AUC is below chance. A higher score must mean a more suspect "
                    "medium.",
                    highlight=False,
                )


def _warn_in_sample(datasets: list[dict[str, Any]]) -> bool:
    """Print a warning for each measured training source of the bundle; return True if any."""
    from deepfake_eval.analysis.training_sources import in_sample_warnings

    warnings = in_sample_warnings(datasets)
    for warning in warnings:
        _console.print(f"warning: {warning}", style="yellow", highlight=False, markup=False)
    return bool(warnings)


def _auc_text(entry: dict[str, Any]) -> str:
    auc = entry["auc"]
    if auc["value"] is None:
        return "cannot be computed: only one class was scored"
    interval = "no interval" if auc["low"] is None else f"{auc['low']:.3f} to {auc['high']:.3f}"
    return f"{auc['value']:.3f} ({interval}), {entry['groups']} groups"


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Results folder of one run.")],
    b: Annotated[Path, typer.Argument(help="Results folder of the other run.")],
    draws: DrawsOption = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
) -> None:
    """Compare two runs on the media that both scored: clustered bootstrap and DeLong's test."""
    from deepfake_eval.analysis.compare import KEYS, sentence
    from deepfake_eval.analysis.compare import compare as compare_runs

    result = compare_runs(a, b, draws=draws)
    if as_json:
        typer.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    for level in KEYS:
        if level in result:
            typer.echo(sentence(result, level))
    if test := result["item"]["delong"]:
        typer.echo(f"DeLong's test of items: p = {test['p_value']:.3g}, if items are independent.")


@app.command()
@flatten_options
def robustness(
    media: _MediaOptions,
    sweep: _SweepOptions,
    frames: Annotated[int, typer.Option(min=0, help=FRAMES_HELP)] = 16,
) -> None:
    """Score media unchanged and degraded, and write robustness.json, plots and report.html."""
    from deepfake_eval.reporting.results import REPORT
    from deepfake_eval.robustness import SweepOptions
    from deepfake_eval.robustness import robustness as sweep_all

    options = SweepOptions(
        frames=frames or None,
        workers=media.workers,
        split=media.split,
        draws=media.draws,
        degradations=[name.strip() for name in sweep.only.split(",") if name.strip()],
        limit=sweep.limit,
        seed=sweep.seed,
    )
    with progress_shown(_console) as progress:
        result = sweep_all(
            media.bundle or default_bundle_dir(),
            media.dataset,
            media.out,
            options,
            progress=progress,
        )
    _warn_in_sample(result["settings"]["datasets"])
    table = Table("", "level", "AUC", "FPR", "TPR", "scored")
    table.add_row("unchanged", "", *_rates(result["baseline"]))
    for curve in result["degradations"]:
        for entry in curve["levels"]:
            if entry["level"] != curve["identity"]:
                table.add_row(curve["name"], f"{entry['level']:g}", *_rates(entry))
    Console().print(table)
    typer.echo(media.out / REPORT)


def _rates(entry: dict[str, Any]) -> list[str]:
    keys = ("auc", "false_positive_rate", "true_positive_rate", "scored_rate")
    values = [entry[key]["value"] for key in keys]
    return ["–" if value is None else f"{value:.3f}" for value in values]


@dataclass(frozen=True)
class _AttackOptions:
    """Options of the command ``attack`` alone."""

    limit: Annotated[int, typer.Option(min=1, help="Number of pictures of each class.")] = 20
    bounds: Annotated[
        str,
        typer.Option(help="Largest changes of a channel, of 255, separated by commas."),
    ] = "5,8"
    answers: Annotated[
        str,
        typer.Option(
            help="What the attacker is told, separated by commas: full (the value), rounded (the "
            "value in whole steps), verdicts (no value)."
        ),
    ] = "full"
    queries: Annotated[
        int, typer.Option(min=1, help="Number of queries after which a picture is given up.")
    ] = 300
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw and of the changes.")] = 0


@app.command()
@flatten_options
def attack(media: _MediaOptions, attacker: _AttackOptions) -> None:
    """Change verdicts by small changes of pictures, found by queries alone, and write attack.json.

    Videos are attacked by their middle frame.
    """
    from deepfake_eval.attack import (
        ATTACK,
        AttackOptions,
        parse_answers,
        parse_bounds,
        run_attack,
    )

    options = AttackOptions(
        split=media.split,
        limit=attacker.limit,
        bounds=parse_bounds(attacker.bounds),
        answers=parse_answers(attacker.answers),
        queries=attacker.queries,
        seed=attacker.seed,
        draws=media.draws,
    )
    with progress_shown(_console) as progress:
        result = run_attack(
            media.bundle or default_bundle_dir(),
            media.dataset,
            media.out,
            options,
            progress=progress,
        )
    Console().print(_attack_table(result["results"]))
    typer.echo(media.out / ATTACK)


def _attack_table(results: list[dict[str, Any]]) -> Table:
    budgets = [entry["queries"] for entry in results[0]["changed"]]
    table = Table("pictures", "bound", "answers", "number", *(f"{b} queries" for b in budgets))
    for entry in results:
        shares = [f"{c['value']:.0%} [{c['low']:.0%}, {c['high']:.0%}]" for c in entry["changed"]]
        label = "manipulated" if entry["label"] == "fake" else "untouched"
        bound = f"{entry['bound']}/255"
        table.add_row(label, bound, entry["answers"], str(entry["pictures"]), *shares)
    return table


@app.command()
def reliability(
    predictions: Annotated[
        list[Path], typer.Option(help="predictions.parquet of a run. May be repeated.")
    ],
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    bundle: BundleOption = None,
    bundle_out: Annotated[
        Path | None,
        typer.Option(help="New folder for a copy of the bundle that decides by these rates."),
    ] = None,
) -> None:
    """Measure error rates by face width, sharpness and blockiness, and write them as JSON."""
    from deepfake_eval.analysis.reliability import write_reliability

    table = write_reliability(
        bundle or default_bundle_dir(), predictions, out, bundle_out=bundle_out
    )
    bins = table["by_condition"]["bins"]
    typer.echo(f"{sum(b['decides'] for b in bins)} of {len(bins)} conditions have enough groups")
    typer.echo(out)


@app.command()
def bench(
    out: Annotated[Path, typer.Option(help="Folder for bench.json, bench.md and bench.svg.")],
    bundle: BundleOption = None,
    quick: Annotated[
        bool,
        typer.Option(help="Only show that everything runs: tiny media, figures without meaning."),
    ] = False,
    only: Annotated[
        str,
        typer.Option(
            help="Sections to measure, separated by commas: videos, pictures, jobs, memory, start. "
            "The default is all of them."
        ),
    ] = "",
    baseline_python: Annotated[
        Path | None,
        typer.Option(
            help="Interpreter for eval/baselines/naive_loop.py, with facenet-pytorch, timm, torch "
            "and opencv-python-headless. The default is this one."
        ),
    ] = None,
) -> None:
    """Measure speed and memory against yardsticks in the same run; takes about ten minutes."""
    from deepfake_eval.bench.report import tables
    from deepfake_eval.bench.run import SECTIONS, BenchOptions
    from deepfake_eval.bench.run import bench as measure_all

    sections = tuple(name.strip() for name in only.split(",") if name.strip())
    options = BenchOptions(
        quick=quick,
        sections=sections or SECTIONS,
        baseline_python=baseline_python or Path(sys.executable),
    )

    def report(doing: str) -> None:
        _console.print(doing, style="dim", highlight=False, markup=False)

    results = measure_all(bundle or default_bundle_dir(), out, options, report)
    typer.echo(tables(results), nl=False)


@app.command()
def datasets(
    name: Annotated[
        str,
        typer.Argument(
            help="A name, or NAME:ROOT or NAME,OPTION=VALUE:ROOT to count what is there. The "
            "default lists all data sets."
        ),
    ] = "",
) -> None:
    """Show the layouts, options and groups of data sets, and what of one is found."""
    from deepfake_eval.datasets import overview

    typer.echo(overview.of_all() if not name else overview.of_one(name))


def main() -> None:
    """Run the command line; a domain error becomes one line on stderr and exit code 1."""
    try:
        app()
    except DeepfakeError as error:
        _fail(error.message, error)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), error)


def _fail(message: str, cause: Exception) -> None:
    _console.print(f"error: {message}", style="red", highlight=False, markup=False)
    raise SystemExit(1) from cause
