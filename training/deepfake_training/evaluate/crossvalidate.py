"""Measure a recipe: a run a part of the folds, and a run a set of methods and sources left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from deepfake_models.files import atomic_write_text
from deepfake_training.config import Config
from deepfake_training.data.splits import Split, everything_split, fold_splits, leave_out_splits
from deepfake_training.errors import ConfigError, TrainingError
from deepfake_training.train.checkpoints import (
    BEST,
    HELD_OUT,
    StepReport,
    config_of,
    read_checkpoint,
)
from deepfake_training.train.loop import fit
from deepfake_training.train.method_metrics import by_acquaintance, method_table

METHODS = "methods.md"

Progress = Callable[[Split, StepReport], None]
Weights = dict[str, torch.Tensor]


def run_splits(
    crops: Path, out: Path, splits: Sequence[Split], *, progress: Progress | None = None
) -> pd.DataFrame:
    """Fit each split into ``out/NAME`` and return all held-out crops with their ``split``.

    A run that is complete is not repeated, and one that was stopped goes on.
    """
    for split in splits:

        def report(step: StepReport, split: Split = split) -> None:
            if progress:
                progress(split, step)

        fit(crops, out / split.name, split.config, progress=report)
    return held_out_crops(out, splits)


def averaging_splits(config: Config) -> list[Split]:
    """The runs that leave methods out, and the one that averages are shipped with."""
    splits = leave_out_splits(config)
    return [*splits, everything_split(config)] if config.cross_validation.average else splits


def held_out_crops(out: Path, splits: Sequence[Split]) -> pd.DataFrame:
    """The held-out crops of those ``splits`` whose run in ``out`` is complete, with ``split``."""
    parts = [
        pd.read_parquet(path).assign(split=s.name)
        for s in splits
        if (path := out / s.name / HELD_OUT).exists()
    ]
    if not parts:
        raise TrainingError(f"{out}: no run of this cross-validation is complete")
    return pd.concat(parts, ignore_index=True)


def summarise(out: Path, config: Config) -> str:
    """A table of figures by method from every complete run in ``out``; written as ``methods.md``.

    Raises:
        TrainingError: when no run is complete.
    """
    splits = fold_splits(config, short=False)
    if config.cross_validation.leave_out:
        splits += leave_out_splits(config)
    table = method_table(*by_acquaintance(held_out_crops(out, splits), config))
    atomic_write_text(out / METHODS, table)
    return table


def fold_weights(out: Path, config: Config) -> Iterator[tuple[Config, Weights]]:
    """Of every part of the folds: the config of its run in ``out``, and the weights to measure.

    With ``cross_validation.average`` these are averages with the leave-out runs that saw nothing of
    the part either.

    Raises:
        ConfigError: when no leave-out set holds out all of a part.
        TrainingError: when a part was not run, is of another recipe, or its file is not ours.
    """
    for split in fold_splits(config, short=False):
        runs = [split]
        if config.cross_validation.average:
            held = set(split.config.validation_folds)
            blind = (
                other
                for other in leave_out_splits(config)
                if held <= set(other.config.validation_folds)
            )
            try:
                runs.append(next(blind))
            except StopIteration:
                raise ConfigError(
                    f"cross_validation.average: no leave-out set holds out all of {split.name}"
                ) from None
        yield split.config, averaged([_weights(out, run) for run in runs])


def shipped_weights(out: Path, config: Config, own: Weights) -> tuple[Weights, list[str]]:
    """The weights to ship, and the runs in ``out`` that they are averaged with: none, unless
    ``cross_validation.average`` says so.

    Raises:
        TrainingError: when a run is missing, of another recipe, or its file is not ours.
    """
    if not config.cross_validation.average:
        return own, []
    other = everything_split(config)
    return averaged([own, _weights(out, other)]), [other.name]


def averaged(states: Sequence[Weights]) -> Weights:
    """The mean of the floating-point tensors of runs of one model; of others, the first run's."""
    first = states[0]
    return {
        name: torch.stack([s[name] for s in states]).mean(dim=0)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in first.items()
    }


def _weights(out: Path, split: Split) -> Weights:
    path = out / split.name / BEST
    if not path.exists():
        raise TrainingError(
            f"{out}: {split.name} is missing; run deepfake-train crossvalidate to its end"
        )
    if recipe_of(config_of(path.parent)) != recipe_of(split.config):
        raise TrainingError(f"{out}: {split.name} is a run of another recipe or schedule")
    weights: Weights = read_checkpoint(path)["ema"]
    return weights


def recipe_of(config: Config) -> dict[str, Any]:
    """What of a config makes a run's weights."""
    content = config.model_dump(
        include={"validation_folds", "left_out_methods", "left_out_datasets", "augmentation",
                 "prepare", "mix", "backbone", "fit", "probe"}
    )  # fmt: skip
    return {**content, "crop": config.bundle.crop, "input": config.bundle.input}
