"""Who is trained on and who is measured: held-out people, methods and sources.

A run holds out folds of groups (``validation_folds``), methods (``left_out_methods``) and whole
sources (``left_out_datasets``). What it may be measured on is what it saw nothing of: every group
of a held-out fold, and everything of a left-out source. The fakes of a left-out method whose
untouched originals were trained on are in neither part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from deepfake_training.config import Config
from deepfake_training.errors import ConfigError

_STILLS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".heic"})


def is_still(media: str) -> bool:
    """Whether a manifest's ``media`` is a picture, by its name."""
    return PurePosixPath(media).suffix.lower() in _STILLS


def trained_on(index: pd.DataFrame, config: Config) -> pd.Series:
    """Mask (N,) bool of the rows of ``index`` (fold, method, dataset) that a run learns from."""
    return ~(
        index["fold"].isin(config.validation_folds)
        | index["method"].isin(config.left_out_methods)
        | index["dataset"].isin(config.left_out_datasets)
    )


def held_out(index: pd.DataFrame, config: Config) -> pd.Series:
    """Mask (N,) bool of the rows that a run is measured on."""
    return index["fold"].isin(config.validation_folds) | index["dataset"].isin(
        config.left_out_datasets
    )


def measured_on(rows: pd.DataFrame, config: Config) -> pd.DataFrame:
    """The held-out ``rows`` of at most ``media_per_group`` media of a group and method."""
    return thinned(rows[held_out(rows, config)], config)


def thinned(rows: pd.DataFrame, config: Config) -> pd.DataFrame:
    """``rows`` of at most ``media_per_group`` media of a group and method.

    Of more, those are taken that lie evenly in the order of their names.
    """
    media = rows.drop_duplicates("media").sort_values("media")
    most = config.cross_validation.media_per_group
    kept: set[str] = set()
    for _, part in media.groupby(["group", "label", "method"], sort=True):
        picks = np.linspace(0, len(part) - 1, min(most, len(part))).round().astype(int)
        kept.update(part["media"].iloc[np.unique(picks)])
    return rows[rows["media"].isin(kept)]


@dataclass(frozen=True, slots=True)
class Split:
    """One run of a cross-validation: its name, its config, and what it is asked about."""

    name: str
    config: Config


def fold_splits(config: Config, *, short: bool) -> list[Split]:
    """A run a part of the folds: each medium is measured once, by one that saw none of its group.

    Raises:
        ConfigError: when a fold is in two parts.
    """
    parts = config.cross_validation.folds
    if len({f for p in parts for f in p}) < sum(map(len, parts)):
        raise ConfigError("cross_validation.folds: a fold is in two parts")
    steps = config.cross_validation.short_steps if short else config.fit.steps
    return [
        _split(config, f"fold-{'-'.join(map(str, part))}", steps, validation_folds=part)
        for part in parts
    ]


def leave_out_splits(config: Config, *, short: bool = False) -> list[Split]:
    """A run a set of methods and sources never seen, of ``leave_out_steps`` or ``short_steps``.

    Raises:
        ConfigError: when the config names no set, or one name twice.
    """
    sets = config.cross_validation.leave_out
    if not sets:
        raise ConfigError("cross_validation.leave_out: names no set of methods to leave out")
    if len({s.name for s in sets}) < len(sets):
        raise ConfigError("cross_validation.leave_out: two sets have one name")
    crossing = config.cross_validation
    steps = crossing.short_steps if short else crossing.leave_out_steps
    return [
        _split(
            config,
            f"without-{chosen.name}",
            steps,
            validation_folds=chosen.folds,
            left_out_methods=chosen.methods,
            left_out_datasets=chosen.datasets,
        )
        for chosen in sets
    ]


def everything_split(config: Config) -> Split:
    """A run on everything, of as many steps as the leave-out runs and with other draws than
    ``fit``'s: what that is averaged with, where averages are shipped."""
    split = _split(config, "everything", config.cross_validation.leave_out_steps)
    fit = split.config.fit.model_copy(update={"seed": split.config.fit.seed + 1})
    return Split(split.name, split.config.model_copy(update={"fit": fit}))


def _split(config: Config, name: str, steps: int, **held: object) -> Split:
    # One validation, after the last step: a checkpoint chosen by what it is measured on flatters.
    fit = config.fit.model_copy(update={"steps": steps, "validate_every": steps})
    return Split(name, config.model_copy(update={**held, "fit": fit}))
