"""``deepfake-train``: prepare crops, fit a backbone, export a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deepfake_models.errors import DeepfakeError
from deepfake_training.config import load_config

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
    from deepfake_training.detector_export import export_detector

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
    from deepfake_training.prepare import prepare as run

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


@app.command()
def fit(config: ConfigOption, crops: CropsOption, run: RunOption) -> None:
    """Train on prepared crops; goes on from the checkpoint in --checkpoints where there is one."""
    from deepfake_training.fit import StepReport
    from deepfake_training.fit import fit as run_fit

    settings, _ = load_config(config)
    with _bar() as bar:
        task = bar.add_task("fitting", total=settings.fit.steps)

        def show(report: StepReport) -> None:
            bar.update(task, completed=report.step, description=f"loss {report.loss:.3f}")
            if report.validation:
                figures = ", ".join(f"{k} {v:.3f}" for k, v in sorted(report.validation.items()))
                bar.console.print(f"step {report.step}: {figures}", highlight=False)

        best = run_fit(crops, run, settings, progress=show)
    typer.echo(f"best: step {best.get('step', 0):.0f}, mean AUC {best['auc_mean']:.4f}")


@app.command()
def export(
    config: ConfigOption,
    manifest: ManifestOption,
    crops: CropsOption,
    run: RunOption,
    out: OutOption,
) -> None:
    """Export, calibrate and measure the best checkpoint of --checkpoints as the bundle --out."""
    from deepfake_training.export import export as run_export

    settings, digest = load_config(config)
    with _bar() as bar:
        task = bar.add_task("scoring held-out media", total=None)
        bundle = run_export(
            manifest,
            crops,
            run,
            out,
            settings,
            digest,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    typer.echo(f"{bundle.name} {bundle.version} {bundle.sha256}")


@app.command(name="run")
def run_all(
    config: ConfigOption,
    manifest: ManifestOption,
    out: OutOption,
    work: Annotated[Path, typer.Option(help="Folder for crops and checkpoints.")] = Path("runs"),
    workers: Annotated[int, typer.Option(min=1, help="Processes that cut faces.")] = 2,
) -> None:
    """Prepare, fit and export in one go."""
    graphs = work / "detector"
    detector(graphs)
    prepare(config, manifest, work / "crops", graphs, workers)
    fit(config, work / "crops", work / "fit")
    export(config, manifest, work / "crops", work / "fit", out)


def main() -> None:
    """Entry point: a domain error becomes one line and exit code 1."""
    try:
        app()
    except DeepfakeError as error:
        _console.print(f"error: {error.message}", style="red", highlight=False)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
