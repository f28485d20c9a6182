"""Figures of a run by manipulation method, from its held-out scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from deepfake_training.config import Config
from deepfake_training.data.manifests import is_still
from deepfake_training.data.splits import held_out, trained_on
from deepfake_training.errors import TrainingError
from deepfake_training.heads.kinds import check_kinds

_MIN_OWN = 3
"""Smallest number of real media of a method's own source to measure it against; with fewer, it is
measured against all real media of its kind."""


def check_classes(rows: pd.DataFrame, apart: Sequence[str] = ()) -> None:
    """Check that held-out ``rows`` of crops contain both classes, without the methods ``apart``;
    ``TrainingError`` if one is missing."""
    labels = rows.loc[~rows["method"].isin(apart), "label"]
    if missing := sorted({"real", "fake"} - set(labels)):
        raise TrainingError(
            f"No {missing[0]} crop is held out, so nothing can be measured. Hold out more."
        )


def check_measurable(index: pd.DataFrame, config: Config) -> None:
    """Check that a run can learn every kind that it tells apart from ``index``, and can be measured
    on what it holds out of it, if anything; ``TrainingError`` if a kind or a class is missing."""
    held = index[held_out(index, config)]
    if len(held):
        check_classes(held, config.cross_validation.apart)
    learnt = index.loc[trained_on(index, config) & (index["label"] == "fake"), "method"]
    if len(learnt):
        check_kinds(learnt, config)


def media_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row per medium: its labels, ``still``, and the mean ``logit`` of its crops."""
    media = scores.groupby("media", sort=True).agg(
        logit=("logit", "mean"),
        label=("label", "first"),
        method=("method", "first"),
        dataset=("dataset", "first"),
    )
    return media.assign(still=[is_still(str(m)) for m in media.index]).reset_index()


def opponents(fakes: pd.DataFrame, reals: pd.DataFrame) -> pd.DataFrame:
    """Return the real media against which a method's ``fakes`` are measured.

    These are the ones of its own source if there are enough, so that camera, size and compression
    are the same on both sides. Otherwise they are all of the same kind, videos or stills.
    """
    own = reals[reals["dataset"].isin(fakes["dataset"].unique())]
    if len(own) >= _MIN_OWN:
        return own
    same_kind = reals[reals["still"].isin(fakes["still"].unique())]
    return same_kind if len(same_kind) else reals


def _both(fakes: pd.DataFrame, reals: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    truth = np.r_[np.ones(len(fakes), int), np.zeros(len(reals), int)]
    return truth, np.r_[fakes["logit"], reals["logit"]]


def mean_aucs(scores: pd.DataFrame, apart: Sequence[str] = ()) -> dict[str, float]:
    """Return ``auc/METHOD`` by medium, their mean ``auc_mean``, and ``auc_all`` over all media,
    ``auc_videos`` and ``auc_pictures`` where there are both classes.

    The checkpoint is selected by the mean over methods, so that no large source dominates. Fakes of
    the methods ``apart`` are in neither of the overall figures.
    """
    media = media_table(scores)
    fakes, reals = media[media["label"] == "fake"], media[media["label"] == "real"]
    metrics = {
        f"auc/{method}": float(roc_auc_score(*_both(part, opponents(part, reals))))
        for method, part in fakes.groupby("method", sort=True)
    }
    counted = fakes[~fakes["method"].isin(apart)]
    metrics["auc_mean"] = float(np.mean([metrics[f"auc/{m}"] for m in counted["method"].unique()]))
    metrics["auc_all"] = float(roc_auc_score(*_both(counted, reals)))
    for name, still in (("auc_videos", False), ("auc_pictures", True)):
        own, others = counted[counted["still"] == still], reals[reals["still"] == still]
        if len(own) and len(others):
            metrics[name] = float(roc_auc_score(*_both(own, others)))
    return metrics
