"""What held-out scores say, by method: of a checkpoint while it learns, of a recipe afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from deepfake_eval.analysis.metrics import Estimate, auc
from deepfake_models.spec import ConditionsSpec
from deepfake_training.config import Config
from deepfake_training.data.splits import is_still
from deepfake_training.errors import TrainingError

_MIN_OWN = 3
"""Fewer reals of a method's own source say nothing; it is then measured against all of its kind."""


def check_classes(labels: pd.Series) -> None:
    """See that both classes are among the ``labels`` of held-out crops.

    Raises:
        TrainingError: one is missing.
    """
    if missing := sorted({"real", "fake"} - set(labels)):
        raise TrainingError(f"no {missing[0]} crop is held out; nothing can be measured")


def media_table(scores: pd.DataFrame) -> pd.DataFrame:
    """A row a medium: its labels, whether it is a ``still``, the mean ``logit`` of its crops."""
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
    """The reals that a method's ``fakes`` are measured against.

    Those of its own source where there are any to speak of: camera, size and compression are then
    the same on both sides. Else all of the same kind, videos or stills.
    """
    own = reals[reals["dataset"].isin(fakes["dataset"].unique())]
    if len(own) >= _MIN_OWN:
        return own
    alike = reals[reals["still"].isin(fakes["still"].unique())]
    return alike if len(alike) else reals


def _both(fakes: pd.DataFrame, reals: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    truth = np.r_[np.ones(len(fakes), int), np.zeros(len(reals), int)]
    return truth, np.r_[fakes["logit"], reals["logit"]]


def mean_aucs(scores: pd.DataFrame) -> dict[str, float]:
    """``auc/METHOD`` by medium, their mean ``auc_mean``, and ``auc_all`` over everything.

    The mean over methods is what selects a checkpoint, so that no large source decides.
    """
    media = media_table(scores)
    fakes, reals = media[media["label"] == "fake"], media[media["label"] == "real"]
    metrics = {
        f"auc/{method}": float(roc_auc_score(*_both(part, opponents(part, reals))))
        for method, part in fakes.groupby("method", sort=True)
    }
    metrics["auc_mean"] = float(np.mean(list(metrics.values())))
    metrics["auc_all"] = float(roc_auc_score(*_both(fakes, reals)))
    return metrics


def method_aucs(scores: pd.DataFrame) -> dict[str, Estimate]:
    """AUC by medium of every method, with its interval over groups.

    ``Estimate.samples`` and ``groups`` are those of the fakes, which are the scarcer.
    """
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
    """AUC by method: where the run had learnt from others of the method, and where it had not.

    ``scores`` are those of any splits of ``config``. A method that one split leaves out and another
    learns from has a figure on both sides.
    """
    sets = {f"without-{s.name}": s for s in config.cross_validation.leave_out}
    left = pd.Series(
        [
            s in sets and (m in sets[s].methods or d in sets[s].datasets)
            for s, m, d in zip(scores["split"], scores["method"], scores["dataset"], strict=True)
        ],
        index=scores.index,
    )
    real = scores["label"] == "real"
    folds = ~scores["split"].isin(sets)
    # Runs differ in where their logits lie: each leave-out run is ranked by itself. Those of the
    # folds are one recipe and are calibrated together, so they are ranked together; where there are
    # some, they alone say how a method does that was learnt from.
    seen = [scores[folds]] if folds.any() else []
    unseen = []
    for _, part in scores[~folds].groupby("split", sort=True):
        if not folds.any():
            seen.append(part[(real | ~left)[part.index]])
        unseen.append(part[(real | left)[part.index]])
    return _pooled(seen), _pooled(unseen)


def _pooled(parts: Sequence[pd.DataFrame]) -> dict[str, Estimate]:
    """By method, the mean over ``parts``, weighted by media; the interval is the widest that any
    gives. A medium or group that several parts measure counts once."""
    estimates: dict[str, list[Estimate]] = {}
    for part in parts:
        if (part["label"] == "fake").any():
            for method, estimate in method_aucs(part).items():
                estimates.setdefault(method, []).append(estimate)
    if not estimates:
        return {}
    fakes = pd.concat(parts)
    fakes = fakes[fakes["label"] == "fake"]
    media = fakes.groupby("method")["media"].nunique().to_dict()
    groups = fakes.groupby("method")["group"].nunique().to_dict()
    return {
        method: Estimate(
            float(np.average([e.value for e in found], weights=[e.samples for e in found])),
            min(e.low for e in found),
            max(e.high for e in found),
            int(media[method]),
            int(groups[method]),
        )
        for method, found in sorted(estimates.items())
    }


def method_table(seen: Mapping[str, Estimate], left_out: Mapping[str, Estimate]) -> str:
    """Figures by method as a Markdown table, each with its interval and the fakes that it rests on:
    media (groups), * with fewer than ten groups."""
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
    span = f"[{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f}{star} {span} | {estimate.samples} ({estimate.groups})"
