"""Commands that press a bundle: degraded media, attacks, and speed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from deepfake_eval.cli_options import (
    FRAMES_HELP,
    BundleOption,
    MediaOptions,
    console,
    warn_in_sample,
)
from deepfake_eval.progress import progress as progress_shown
from deepfake_models.bundle import default_bundle_dir
from deepfake_models.command_line import flatten_options

app = typer.Typer()


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
def robustness(
    media: MediaOptions,
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
        scheduler=media.scheduler,
        split=media.split,
        draws=media.draws,
        degradations=[name.strip() for name in sweep.only.split(",") if name.strip()],
        limit=sweep.limit,
        seed=sweep.seed,
    )
    with progress_shown(console) as progress:
        result = sweep_all(
            media.bundle or default_bundle_dir(),
            media.dataset,
            media.out,
            options,
            progress=progress,
        )
    warn_in_sample(result["settings"]["datasets"])
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
def attack(media: MediaOptions, attacker: _AttackOptions) -> None:
    """Change verdicts by small changes of pictures, found by queries alone, and write attack.json.

    Videos are attacked by their middle frame.
    """
    from deepfake_eval.stress.attack import (
        ATTACK,
        QueryAttackOptions,
        parse_answers,
        parse_bounds,
        run_attack,
    )

    if media.workers > 1 or media.scheduler:
        raise typer.BadParameter("attack runs in one process, without --workers and --scheduler")
    options = QueryAttackOptions(
        split=media.split,
        limit=attacker.limit,
        bounds=parse_bounds(attacker.bounds),
        answers=parse_answers(attacker.answers),
        queries=attacker.queries,
        seed=attacker.seed,
        draws=media.draws,
    )
    with progress_shown(console) as progress:
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
def bench(
    out: Annotated[Path, typer.Option(help="Folder for bench.json and bench.md.")],
    bundle: BundleOption = None,
    quick: Annotated[
        bool,
        typer.Option(help="Only show that everything runs: tiny media, figures without meaning."),
    ] = False,
    only: Annotated[
        str,
        typer.Option(
            help="Sections to measure, separated by commas: videos, pictures, start. The default "
            "is all of them."
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
    """Measure speed against a naive loop in the same run; takes about a quarter of an hour."""
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
        console.print(doing, style="dim", highlight=False, markup=False)

    results = measure_all(bundle or default_bundle_dir(), out, options, report)
    typer.echo(tables(results), nl=False)
