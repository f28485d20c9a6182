"""Measure a recipe: one run for each part of the folds, one for each part of the sources, and one
for each set of methods that is left out with its sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from deepfake_models.machine import atomic_write_text
from deepfake_training.config import Config
from deepfake_training.data.datasets import CropStore
from deepfake_training.data.splits import Split, fold_splits, leave_out_splits
from deepfake_training.errors import TrainingError
from deepfake_training.train import checkpoints
from deepfake_training.train.loop import fit
from deepfake_training.train.method_metrics import by_acquaintance, check_measurable, method_table

METHODS = "methods.md"
SplitReporter = Callable[[Split, checkpoints.StepReport], None]
Weights = dict[str, torch.Tensor]


def run_splits(
    crops: Path,
    out: Path,
    splits: Sequence[Split],
    *,
    progress: SplitReporter | None = None,
) -> pd.DataFrame:
    """Fit each split into ``out/NAME``; return all held-out crops with the name of their ``split``.

    Completed runs are not repeated, and interrupted ones resume. ``TrainingError`` if what a split
    holds out lacks a class, or a run cannot be fitted.
    """
    index = CropStore(crops).index
    for split in splits:
        check_measurable(index, split.config)
    for split in splits:
        fit(crops, out / split.name, split.config, progress=progress and partial(progress, split))
    return held_out_crops(out, splits)


def held_out_crops(out: Path, splits: Sequence[Split]) -> pd.DataFrame:
    """Return the held-out crops of all ``splits`` with a completed run in ``out``;
    ``TrainingError`` if no run is complete."""
    parts = [
        pd.read_parquet(path).assign(split=s.name)
        for s in splits
        if (path := out / s.name / checkpoints.HELD_OUT).exists()
    ]
    if not parts:
        raise TrainingError(
            f"{out}: No run of this cross-validation is complete. Run deepfake-train "
            "crossvalidate first."
        )
    return pd.concat(parts, ignore_index=True)


def summarise(out: Path, config: Config, data: str) -> str:
    """Return a table of the figures by method of all completed runs in ``out``; write it there as
    ``methods.md``.

    ``data`` is the digest of the prepared crops (``CropStore.digest``). ``TrainingError`` if no run
    is complete, or one is of other data.
    """
    splits = fold_splits(config)
    if config.cross_validation.leave_out:
        splits += leave_out_splits(config)
    for split in splits:
        if (out / split.name / checkpoints.HELD_OUT).exists():
            checkpoints.config_of(out / split.name, data)
    table = method_table(*by_acquaintance(held_out_crops(out, splits), config))
    atomic_write_text(out / METHODS, table)
    return table


def split_weights(
    out: Path, splits: Sequence[Split], data: str
) -> Iterator[tuple[Config, Weights]]:
    """Yield the config and the weights of the run in ``out`` for each of ``splits``.

    ``data`` is the digest of the prepared crops (``CropStore.digest``). ``TrainingError`` if a run
    is missing, of another recipe or on other data, or its file is not a checkpoint.
    """
    for split in splits:
        yield split.config, _weights(out, split, data)


def _weights(out: Path, split: Split, data: str) -> Weights:
    path = out / split.name / checkpoints.BEST
    if not path.exists():
        raise TrainingError(
            f"{out}: {split.name} is missing. Complete deepfake-train crossvalidate first."
        )
    if checkpoints.config_of(path.parent, data).recipe() != split.config.recipe():
        raise TrainingError(
            f"{out}: {split.name} is a run of another recipe. Choose another folder."
        )
    weights: Weights = checkpoints.read_checkpoint(path)["weights"]
    return weights
