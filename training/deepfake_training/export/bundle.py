"""Turn a checkpoint into a bundle: ONNX, parity check, calibration, reliability, model card."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from deepfake_eval.analysis.plots import write_plots
from deepfake_eval.analysis.reliability import (
    condition_table,
    conditions,
    item_table,
    reliability_table,
)
from deepfake_eval.analysis.summary import summarise
from deepfake_eval.datasets import Row, Rows
from deepfake_eval.evaluate import METRICS, PLOTS, PREDICTIONS, REPORT, LoadedDataset
from deepfake_eval.inference.predictions import (
    LABELS,
    assemble,
    face_records,
    item_record,
    tables,
    verdicts,
)
from deepfake_eval.reporting.report import write_report
from deepfake_models.bundle import Bundle, load_bundle, seal
from deepfake_models.decision.calibration import log_likelihood_ratio
from deepfake_models.decision.decide import judge_again
from deepfake_models.files import atomic_write_text
from deepfake_models.results import Verdict
from deepfake_models.scorer import Scorer
from deepfake_models.spec import (
    Calibration,
    ConditionsSpec,
    LevelCalibrations,
    LevelThresholds,
    Thresholds,
)
from deepfake_training.config import Config
from deepfake_training.data.datasets import CropStore
from deepfake_training.data.prepare import read_manifest
from deepfake_training.data.splits import held_out, measured_on, trained_on
from deepfake_training.errors import TrainingError
from deepfake_training.evaluate.calibrate import Fitted, fit_levels
from deepfake_training.evaluate.crossvalidate import fold_weights, recipe_of, shipped_weights
from deepfake_training.export.detector import export_detector
from deepfake_training.export.model_card import model_card
from deepfake_training.export.onnx_export import CLASSIFIER, parity, write_classifier
from deepfake_training.networks.backbone import MapMethod
from deepfake_training.train.checkpoints import BEST, config_of, read_checkpoint
from deepfake_training.train.checkpoints import METRICS as CHECKPOINT_METRICS

PARITY_CROPS = 64
HELD_OUT_REPORT = "held_out"
"""Folder beside the checkpoint with the evaluation that the card's figures come from."""

_Measured = tuple[Config, Sequence[dict[str, Any]]]
_Judged = tuple[dict[str, Any], Verdict]


def export(
    manifest: Path,
    crops: Path,
    runs: Sequence[Path],
    out: Path,
    config: Config,
    config_sha256: str,
    *,
    cross_validation: Path | None = None,
    frames: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> Bundle:
    """Export the checkpoints kept in ``runs`` as the bundle directory ``out``.

    Of several runs the logits are averaged; all must hold out what ``config`` holds out. The
    report on held-out media goes into the first.

    1. The backbone and the face detector become ONNX; logits are compared with torch's.
    2. Held-out media are scored through the serving path, under a neutral calibration: every fold
       by the run in ``cross_validation`` that did not see it; without that folder, the run's own
       held-out folds.
    3. Calibrations and thresholds are fitted, the error rates measured, the model card written.
    4. The bundle is sealed beside ``out`` and moved into its place.

    Raises:
        TrainingError: when neither gives held-out media, a file is not ours, the runs do not go
            together, or parity is missed.
    """
    store = CropStore(crops)
    members = [read_checkpoint(run / BEST)["ema"] for run in runs]
    configs = [config_of(run) for run in runs]
    for run, ran in zip(runs, configs, strict=True):
        _check_run(run, ran, config)
    measured: Iterable[_Measured] = ((config, members),)
    averaged_with: list[str] = []
    if cross_validation:
        if len(runs) > 1:
            raise TrainingError(
                "several runs are measured on the folds that all of them hold out, not by "
                "cross-validation"
            )
        if recipe_of(configs[0]) != recipe_of(config):
            raise TrainingError(f"{runs[0]}: a run of another recipe than the folds' runs")
        measured = ((c, [w]) for c, w in fold_weights(cross_validation, config))
        shipped, averaged_with = shipped_weights(cross_validation, config, members[0])
        members = [shipped]
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".bundle-") as scratch:
        directory = Path(scratch) / "bundle"
        worst, method = _export_graphs(directory, members, config, store)
        training = _provenance(config, config_sha256, store, runs[0], worst)
        training["averaged_with"] = averaged_with
        training["members"] = _members(runs, configs) if len(runs) > 1 else []
        training["map_method"] = str(method)
        neutral = _seal_neutral(directory, config, training)
        judged = _score_held_out(directory, measured, manifest, frames, progress)
        faces, _ = tables(judged, neutral.spec)
        fitted = fit_levels(
            faces,
            neutral.spec,
            max_fpr=config.bundle.max_false_positive_rate,
            max_miss=config.bundle.max_miss_rate,
        )
        table, measured_in = _reliability(fitted, faces)
        _write_json(directory / "reliability.json", table)
        fields = _fields(config, fitted.calibration, fitted.thresholds, training)
        fields["conditions"] = measured_in.model_dump()
        bundle = seal(directory, fields)
        measures, items = _measure(judged, bundle, runs[0] / HELD_OUT_REPORT, frames)
        table["level_item"] = item_table(items, bundle.spec.conditions.min_groups)
        _write_json(directory / "reliability.json", table)
        card = model_card(config, fields, table, measures, cross_validation=cross_validation)
        (directory / "MODEL_CARD.md").write_text(card, encoding="utf-8")
        seal(directory, fields)
        if out.exists():
            shutil.rmtree(out)
        directory.replace(out)
    return load_bundle(out)


