"""Train, validation and test splits.

A config may divide the sources once, into a teaching set for the network and a measuring set for
heads and figures (``taught_datasets``). A run holds out folds of groups (``validation_folds``),
methods (``left_out_methods``) and whole data sets (``left_out_datasets``), such as those of a
source. It is measured only on groups that it never saw: all of a held-out fold, and those of a
left-out data set that it did not learn from through another one. Fakes of a left-out method whose
originals were trained on belong to neither part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from deepfake_eval.datasets.base import PICTURE_SUFFIXES
from deepfake_training.config import Config
from deepfake_training.data.manifests import is_still
from deepfake_training.errors import TrainingError

_MAY_BE_ANIMATED = frozenset({".gif", ".webp", ".avif"})


def trained_on(index: pd.DataFrame, config: Config) -> pd.Series:
    """Return a mask (N,) bool of the rows of ``index`` (fold, method, dataset) to learn from."""
    return (taught(index, config) != config.frozen if config.taught_datasets else True) & ~(
        index["fold"].isin(config.validation_folds)
        | index["method"].isin(config.left_out_methods)
        | index["dataset"].isin((*config.left_out_datasets, *config.excluded_datasets))
    )


def taught(rows: pd.DataFrame, config: Config) -> pd.Series:
    """Return a mask (N,) bool of the ``rows`` in the teaching set: see ``taught_datasets``."""
    sources = source_names(pd.Series(config.taught_datasets, dtype=object), config)
    return source_names(rows["dataset"], config).isin(sources)


def held_out(rows: pd.DataFrame, config: Config, index: pd.DataFrame | None = None) -> pd.Series:
    """Return a mask (N,) bool of the ``rows`` that a run is measured on. ``index`` are all rows
    from which the run may learn, where ``rows`` are only some of them."""
    everything = rows if index is None else index
    known = everything.loc[trained_on(everything, config), "group"].unique()
    chosen = rows["fold"].isin(config.validation_folds) | (
        rows["dataset"].isin(config.left_out_datasets) & ~rows["group"].isin(known)
    )
    if config.taught_datasets:
        met = everything.loc[taught(everything, config), "group"].unique()
        chosen = (chosen | (not config.frozen)) & ~rows["group"].isin(met)
    return chosen & ~rows["dataset"].isin(config.excluded_datasets)


def measured_on(
    rows: pd.DataFrame, config: Config, index: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the held-out ``rows`` (see ``held_out``), limited to ``media_per_group`` (see
    ``thinned``)."""
    return thinned(rows[held_out(rows, config, index)], config.cross_validation.media_per_group)


def check_videos(rows: pd.DataFrame, config: Config) -> None:
    """Check that a run of all steps holds out videos of both classes of ``rows``, on which a bundle
    is calibrated. Pictures that may be animated count as videos. ``TrainingError`` if it does not.
    """
    chosen = ~rows["dataset"].isin(config.excluded_datasets)
    if config.validation_folds:
        chosen = held_out(rows, config)
    held = rows[chosen & ~rows["method"].isin(config.cross_validation.apart)]
    suffixes = (PurePosixPath(str(media)).suffix.lower() for media in held["media"])
    videos = [s in _MAY_BE_ANIMATED or s not in PICTURE_SUFFIXES for s in suffixes]
    labels = set(held.loc[videos, "label"])
    for label, name in (("real", "real"), ("fake", "manipulated")):
        if label not in labels:
            raise TrainingError(
                f"No {name} video is held out, but a bundle is calibrated on held-out videos of "
                "both classes. Add some, or hold out other folds."
            )


def thinned(rows: pd.DataFrame, media_per_group: int) -> pd.DataFrame:
    """Return the ``rows`` of at most ``media_per_group`` media of each group, label and method.
    Where there are more, those are taken that are evenly spaced in the order of their names."""
    media = rows.drop_duplicates("media").sort_values("media")
    chosen: set[str] = set()
    for _, part in media.groupby(["group", "label", "method"], sort=True):
        picks = np.linspace(0, len(part) - 1, min(media_per_group, len(part))).round().astype(int)
        chosen.update(part["media"].iloc[np.unique(picks)])
    return rows[rows["media"].isin(chosen)]


@dataclass(frozen=True, slots=True)
class Split:
    """One run of a cross-validation: its name, and the config with what it holds out."""

    name: str
    config: Config


def _of_heads(index: pd.DataFrame, config: Config) -> pd.Series:
    return ~(index["dataset"].isin(config.excluded_datasets) | taught(index, config))


def fold_splits(index: pd.DataFrame, config: Config) -> list[Split]:
    """Return one run for each fold in ``index``, so that every medium is measured once, by a run
    that saw none of its group."""
    used = index[_of_heads(index, config)]
    return [
        _split(config, f"fold-{fold}", validation_folds=(fold,))
        for fold in sorted(set(used["fold"].tolist()))
    ]


def source_names(datasets: pd.Series, config: Config) -> pd.Series:
    """Return the source of each of ``datasets``: the first of the names that it goes by."""
    first = {name: same[0] for same in config.cross_validation.same_source for name in same}
    return datasets.map(lambda name: first.get(name, name))


def source_splits(index: pd.DataFrame, config: Config) -> list[Split]:
    """Return one run for each of ``source_parts`` of the sources in ``index``.

    Together they measure every medium by a run that saw neither its source nor its person, except
    media of people who are also in another source.

    Sources are dealt largest first to the part that has the least of what they consist of, so that
    every part has real and manipulated videos and pictures.
    """
    if not config.cross_validation.source_parts:
        return []
    index = index[_of_heads(index, config)]
    media = thinned(index, config.cross_validation.media_per_group).drop_duplicates("media")
    kinds = [media["label"], media["media"].map(is_still)]
    counts = pd.crosstab(source_names(media["dataset"], config), kinds)
    shares = counts / counts.sum()
    order = shares.sum(axis=1).sort_values(ascending=False, kind="stable").index
    parts = min(config.cross_validation.source_parts, len(order))
    held = np.zeros((parts, shares.shape[1]))
    part_of: dict[str, int] = {}
    for source in order:
        share = shares.loc[source].to_numpy()
        part = int(((held + share) ** 2 - held**2).sum(axis=1).argmin())
        held[part] += share
        part_of[source] = part
    datasets = pd.Series(sorted(index["dataset"].unique()))
    parts_of = source_names(datasets, config).map(part_of)
    return [
        _split(config, f"sources-{part}", left_out_datasets=tuple(datasets[parts_of == part]))
        for part in range(parts)
    ]


def _split(config: Config, name: str, **held: object) -> Split:
    # Validate once, after the last step: choosing a checkpoint by the data that it is measured on
    # would make the figures optimistic.
    fit = config.fit.model_copy(update={"validate_every": config.fit.steps})
    return Split(name, config.model_copy(update={**held, "fit": fit}))
