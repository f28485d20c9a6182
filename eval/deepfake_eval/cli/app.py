"""Measure a model bundle on labelled media, and compare measurements."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from deepfake_eval.cli.messages import Lines, console, print_first, run_app
from deepfake_eval.options import (
    BundleOption,
    DatasetOption,
    DetectorOptions,
    DrawsOption,
    ResultsOption,
    RunOptions,
    SplitOption,
    SweepOptions,
)
from deepfake_models.bundle.bundle import default_bundle_dir
from deepfake_models.command_line import flatten_options

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
@flatten_options
def run(
    dataset: DatasetOption,
    out: ResultsOption,
    options: RunOptions,
    bundle: BundleOption = None,
) -> None:
    """Score media and write predictions, figures, tables, plots and report.html."""
    from deepfake_eval.evaluate.run import run as run_all
    from deepfake_eval.reporting.report import REPORT

    bundle = bundle or default_bundle_dir()
    print_first(run_all(bundle, dataset, out, options, progress=Lines(console)))
    typer.echo(out / REPORT)


@app.command()
@flatten_options
def detector(
    source: Annotated[
        str,
        typer.Argument(
            help="MODULE:FUNCTION, a Python function that scores the file at a path, or the name "
            "of one in an installed package; or a CSV file of scores with the columns media, label "
            "(real or fake) and score (higher for more suspect media); optional are frame, method, "
            "dataset, group and kind."
        ),
    ],
    out: ResultsOption,
    options: DetectorOptions,
    dataset: Annotated[
        list[str] | None, typer.Option(help="As in run: what a function scores. May be repeated.")
    ] = None,
    split: SplitOption = "test",
) -> None:
    """Measure any other detector, a Python function or a table of scores, as a bundle is."""
    from deepfake_eval.evaluate.detector import measure_table, run_detector
    from deepfake_eval.reporting.report import REPORT

    if options.prior is not None and not options.probabilities:
        raise typer.BadParameter("Add --probabilities: --prior needs calibrated ones.")
    if bool(dataset) == source.endswith(".csv"):
        raise typer.BadParameter(
            "A function needs a --dataset, and a table of scores (.csv) has none."
        )
    progress = Lines(console)
    print_first(
        run_detector(source, dataset, out, options, split=split, progress=progress)
        if dataset
        else measure_table(Path(source), out, options, progress=progress)
    )
    typer.echo(out / REPORT)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Results folder of one run.")],
    b: Annotated[Path, typer.Argument(help="Results folder of the other run.")],
    draws: DrawsOption = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
) -> None:
    """Compare two runs on the media that both scored, also by data set and method.

    Whole groups are resampled, and p-values are corrected for the number of comparisons.
    """
    from deepfake_eval.analysis.compare import compare as compare_runs
    from deepfake_eval.analysis.compare import part_lines, sentence
    from deepfake_eval.analysis.in_sample import in_sample_sentence

    result = compare_runs(a, b, draws=draws)
    if as_json:
        typer.echo(json.dumps(result, indent=2, ensure_ascii=False))
        return
    typer.echo(sentence(result))
    for line in part_lines(result):
        typer.echo(line)
    for name, counts in result["in_sample"].items():
        typer.echo(f"{name}: {in_sample_sentence(counts)}")


@app.command()
def table(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Results folders of runs, each FOLDER or NAME=FOLDER. Runs of one name are seeds, "
            "and become their mean and standard deviation."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for table.csv, table.md and table.tex.")],
    by_method: Annotated[
        bool, typer.Option("--by-method", help="Add a column for each method of a data set.")
    ] = False,
    protocol: Annotated[
        str,
        typer.Option(
            help="within, across, leave-one-out, df40-1, df40-2, df40-3 or df40-4: which data sets "
            "and means are shown. Name each run by what it was trained on (in leave-one-out, by "
            "the method that was left out); commas separate several."
        ),
    ] = "",
    draws: DrawsOption = 1000,
) -> None:
    """Write a table of detectors by data sets, pictures and videos apart, as CSV, Markdown and
    LaTeX."""
    from deepfake_eval.analysis.table import table_of_runs
    from deepfake_eval.reporting.run_table import TABLES, write_run_table

    made = table_of_runs(runs, protocol=protocol, by_method=by_method, draws=draws)
    write_run_table(out, made)
    if made.left_out:
        typer.echo(f"Left out: {', '.join(made.left_out)}.")
    for name in TABLES:
        typer.echo(out / name)


@app.command()
def reliability(
    predictions: Annotated[Path, typer.Option(help="predictions.parquet of a run.")],
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    bundle: BundleOption = None,
) -> None:
    """Measure error rates by face width and sharpness, and write them as JSON."""
    from deepfake_eval.analysis.reliability import write_reliability

    table = write_reliability(bundle or default_bundle_dir(), predictions, out)
    if table["left_out"]:
        typer.echo(f"{table['left_out']} media left out: the weights were fitted on them")
    bins = table["by_condition"]["bins"]
    typer.echo(f"{sum(b['decides'] for b in bins)} of {len(bins)} conditions have enough groups")
    typer.echo(out)


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
    from deepfake_eval.datasets import describe

    typer.echo(describe(name))


@app.command()
@flatten_options
def robustness(
    dataset: DatasetOption,
    out: ResultsOption,
    options: SweepOptions,
    bundle: BundleOption = None,
) -> None:
    """Score media unchanged and degraded, and write robustness.json, robustness.csv and plots."""
    from deepfake_eval.analysis.in_sample import in_sample_sentence
    from deepfake_eval.evaluate.robustness import TABLE
    from deepfake_eval.evaluate.robustness import robustness as sweep_all

    bundle = bundle or default_bundle_dir()
    result = sweep_all(bundle, dataset, out, options, progress=Lines(console))
    typer.echo(in_sample_sentence(result["in_sample"]))
    typer.echo(out / TABLE)


@app.command()
def bench(
    out: Annotated[Path, typer.Option(help="Folder for bench.json and bench.md.")],
    bundle: BundleOption = None,
    quick: Annotated[
        bool,
        typer.Option(help="Only show that everything runs: tiny media, figures without meaning."),
    ] = False,
    baseline_python: Annotated[
        Path | None,
        typer.Option(
            help="Interpreter for eval/baselines/naive_loop.py, with facenet-pytorch, timm, torch "
            "and opencv-python-headless. The default is this one."
        ),
    ] = None,
) -> None:
    """Measure speed against a naive loop in the same run; takes about a quarter of an hour."""
    from deepfake_eval.bench import bench as measure_all
    from deepfake_eval.bench import tables

    def report(doing: str) -> None:
        console.print(doing, style="dim", highlight=False, markup=False)

    results = measure_all(
        bundle or default_bundle_dir(),
        out,
        report,
        baseline_python=baseline_python or Path(sys.executable),
        quick=quick,
    )
    typer.echo(tables(results), nl=False)


def main() -> None:
    """Run the command line; a domain error becomes one line on stderr and exit code 1."""
    run_app(app)
