"""Figures by manipulation method from held-out scores, of a checkpoint or of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from deepfake_eval.analysis.intervals import Estimate
from deepfake_eval.analysis.metrics import auc
from deepfake_models.bundle.spec import ConditionsSpec
from deepfake_training.config import Config
from deepfake_training.data.manifests import is_still
from deepfake_training.data.splits import held_out
from deepfake_training.errors import TrainingError

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
    """Check that a run which holds out anything of ``index`` can be measured on it;
    ``TrainingError`` if what it holds out lacks a class."""
    held = index[held_out(index, config)]
    if len(held):
        check_classes(held, config.cross_validation.apart)


def media_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row per medium: its labels, ``still``, and the mean ``logit`` of its crops."""
    media = scores.groupby("media", sort=True).agg(
        logit=("logit", "mean"),
        label=("label", "first"),
        method=("method", "first"),
        dataset=("dataset", "first"),
        group=("group", "first"),
        fold=("fold", "first"),
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
    """Return ``auc/METHOD`` by medium, their mean ``auc_mean``, and ``auc_all`` over all media.

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
    return metrics


def method_aucs(scores: pd.DataFrame) -> dict[str, Estimate]:
    """Return the AUC by medium of every method, with its interval over groups, if it has one.
    ``Estimate.samples`` and ``groups`` count the fakes, of which there are fewer."""
    media = media_table(scores)
    reals = media[media["label"] == "real"]
    figures = {}
    for method, part in media[media["label"] == "fake"].groupby("method", sort=True):
        against = opponents(part, reals)
        truth, logits = _both(part, against)
        estimate = auc(truth, logits, np.r_[part["group"], against["group"]])
        figures[str(method)] = Estimate(
            estimate.value, estimate.low, estimate.high, len(part), part["group"].nunique()
        )
    return figures


def by_acquaintance(
    scores: pd.DataFrame, config: Config
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Return the AUC by method from runs of the folds, which learnt the method from other people,
    and from runs that left it or its source out.

    ``scores`` are those of any splits of ``config``. Logits of different runs are not comparable,
    so each run that leaves something out is ranked by itself. Those of the folds are of one recipe
    and are calibrated together, so they are ranked together.
    """
    seen = scores[scores["split"].str.startswith("fold-")]
    unseen: dict[str, list[Estimate]] = {}
    fakes = [scores[:0]]
    for left in config.cross_validation.leave_out:
        part = scores[scores["split"] == f"without-{left.name}"]
        chosen = part["method"].isin(left.methods) | part["dataset"].isin(left.datasets)
        fakes.append(part[chosen & (part["label"] == "fake")])
        for method, estimate in method_aucs(part[chosen | (part["label"] == "real")]).items():
            unseen.setdefault(method, []).append(estimate)
    # A medium or group that several runs measure counts once.
    counts = pd.concat(fakes).groupby("method")[["media", "group"]].nunique()
    pooled = {m: _pooled(values, *counts.loc[m]) for m, values in sorted(unseen.items())}
    return method_aucs(seen), pooled


def _pooled(estimates: Sequence[Estimate], media: int, groups: int) -> Estimate:
    """Return the mean of ``estimates`` by different runs, weighted by media, with the union of
    their intervals, or none (NaN) if one of them has none."""
    return Estimate(
        float(np.average([e.value for e in estimates], weights=[e.samples for e in estimates])),
        float(np.min([e.low for e in estimates])),
        float(np.max([e.high for e in estimates])),
        int(media),
        int(groups),
    )


def method_table(seen: Mapping[str, Estimate], left_out: Mapping[str, Estimate]) -> str:
    """Return a Markdown table of figures by method, with intervals and the number of fakes as media
    (groups); * marks fewer than ten groups."""
    lines = [
        "| method | people unseen | media (groups) | method and source unseen | media (groups) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {method} | {_cells(seen.get(method))} | {_cells(left_out.get(method))} |"
        for method in sorted({*seen, *left_out})
    ]
    return "\n".join(lines) + "\n"


def _cells(estimate: Estimate | None) -> str:
    if estimate is None or np.isnan(estimate.value):
        return "– | –"
    star = "" if estimate.groups >= ConditionsSpec().min_groups else "*"
    span = "" if np.isnan(estimate.low) else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f}{star}{span} | {estimate.samples} ({estimate.groups})"