def _check_run(run: Path, ran: Config, config: Config) -> None:
    """See that a run goes into a bundle of ``config``.

    Raises:
        TrainingError: it was made of other crops or networks, or has seen what is held out.
    """
    for name, theirs, ours in (
        ("validation_folds", ran.validation_folds, config.validation_folds),
        ("left_out_methods", ran.left_out_methods, config.left_out_methods),
        ("left_out_datasets", ran.left_out_datasets, config.left_out_datasets),
        ("prepare", ran.prepare, config.prepare),
        ("backbone.name", ran.backbone.name, config.backbone.name),
        ("bundle.crop", ran.bundle.crop, config.bundle.crop),
        ("bundle.input", ran.bundle.input, config.bundle.input),
    ):
        if theirs != ours:
            raise TrainingError(f"{run}: its {name} is not that of the config")


def _members(runs: Sequence[Path], configs: Sequence[Config]) -> list[dict[str, Any]]:
    """How each of several runs was made, and by what it was kept."""
    return [
        {
            **ran.model_dump(mode="json", include={"augmentation", "mix", "backbone", "fit"}),
            "metrics": _kept_by(run),
        }
        for run, ran in zip(runs, configs, strict=True)
    ]


def _kept_by(run: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((run / CHECKPOINT_METRICS).read_text(encoding="utf-8"))
    return figures


def _export_graphs(
    directory: Path, members: Sequence[dict[str, Any]], config: Config, store: CropStore
) -> tuple[float, MapMethod]:
    """Write all graphs of a bundle into ``directory``; return the largest difference of logits, and
    what the map holds."""
    directory.mkdir()
    graph = write_classifier(directory, members, config)
    export_detector(directory)
    rows = np.linspace(0, len(store.index) - 1, min(PARITY_CROPS, len(store.index))).astype(int)
    samples = np.stack([store.centred(int(r), config) for r in np.unique(rows)])
    return parity(graph, directory / CLASSIFIER, samples), graph.map_method


def _score_held_out(
    directory: Path,
    measured: Iterable[_Measured],
    manifest: Path,
    frames: int,
    progress: Callable[[int, int], None] | None,
) -> list[_Judged]:
    """Score each run's held-out media with its own weights in the otherwise sealed ``directory``.

    ``directory`` is as before afterwards.
    """
    rows = read_manifest(manifest)
    parts = [(c, w, measured_on(rows, c)) for c, w in measured]
    total = sum(len(part) for _, _, part in parts)
    if not total:
        raise TrainingError(
            "nothing is held out: give --cross-validation, or name validation_folds in the config"
        )
    judged: list[_Judged] = []
    for config, members, part in parts:
        with tempfile.TemporaryDirectory(dir=directory.parent) as copy:
            shutil.copytree(directory, copy, dirs_exist_ok=True)
            write_classifier(Path(copy), members, config)
            seal(Path(copy), load_bundle(directory).spec.model_dump(exclude={"files"}))
            done = len(judged)

            def report(now: int, _: int, done: int = done) -> None:
                if progress:
                    progress(done + now, total)

            judged += verdicts(
                Scorer.open(Path(copy), device="cpu"),
                manifest.parent,
                cast("list[dict[str, Any]]", part.to_dict("records")),
                frames=frames,
                progress=report,
            )
    return judged


def _measure(
    judged: Sequence[_Judged], bundle: Bundle, out: Path, frames: int
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Judge the held-out media anew under the fitted calibration, and report as an evaluation; its
    figures, and a row an item.

    Writes ``predictions.parquet``, ``metrics.json`` and ``report.html`` into ``out``.
    """
    out.mkdir(parents=True, exist_ok=True)
    labelled = []
    for row, verdict in judged:
        again = judge_again(verdict, bundle.spec)
        record = {
            "faces": face_records(again, bundle.spec),
            "item": item_record(again, bundle.spec),
        }
        labels = {c: row[c] for c in LABELS}
        labelled.append((Row(**labels, split="held out"), record))
    predictions = assemble(labelled, bundle.spec.prior)
    predictions.to_parquet(out / PREDICTIONS)
    rows = tuple(r for r, _ in labelled)
    source = LoadedDataset("manifest", {}, Rows(Path(), rows))
    settings = {"frames": frames, "split": "held out", "draws": 1000, "datasets": [source.facts()]}
    metrics = summarise(predictions, bundle, settings=settings)
    atomic_write_text(out / METRICS, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
    write_report(out / REPORT, metrics, write_plots(predictions, metrics, out / PLOTS))
    return metrics, predictions[predictions["level"] == "item"]


def _reliability(fitted: Fitted, every: pd.DataFrame) -> tuple[dict[str, Any], ConditionsSpec]:
    """The content of ``reliability.json``, and where the bundle may decide. ``every`` are all
    held-out faces, those that were not judged included."""
    calibration, thresholds = fitted.calibration, fitted.thresholds

    def valued(frame: pd.DataFrame, column: str, level: Calibration) -> pd.DataFrame:
        ratios = [log_likelihood_ratio(float(v), level) for v in frame[column]]
        return frame.assign(log_likelihood_ratio=ratios)

    faces = valued(fitted.faces, "logit", calibration.face)
    threshold = thresholds.face.likely_manipulated
    min_groups = ConditionsSpec().min_groups
    table = reliability_table(
        faces,
        valued(fitted.tracks, "raw", calibration.track),
        face_threshold=threshold,
        track_threshold=thresholds.track.likely_manipulated,
        min_groups=min_groups,
    )
    main = every[every["main"] | (every["label"] == "real")]
    unjudged = main[main["logit"].isna()].assign(log_likelihood_ratio=np.nan)
    table["by_condition"] = condition_table(pd.concat([faces, unjudged]), threshold, min_groups)
    return table, conditions(faces, threshold, min_groups)


def _seal_neutral(directory: Path, config: Config, training: dict[str, Any]) -> Bundle:
    """A bundle that scores but does not decide, to take the held-out predictions with."""
    one = Calibration(slope=1.0, intercept=0.0, limit=6.0, samples=0, groups=0)
    never = LevelThresholds(
        likely_manipulated=6.0,
        no_manipulation_found=-6.0,
        false_positive_rate=0.0,
        false_positive_rate_upper=1.0,
        true_positive_rate=0.0,
        miss_rate=0.0,
    )
    _write_json(directory / "reliability.json", {})
    (directory / "MODEL_CARD.md").write_text("Not calibrated.\n", encoding="utf-8")
    calibration = LevelCalibrations(face=one, track=one, item=one)
    thresholds = Thresholds(face=never, track=never, item=never)
    return seal(directory, _fields(config, calibration, thresholds, training))


def _fields(
    config: Config,
    calibration: LevelCalibrations,
    thresholds: Thresholds,
    training: dict[str, Any],
) -> dict[str, Any]:
    bundle = config.bundle
    return {
        "name": bundle.name,
        "version": bundle.version,
        "created": datetime.now(UTC).replace(microsecond=0).isoformat(),
        "terms": bundle.terms,
        "prior": 0.5,
        "sampling": bundle.sampling.model_dump(),
        "detector": bundle.detector.model_dump(),
        "crop": bundle.crop.model_dump(),
        "input": bundle.input.model_dump(),
        "tracks": bundle.tracks.model_dump(),
        "aggregation": bundle.aggregation.model_dump(),
        "calibration": calibration.model_dump(),
        "thresholds": thresholds.model_dump(),
        "training": training,
    }


def _provenance(
    config: Config, config_sha256: str, store: CropStore, run: Path, worst: float
) -> dict[str, Any]:
    index = store.index
    train, held = index[trained_on(index, config)], index[held_out(index, config)]
    return {
        "config": config.model_dump(mode="json"),
        "config_sha256": config_sha256,
        "train": _counts(train),
        "held_out": _counts(held),
        "metrics": _kept_by(run),
        "parity_max_abs_difference": round(worst, 8),
        "versions": {
            "python": platform.python_version(),
            **{p: importlib.metadata.version(p) for p in ("torch", "timm", "onnx", "onnxruntime")},
        },
    }


def _counts(index: pd.DataFrame) -> dict[str, dict[str, int]]:
    return {
        f"{dataset} ({label})": {
            "crops": len(part),
            "media": int(part["media"].nunique()),
            "groups": int(part["group"].nunique()),
        }
        for (dataset, label), part in index.groupby(["dataset", "label"], sort=True)
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
