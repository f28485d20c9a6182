"""``deepfake-eval``: measure a bundle on labelled media, compare runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deepfake_models.bundle import default_bundle_dir
from deepfake_models.errors import DeepfakeError

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
_console = Console(stderr=True)

BundleOption = Annotated[
    Path | None, typer.Option(help="Folder of the bundle; by default the shipped one.")
]
SplitOption = Annotated[str, typer.Option(help="train, val, test or all.")]
FramesOption = Annotated[
    int, typer.Option(min=0, help="Frames of a video, evenly spread; 0: as the bundle samples.")
]
WorkersOption = Annotated[int, typer.Option(min=1, help="Processes that share the media.")]
DrawsOption = Annotated[int, typer.Option(min=1, help="Resamples behind an interval.")]


@app.command()
def run(
    dataset: Annotated[
        list[str],
        typer.Option(
            help="NAME:ROOT or NAME,OPTION=VALUE:ROOT, as listed by `deepfake-eval datasets`; "
            "may be given several times."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; an earlier run goes on.")],
    bundle: BundleOption = None,
    split: SplitOption = "test",
    frames: FramesOption = 32,
    workers: WorkersOption = 1,
    draws: DrawsOption = 1000,
) -> None:
    """Score media and write predictions.parquet, metrics.json, plots and report.html."""
    from deepfake_eval.evaluate import REPORT
    from deepfake_eval.evaluate import run as run_all

    with _bars() as show:
        metrics = run_all(
            bundle or default_bundle_dir(),
            dataset,
            out,
            split=split,
            frames=frames or None,
            workers=workers,
            draws=draws,
            progress=show,
        )
    for entry in metrics["settings"]["datasets"]:
        if entry["missing"]:
            _console.print(
                f"{entry['adapter']}: {entry['missing']} listed media are absent", highlight=False
            )
    for level in ("item", "frame"):
        typer.echo(f"{level} AUC {_figure(metrics['levels'][level][0])}")
    typer.echo(out / REPORT)


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each thing that is being done, as ``run.Progress`` names them."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_console,
    ) as bar:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        yield show


def _figure(entry: dict[str, Any]) -> str:
    auc = entry["auc"]
    if auc["value"] is None:
        return "none: a class is missing"
    interval = "no interval" if auc["low"] is None else f"{auc['low']:.3f} to {auc['high']:.3f}"
    return f"{auc['value']:.3f} ({interval}), {entry['groups']} groups"


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a run.")],
    b: Annotated[Path, typer.Argument(help="Folder of another.")],
    draws: DrawsOption = 1000,
) -> None:
    """Compare two runs on the media that both scored: bootstrap by group, and DeLong's test."""
    from deepfake_eval.analysis.compare import compare as compare_runs

    typer.echo(json.dumps(compare_runs(a, b, draws=draws), indent=2, ensure_ascii=False))


@app.command()
def robustness(
    dataset: Annotated[
        list[str],
        typer.Option(help="NAME:ROOT or NAME,OPTION=VALUE:ROOT; may be given several times."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; an earlier sweep goes on.")],
    bundle: BundleOption = None,
    split: SplitOption = "test",
    frames: FramesOption = 16,
    only: Annotated[
        str,
        typer.Option(
            help="Degradations, comma-separated: jpeg, h264, resize, blur, noise, smoothing, "
            "screen. By default all."
        ),
    ] = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Media to draw, half of them real; by default all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw, and of noise.")] = 0,
    workers: WorkersOption = 1,
    draws: DrawsOption = 1000,
) -> None:
    """Score media as they are and degraded; write robustness.json, plots and report.html."""
    from deepfake_eval.evaluate import REPORT
    from deepfake_eval.robustness import robustness as sweep

    with _bars() as show:
        result = sweep(
            bundle or default_bundle_dir(),
            dataset,
            out,
            split=split,
            frames=frames or None,
            only=[name.strip() for name in only.split(",") if name.strip()],
            limit=limit,
            seed=seed,
            workers=workers,
            draws=draws,
            progress=show,
        )
    table = Table("", "level", "AUC", "FPR", "TPR", "scored")
    table.add_row("as it is", "", *_rates(result["baseline"]))
    for curve in result["degradations"]:
        for entry in curve["levels"]:
            if entry["level"] != curve["identity"]:
                table.add_row(curve["name"], f"{entry['level']:g}", *_rates(entry))
    Console().print(table)
    typer.echo(out / REPORT)


def _rates(entry: dict[str, Any]) -> list[str]:
    keys = ("auc", "false_positive_rate", "true_positive_rate", "scored_rate")
    values = [entry[key]["value"] for key in keys]
    return ["–" if value is None else f"{value:.3f}" for value in values]


@app.command()
def reliability(
    predictions: Annotated[
        list[Path],
        typer.Option(help="predictions.parquet of a run; may be given several times."),
    ],
    out: Annotated[Path, typer.Option(help="File to write.")],
    bundle: BundleOption = None,
    bundle_out: Annotated[
        Path | None, typer.Option(help="Write a bundle that states these rates and goes by them.")
    ] = None,
) -> None:
    """Measure TPR and FPR by face width, sharpness and blockiness, and write them as JSON."""
    from deepfake_eval.analysis.reliability import write_reliability

    table = write_reliability(
        bundle or default_bundle_dir(), predictions, out, bundle_out=bundle_out
    )
    bins = table["by_condition"]["bins"]
    typer.echo(f"{sum(b['decides'] for b in bins)} of {len(bins)} conditions rest on enough groups")
    typer.echo(out)


@app.command()
def datasets() -> None:
    """List the data sets that can be read, and the layout each expects."""
    from deepfake_eval.datasets import DATASETS

    table = Table(show_lines=True)
    for column in ("name", "layout below ROOT", "options", "group"):
        table.add_column(column, overflow="fold")
    for name, adapter in DATASETS.items():
        fields = dataclasses.fields(adapter)  # type: ignore[arg-type]
        options = "\n".join(f"{f.name}={f.default}" for f in fields)
        # Layouts hold brackets, which rich would take for markup.
        table.add_row(*(_plain(t) for t in (name, adapter.layout, options, adapter.grouping)))
    Console().print(table)


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)


def main() -> None:
    """Entry point: a domain error becomes one line and exit code 1."""
    try:
        app()
    except DeepfakeError as error:
        _console.print(f"error: {error.message}", style="red", highlight=False, markup=False)
        raise SystemExit(1) from error
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _console.print(f"error: {what}", style="red", highlight=False, markup=False)
        raise SystemExit(1) from error
