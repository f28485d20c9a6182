"""Measure a recipe: one run for each fold, and one for each part of the sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from deepfake_training.config import Config
from deepfake_training.data.datasets import CropStore
from deepfake_training.data.splits import Split
from deepfake_training.errors import TrainingError
from deepfake_training.train import checkpoints
from deepfake_training.train.loop import fit
from deepfake_training.train.method_metrics import check_measurable

SplitReporter = Callable[[Split, checkpoints.StepReport], None]
Weights = dict[str, torch.Tensor]


def run_splits(
    crops: Path,
    out: Path,
    splits: Sequence[Split],
    *,
    progress: SplitReporter | None = None,
) -> None:
    """Fit each split into ``out/NAME``.

    Completed runs are not repeated, and interrupted ones resume. ``TrainingError`` if what a split
    holds out lacks a class, or a run cannot be fitted.
    """
    index = CropStore(crops).index
    for split in splits:
        check_measurable(index, split.config)
    for split in splits:
        fit(crops, out / split.name, split.config, progress=progress and partial(progress, split))


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
