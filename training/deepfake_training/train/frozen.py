"""Fit heads on the features of a frozen network: ``backbone.tune = "head"``.

Only heads are fitted, so features are computed once for all runs (see ``feature_store``), and
folds, methods and sources can be left out in turn at almost no cost.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from deepfake_eval.inference.pool import no_progress
from deepfake_models.classifier import LOGIT
from deepfake_training.config import Config
from deepfake_training.data.datasets import CropStore
from deepfake_training.data.manifests import COLUMNS, is_still
from deepfake_training.data.prepare import check_cut
from deepfake_training.data.splits import measured_on
from deepfake_training.errors import ConfigError
from deepfake_training.heads import chosen_heads, fit_heads, logits_of, state_of
from deepfake_training.train import checkpoints
from deepfake_training.train.feature_store import FeatureStore
from deepfake_training.train.material import main_faces, material_of
from deepfake_training.train.method_metrics import check_classes, check_measurable, mean_aucs


def fit_frozen(
    store: CropStore,
    out: Path,
    config: Config,
    progress: Callable[[checkpoints.StepReport], None] = no_progress,
) -> dict[str, float]:
    """Fit the heads, write the same files into ``out`` as any run, and return the figures;
    ``ConfigError`` if the config names a head that does not exist; ``TrainingError`` if no crop of
    a class is left to learn from or to be measured on, or ``out`` contains the run of another
    config or on other data."""
    chosen_heads(config)
    check_cut(store.root, config)
    if learnt := config.backbone.learnt:
        state = checkpoints.read_checkpoint(Path(learnt) / checkpoints.CHECKPOINT)
        theirs = Config.model_validate_json(state["config"])
        network = {"name", "weights", "sha256", "blocks"}
        if theirs.backbone.model_dump(include=network) != config.backbone.model_dump(
            include=network
        ):
            raise ConfigError(
                f"backbone: The run {learnt} began from other weights, or has other blocks. Use "
                f"its {', '.join(sorted(network))}."
            )
        if sorted(theirs.taught_datasets) != sorted(config.taught_datasets):
            raise ConfigError(
                f"taught_datasets: The run {learnt} has another teaching set. Use the same one, or "
                "figures come from what the network has seen."
            )
    data = store.digest()
    out.mkdir(parents=True, exist_ok=True)
    if (out / checkpoints.BEST).exists() and checkpoints.own_checkpoint(out, config, data):
        text = (out / checkpoints.METRICS).read_text(encoding="utf-8")
        figures: dict[str, float] = json.loads(text)
        return figures
    check_measurable(store.index, config)
    steps, features = config.fit.steps, FeatureStore(store, config)

    def report(doing: str, done: int, total: int) -> None:
        progress(checkpoints.StepReport(done, total, None, None, doing))

    pairs = features.pairs(steps * config.fit.pairs, partial(report, "computing pairs"))
    faces = main_faces(features, store, config, partial(report, "examining media"))
    report("regression", 0, 1)
    heads = fit_heads(material_of(pairs, faces, store, config), config)
    metrics: dict[str, float] = {}
    held_out = faces.of(measured_on(faces.labels, config, store.index))
    if len(held_out.labels):
        check_classes(held_out.labels, config.cross_validation.apart)
        scores = held_out.labels[list(COLUMNS)].copy()
        of_video, of_picture = logits_of(heads, held_out.features)[LOGIT].T
        scores["logit"] = np.where(scores["media"].map(is_still), of_picture, of_video)
        metrics = mean_aucs(scores, config.cross_validation.apart)
    weights = {name: torch.from_numpy(value) for name, value in state_of(heads).items()}
    result = {**metrics, "step": float(steps)}
    checkpoints.save_result(out, weights, result)
    checkpoints.save_checkpoint(out, config, data, {"step": steps})
    progress(checkpoints.StepReport(steps, steps, None, metrics))
    return result
