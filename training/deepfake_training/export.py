"""Turn a checkpoint into a bundle: ONNX, parity check, calibration, reliability, model card."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pandas as pd
import torch
from numpy.typing import NDArray

from deepfake_eval.predictions import predict
from deepfake_eval.reliability import reliability_table
from deepfake_models.bundle import Bundle, load_bundle, seal
from deepfake_models.calibration import log_likelihood_ratio
from deepfake_models.classifier import ACTIVATION_MAP, LOGIT
from deepfake_models.scorer import Scorer
from deepfake_models.session import OnnxSession
from deepfake_models.spec import Calibration, LevelCalibrations, LevelThresholds, Thresholds
from deepfake_training.backbone import ExportGraph, create_backbone
from deepfake_training.calibrate import Fitted, fit_levels
from deepfake_training.card import model_card
from deepfake_training.config import Config
from deepfake_training.data import CropStore, ValidationDataset
from deepfake_training.detector_export import export_detector
from deepfake_training.errors import TrainingError
from deepfake_training.fit import BEST, read_checkpoint
from deepfake_training.prepare import read_manifest

OPSET = 17
PARITY_TOLERANCE = 1e-3
"""Largest absolute difference of logits, torch against onnxruntime, on real crops."""
PARITY_CROPS = 64


def export_graph(model: ExportGraph, size: int, path: Path) -> None:
    """Write ``classifier.onnx``: ``crops`` uint8 (N, size, size, 3) to ``logit`` and the map."""
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        # The tracing exporter is deprecated, but needs no further package for a plain CNN.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=["crops"],
            output_names=[LOGIT, ACTIVATION_MAP],
            dynamic_axes={"crops": {0: "batch"}, LOGIT: {0: "batch"}, ACTIVATION_MAP: {0: "batch"}},
        )
    onnx.checker.check_model(str(path))


def parity(model: ExportGraph, path: Path, crops: NDArray[np.uint8]) -> float:
    """Largest absolute difference of logits between torch and onnxruntime on ``crops``.

    Raises:
        TrainingError: when it exceeds ``PARITY_TOLERANCE``.
    """
    session = OnnxSession(path.read_bytes(), name=path.name, device="cpu")
    got = session.run([LOGIT], {"crops": crops})[0]
    with torch.inference_mode():
        # The backbone's own forward, so that a head which ExportGraph misreads shows here.
        want = model.backbone(model.normalise(torch.from_numpy(crops))).flatten().numpy()
    worst = float(np.abs(got - want).max())
    if not worst <= PARITY_TOLERANCE:
        raise TrainingError(f"{path.name}: logits differ from torch's by {worst:.2e}")
    return worst


def export(
    manifest: Path,
    crops: Path,
    run: Path,
    out: Path,
    config: Config,
    config_sha256: str,
    *,
    frames: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> Bundle:
    """Export the best checkpoint of ``run`` as the bundle directory ``out``.

    1. The backbone and the face detector become ONNX; logits are compared with torch's.
    2. Every held-out medium is scored through the serving path, under a neutral calibration.
    3. Calibrations and thresholds are fitted, the error rates measured, the model card written.
    4. The bundle is sealed beside ``out`` and moved into its place.
    """
    backbone = create_backbone(config.backbone, initial=False)
    backbone.load_state_dict(read_checkpoint(run / BEST)["ema"])
    graph = ExportGraph(backbone.eval(), config.bundle.input).eval()
    store = CropStore(crops)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".bundle-") as scratch:
        directory = Path(scratch) / "bundle"
        directory.mkdir()
        export_graph(graph, config.bundle.input.height, directory / "classifier.onnx")
        export_detector(directory)
        held_out = ValidationDataset(store, config)
        picks = np.linspace(0, len(held_out) - 1, min(PARITY_CROPS, len(held_out))).astype(int)
        samples = np.stack([held_out[int(i)][0].numpy() for i in picks])
        worst = parity(graph, directory / "classifier.onnx", samples)
        rows = read_manifest(manifest)
        chosen = rows[rows["fold"].isin(config.validation_folds)]
        training = _provenance(config, config_sha256, store, run, worst)
        neutral = _seal_neutral(directory, config, training)
        scorer = Scorer.open(directory, device="cpu")
        faces, items = predict(
            scorer,
            manifest.parent,
            cast("list[dict[str, Any]]", chosen.to_dict("records")),
            frames=frames,
            progress=progress,
        )
        fitted = fit_levels(
            faces,
            neutral.spec,
            max_fpr=config.bundle.max_false_positive_rate,
            max_miss=config.bundle.max_miss_rate,
        )
        reliability = _reliability(fitted)
        _write_json(directory / "reliability.json", reliability)
        fields = _fields(config, fitted.calibration, fitted.thresholds, training)
        card = model_card(config, fields, reliability, items)
        (directory / "MODEL_CARD.md").write_text(card, encoding="utf-8")
        seal(directory, fields)
        faces.to_parquet(run / "held_out_faces.parquet")
        items.to_parquet(run / "held_out_items.parquet")
        if out.exists():
            shutil.rmtree(out)
        directory.replace(out)
    return load_bundle(out)


def _reliability(fitted: Fitted) -> dict[str, Any]:
    calibration, thresholds = fitted.calibration, fitted.thresholds

    def valued(frame: pd.DataFrame, column: str, level: Calibration) -> pd.DataFrame:
        ratios = [log_likelihood_ratio(float(v), level) for v in frame[column]]
        return frame.assign(log_likelihood_ratio=ratios)

    return reliability_table(
        valued(fitted.faces, "logit", calibration.face),
        valued(fitted.tracks, "raw", calibration.track),
        face_threshold=thresholds.face.likely_manipulated,
        track_threshold=thresholds.track.likely_manipulated,
    )


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
    train = index[~index["fold"].isin(config.validation_folds)]
    held = index[index["fold"].isin(config.validation_folds)]
    return {
        "config": config.model_dump(mode="json"),
        "config_sha256": config_sha256,
        "train": _counts(train),
        "held_out": _counts(held),
        "metrics": json.loads((run / "metrics.json").read_text()),
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
