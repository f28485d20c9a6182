"""Measure a recipe: one run for each fold, and one for each part of the sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from deepfake_eval.inference.pool import no_progress
from deepfake_training.data.datasets import CropStore
from deepfake_training.data.splits import Split
from deepfake_training.train import checkpoints
from deepfake_training.train.loop import fit
from deepfake_training.train.method_metrics import check_measurable

SplitReporter = Callable[[Split, checkpoints.StepReport], None]


def run_splits(
    crops: Path, out: Path, splits: Sequence[Split], *, progress: SplitReporter = no_progress
) -> None:
    """Fit each split into ``out/NAME``.

    Completed runs are not repeated, and interrupted ones resume. ``TrainingError`` if what a split
    holds out lacks a class, or a run cannot be fitted.
    """
    index = CropStore(crops).index
    for split in splits:
        check_measurable(index, split.config)
    for split in splits:
        fit(crops, out / split.name, split.config, progress=partial(progress, split))
