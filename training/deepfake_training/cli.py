"""``deepfake-train``: prepare crops, fit a backbone, export a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from deepfake_models.errors import DeepfakeError
from deepfake_training.config import load_config

if TYPE_CHECKING:
    from deepfake_training.data.splits import Split
    from deepfake_training.train.checkpoints import StepReport

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
_console = Console(stderr=True)

ConfigOption = Annotated[Path, typer.Option("--config", help="Training config, a TOML file.")]
ManifestOption = Annotated[
    Path, typer.Option("--manifest", help="CSV: media,label,method,dataset,group,fold.")
]
CropsOption = Annotated[Path, typer.Option("--crops", help="Folder of prepared crops.")]
RunOption = Annotated[Path, typer.Option("--checkpoints", help="Folder of checkpoints and logs.")]
OutOption = Annotated[Path, typer.Option("--out", help="Where to write.")]


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_console,
    )


@app.command()
def detector(out: OutOption) -> None:
    """Export facenet-pytorch's MTCNN as pnet.onnx, rnet.onnx and onet.onnx."""
    from deepfake_training.export.detector import export_detector

    for path in export_detector(out):
        typer.echo(path)


@app.command()
def prepare(
    config: ConfigOption,
    manifest: ManifestOption,
    out: CropsOption,
    graphs: Annotated[
        Path | None, typer.Option(help="Folder of the detector's graphs; else the shipped ones.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Cut the faces of a manifest into crops; goes on where it stopped."""
    from deepfake_training.data.prepare import prepare as run

    settings, _ = load_config(config)
    with _bar() as bar:
        task = bar.add_task("cutting faces", total=None)
        summary = run(
            manifest,
            out,
            settings,
            graphs=graphs,
            workers=workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    typer.echo(
        f"{summary.crops} crops of {summary.media} media; {summary.without_face} without a face, "
        f"{summary.failed} undecodable, {summary.duplicates} duplicates left out; "
        f"{summary.failed_frames} frames could not be decoded"
    )
    if summary.absent:
        typer.echo(f"{summary.absent} media are listed but not there: see {out / 'absent.txt'}")


@app.command()
def fit(
    config: ConfigOption,
    crops: CropsOption,
    run: RunOption,
    seed: Annotated[
        int | None, typer.Option(help="In place of the config's: another member of an ensemble.")
    ] = None,
) -> None:
    """Train on prepared crops; goes on from the checkpoint in --checkpoints where there is one."""
    from deepfake_training.train.loop import fit as run_fit

    settings, _ = load_config(config)
    if seed is not None:
        seeded = settings.fit.model_copy(update={"seed": seed})
        settings = settings.model_copy(update={"fit": seeded})
    with _bar() as bar:
        task = bar.add_task("fitting", total=settings.fit.steps)
        best = run_fit(crops, run, settings, progress=lambda r: _show(bar, task, r))
    mean = f", mean AUC {best['auc_mean']:.4f}" if "auc_mean" in best else ""
    typer.echo(f"kept: step {best.get('step', 0):.0f}{mean}")


def _show(bar: Progress, task: TaskID, report: StepReport) -> None:
    bar.update(task, completed=report.step, total=report.steps)
    doing = "computing features" if report.loss is None else f"loss {report.loss:.3f}"
    bar.update(task, description=doing)
    if report.validation:
        figures = ", ".join(f"{k} {v:.3f}" for k, v in sorted(report.validation.items()))
        bar.console.print(f"step {report.step}: {figures}", highlight=False)


def _split_bars(bar: Progress) -> Callable[[Split, StepReport], None]:
    """A bar a run, made when the run reports for the first time."""
    tasks: dict[int, TaskID] = {}

    def show(split: Split, report: StepReport) -> None:
        if id(split) not in tasks:
            tasks[id(split)] = bar.add_task("fitting", total=report.steps)
            bar.console.print(f"{split.name}", highlight=False)
        _show(bar, tasks[id(split)], report)

    return show


@app.command()
def crossvalidate(
    config: ConfigOption,
    crops: CropsOption,
    out: OutOption,
    short: Annotated[bool, typer.Option("--short", help="The short schedule.")] = False,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Leave out methods and sources, not folds alone.")
    ] = False,
) -> None:
    """Fit a run a fold, or a leave-out set, into --out; goes on where it stopped."""
    from deepfake_training.data.splits import fold_splits
    from deepfake_training.evaluate.crossvalidate import averaging_splits, run_splits, summarise

    settings, _ = load_config(config)
    splits = averaging_splits(settings) if leave_out else fold_splits(settings, short=short)
    with _bar() as bar:
        run_splits(crops, out, splits, progress=_split_bars(bar))
    typer.echo(summarise(out, settings))


@app.command()
def recipes(
    config: ConfigOption,
    crops: CropsOption,
    out: OutOption,
    recipe_file: Annotated[Path, typer.Option("--recipes", help="TOML file of recipes.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Leave-out set; may be given again. All, if none is.")
    ] = None,
) -> None:
    """Compare recipes on the short schedule, with methods left out; goes on where it stopped."""
    from deepfake_training.evaluate.ablation import compare, comparison_table, load_recipes

    settings, _ = load_config(config)
    with _bar() as bar:
        measured = compare(
            crops,
            out,
            settings,
            load_recipes(recipe_file),
            sets=only or (),
            progress=_split_bars(bar),
        )
    typer.echo(comparison_table(measured, settings))


@app.command()
def export(
    config: ConfigOption,
    manifest: ManifestOption,
    crops: CropsOption,
    runs: Annotated[
        list[Path],
        typer.Option("--checkpoints", help="Folder of a run; of several, logits are averaged."),
    ],
    out: OutOption,
    cross_validation: Annotated[
        Path | None,
        typer.Option(help="Folder of the fold runs that calibration and figures come from."),
    ] = None,
) -> None:
    """Export, calibrate and measure the checkpoints of --checkpoints as the bundle --out."""
    from deepfake_training.export.bundle import export as run_export

    settings, digest = load_config(config)
    with _bar() as bar:
        task = bar.add_task("scoring held-out media", total=None)
        bundle = run_export(
            manifest,
            crops,
            runs,
            out,
            settings,
            digest,
            cross_validation=cross_validation,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    typer.echo(f"{bundle.spec.name} {bundle.spec.version} {bundle.sha256}")


@app.command()
def quantise(
    bundle: Annotated[Path, typer.Option(help="Folder of the bundle to quantise.")],
    crops: CropsOption,
    out: OutOption,
    cross_validation: Annotated[
        Path | None, typer.Option(help="Folder of the fold runs to measure the loss on.")
    ] = None,
) -> None:
    """Write a bundle with an int8 classifier, unless its ranks differ from the original's."""
    from deepfake_training.export.static_quantization import quantise as run_quantise

    made = run_quantise(
        bundle,
        crops,
        out,
        cross_validation=cross_validation,
        progress=lambda what: _console.print(what, highlight=False),
    )
    figures = made.spec.training["quantised"]
    for name in ("auc_all", "auc_mean"):
        typer.echo(f"{name}: {figures[name]['fp32']:.4f} fp32, {figures[name]['int8']:.4f} int8")
    typer.echo(f"a batch takes 1/{figures['speed_ratio']:.2f} of the floating-point time")
    typer.echo(f"{made.spec.name} {made.spec.version} {made.sha256}")


@app.command(name="run")
def run_all(
    config: ConfigOption,
    manifest: ManifestOption,
    out: OutOption,
    work: Annotated[Path, typer.Option(help="Folder for crops and checkpoints.")] = Path("runs"),
    workers: Annotated[int, typer.Option(min=1, help="Processes that cut faces.")] = 2,
) -> None:
    """Prepare, cross-validate, fit and export in one go.

    With validation_folds in the config there is no cross-validation: those folds are measured.
    """
    graphs, crops = work / "detector", work / "crops"
    detector(graphs)
    prepare(config, manifest, crops, graphs, workers)
    crossed = None
    if not load_config(config)[0].validation_folds:
        crossed = work / "cross-validation"
        crossvalidate(config, crops, crossed)
        if load_config(config)[0].cross_validation.leave_out:
            crossvalidate(config, crops, crossed, leave_out=True)
    fit(config, crops, work / "fit")
    export(config, manifest, crops, [work / "fit"], out, crossed)


def main() -> None:
    """Entry point: a domain error becomes one line and exit code 1."""
    try:
        app()
    except DeepfakeError as error:
        _console.print(f"error: {error.message}", style="red", highlight=False)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
