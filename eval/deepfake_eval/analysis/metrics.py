"""Metrics of rankings, probabilities and verdicts, with the intervals of ``intervals``.

Labels are 1 or true for manipulated and 0 for real.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from deepfake_eval.analysis import intervals
from deepfake_models.bundle.results import ReasonCode, VerdictCode, input_at_fault


def auc_value(truth: NDArray[Any], scores: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve as the Mann-Whitney statistic; NaN if a class is missing.

    ``truth`` is (N,) of bool or 0 and 1, 1 for manipulated; ``scores`` is (N,). The value equals
    ``roc_auc_score`` of scikit-learn and takes a fiftieth of its time where N is small, which
    matters in a bootstrap.
    """
    fake = truth == 1
    fakes, reals = np.sort(scores[fake]), np.sort(scores[~fake])
    pairs = len(fakes) * len(reals)
    if pairs == 0:
        return float("nan")
    above = reals.searchsorted(fakes).sum()
    level_or_above = reals.searchsorted(fakes, side="right").sum()
    return float(above + level_or_above) / (2 * pairs)


def auc(
    truth: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    *,
    less: ArrayLike | None = None,
    draws: int = intervals.BOOTSTRAP_DRAWS,
) -> intervals.Estimate:
    """Estimate the area under the ROC curve, or with ``less`` its difference from the area of these
    other scores (N,); NaN if a class is missing.

    ``truth`` is (N,), 1 for manipulated; ``scores`` is (N,), higher for more suspect. The interval
    is the percentile one under resampling of whole groups. There is none (NaN) if either class has
    fewer than two groups: resampling could only vary the other one, and the interval would be too
    narrow. Nor is there one where all resamples agree (see ``intervals.interval``). Resamples with
    a single class are ignored.
    """
    y, s = np.asarray(truth), np.asarray(scores, dtype=np.float64)
    other = None if less is None else np.asarray(less, dtype=np.float64)

    def area(rows: NDArray[np.intp]) -> float:
        value = auc_value(y[rows], s[rows])
        return value if other is None else value - auc_value(y[rows], other[rows])

    fewest, low, high = intervals.fewest_groups(y, groups), float("nan"), float("nan")
    if fewest > 1:
        drawn = np.asarray([area(rows) for rows in intervals.resamples(groups, draws=draws)])
        low, high = (float(end) for end in intervals.interval(drawn[~np.isnan(drawn)]))
    count = len(np.unique(np.asarray(groups).astype(str)))
    return intervals.Estimate(area(np.arange(len(y))), low, high, len(y), count, fewest)


FPR_LIMITS = {"tpr_at_5_fpr": 0.05, "tpr_at_1_fpr": 0.01, "tpr_at_01_fpr": 0.001}
"""The figures that are a TPR, and the FPR that none of their thresholds exceeds. They are given if
one of the scored reals is no more than that share: from 20, 100 and 1,000 reals on."""
RANKED = {
    "auc": "AUC",
    "average_precision": "AP",
    "eer": "EER",
    "tpr_at_5_fpr": "TPR@5%",
    "tpr_at_1_fpr": "TPR@1%",
    "tpr_at_01_fpr": "TPR@0.1%",
}
"""The figures that need no calibrated score, and their headings in tables."""
TITLES = {**RANKED, "accuracy": "accuracy at 0.5", "ece": "ECE"}
FIGURES = tuple(TITLES)
"""The figures that ``panel`` returns, in order."""

ECE_BINS = 15
"""Number of score bins, all of one width, as in Guo et al. 2017."""


def threshold_counts(
    truth: NDArray[Any], rank: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how many reals and how many fakes are at or above each threshold.

    The thresholds are the values of ``rank``, the highest first, each of them once. Before them is
    one that nothing reaches. ``truth`` is (N,), 1 for manipulated.
    """
    order = np.argsort(-rank, kind="stable")
    found = np.cumsum(truth[order] == 1)
    last_of_value = np.append(np.diff(rank[order]) != 0.0, True)
    ends = np.flatnonzero(last_of_value)
    fakes = np.append(0.0, found[ends])
    return np.append(0.0, ends + 1.0) - fakes, fakes


def roc(
    truth: NDArray[Any], rank: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the false and true positive rates of every threshold of ``threshold_counts``.

    Both classes must occur.
    """
    reals, fakes = threshold_counts(truth, rank)
    return reals / reals[-1], fakes / fakes[-1]


def equal_error_rate(fpr: NDArray[np.float64], tpr: NDArray[np.float64]) -> float:
    """Return the rate at which false positives and false negatives are equally frequent.

    The points of the ROC curve, from (0, 0) to (1, 1), are joined by straight lines.
    """
    excess = fpr + tpr - 1.0  # of false positives over false negatives; it never falls
    after = int(np.argmax(excess >= 0.0))
    before = after - 1
    part = -excess[before] / (excess[after] - excess[before])
    return float(fpr[before] + part * (fpr[after] - fpr[before]))


def tpr_at(fpr: NDArray[np.float64], tpr: NDArray[np.float64], limit: float) -> float:
    """Return the highest TPR of any threshold whose FPR is at most ``limit``, not interpolated."""
    return float(tpr[fpr <= limit].max(initial=0.0))


def calibration_bins(
    truth: ArrayLike, score: ArrayLike, *, prior: float = 0.5
) -> list[tuple[float, float, float]]:
    """Return the mean score, the share of fakes and the weight of each bin that is not empty.

    ``truth`` is (N,), 1 for manipulated; ``score`` is (N,) in [0, 1]. Samples are weighted so that
    fakes make up ``prior`` of the total, the prior at which scores are calibrated. The share of
    fakes in a data set is an accident of how it was collected.
    """
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(score, dtype=np.float64)
    fakes, reals = float(y.sum()), float(len(y) - y.sum())
    weight = np.where(y == 1, prior / max(fakes, 1.0), (1.0 - prior) / max(reals, 1.0))
    index = np.minimum((p * ECE_BINS).astype(int), ECE_BINS - 1)
    total = np.bincount(index, weight, ECE_BINS)
    means = np.bincount(index, weight * p, ECE_BINS)
    shares = np.bincount(index, weight * y, ECE_BINS)
    return [
        (float(means[b] / total[b]), float(shares[b] / total[b]), float(total[b]))
        for b in np.flatnonzero(total)
    ]


def expected_calibration_error(truth: ArrayLike, score: ArrayLike, *, prior: float = 0.5) -> float:
    """Return the mean gap between score and share of fakes (Naeini et al. 2015).

    Classes are weighted to ``prior`` as in ``calibration_bins``.
    """
    return sum(w * abs(m - s) for m, s, w in calibration_bins(truth, score, prior=prior))


def sample_figures(
    y: NDArray[np.intp], rank: NDArray[np.float64], score: NDArray[np.float64], prior: float
) -> NDArray[np.float64]:
    """Return ``FIGURES`` for one sample. Rows whose ``rank`` is NaN were not scored.

    In ``tpr_at_*`` a fake that was not scored counts as missed; other figures cover scored rows.
    Accuracy (at 0.5) and ECE are NaN unless every scored row has a calibrated ``score``.
    """
    judged = np.isfinite(rank)
    truth, ranked, scored = y[judged], rank[judged], score[judged]
    if len(truth) == 0 or truth.min() == truth.max():
        return np.full(len(FIGURES), np.nan)
    reals, fakes = threshold_counts(truth, ranked)
    fpr, tpr = reals / reals[-1], fakes / fakes[-1]
    precision = fakes[1:] / (reals[1:] + fakes[1:])
    # A fake that was not scored is missed at every threshold.
    scored_share = float(truth.sum() / y.sum())
    calibrated = bool(np.isfinite(scored).all())
    right = (scored >= 0.5) == (truth == 1)
    return np.array(
        [
            float(np.diff(fpr) @ (tpr[1:] + tpr[:-1])) / 2.0,
            float(np.diff(tpr) @ precision),
            equal_error_rate(fpr, tpr),
            *(tpr_at(fpr, tpr, limit) * scored_share for limit in FPR_LIMITS.values()),
            right.mean() if calibrated else np.nan,
            expected_calibration_error(truth, scored, prior=prior) if calibrated else np.nan,
        ]
    )


def panel(
    truth: ArrayLike,
    rank: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike,
    *,
    prior: float = 0.5,
    draws: int = intervals.BOOTSTRAP_DRAWS,
) -> dict[str, intervals.Estimate]:
    """Estimate every figure in ``FIGURES`` (see ``sample_figures``).

    ``truth`` is (N,), 1 for manipulated; ``rank`` (N,) orders the samples; ``score`` (N,) is the
    calibrated score in [0, 1], or NaN. Intervals are NaN if a class was scored in fewer than two
    groups, and figures if a class is missing, or of ``FPR_LIMITS`` if too few reals were scored.
    """
    y = np.asarray(truth, dtype=np.intp)
    r, p = np.asarray(rank, dtype=np.float64), np.asarray(score, dtype=np.float64)
    g = np.asarray(groups).astype(str)
    judged = np.isfinite(r)
    samples, count = int(judged.sum()), len(np.unique(g[judged]))
    value = sample_figures(y, r, p, prior)
    low, high = np.full((2, len(FIGURES)), np.nan)
    if intervals.fewest_groups(y[judged], g[judged]) > 1:
        drawn = np.stack(
            [sample_figures(y[i], r[i], p[i], prior) for i in intervals.resamples(g, draws=draws)]
        )
        low, high = intervals.interval(drawn[np.isfinite(drawn[:, 0])])
    few = [int((y[judged] == 0).sum()) * FPR_LIMITS.get(name, 1.0) < 1.0 for name in FIGURES]
    value[few] = low[few] = high[few] = np.nan
    return {
        name: intervals.Estimate(float(value[i]), float(low[i]), float(high[i]), samples, count)
        for i, name in enumerate(FIGURES)
    }


def worst_case_auc(truth: ArrayLike, rank: ArrayLike) -> float:
    """Return the AUC if unscored fakes ranked lowest and unscored reals ranked highest.

    Abstaining cannot improve this figure: a bundle gains nothing by judging only easy media.
    NaN if a class is missing.
    """
    y, r = np.asarray(truth, dtype=np.intp), np.asarray(rank, dtype=np.float64)
    known = r[np.isfinite(r)]
    top, bottom = (known.max() + 1.0, known.min() - 1.0) if len(known) else (1.0, 0.0)
    return auc_value(y, np.where(np.isfinite(r), r, np.where(y == 1, bottom, top)))


OUTCOMES = ("flagged", "cleared", "inconclusive", "not_judged", "failed")
"""What can happen to an item. The first three were scored; all but the first two abstain."""


def outcome(items: pd.DataFrame) -> pd.Series:
    """Return which of ``OUTCOMES`` each item has, from its ``verdict`` and ``reason``."""
    verdict = items["verdict"]
    failures = [str(code) for code in ReasonCode if input_at_fault(code)]
    chosen = np.select(
        [
            verdict == VerdictCode.LIKELY_MANIPULATED,
            verdict == VerdictCode.NO_MANIPULATION_FOUND,
            verdict == VerdictCode.INCONCLUSIVE,
            items["reason"].isin(failures),
        ],
        ["flagged", "cleared", "inconclusive", "failed"],
        "not_judged",
    )
    return pd.Series(chosen, index=items.index)


def coverage(items: pd.DataFrame, min_groups: int) -> dict[str, Any]:
    """Count how many ``items`` were scored, decided, not judged or failed, and why.

    ``items`` are rows of level ``item`` from ``predictions.assemble``. ``reasons`` lists why items
    were not decided, most frequent first.
    """
    outcomes = outcome(items)
    decided = outcomes.isin(["flagged", "cleared"])
    reasons = items.loc[~decided, "reason"].dropna().value_counts()
    return {
        "media": len(items),
        "scored": int(items["rank"].notna().sum()),
        **{name: int((outcomes == name).sum()) for name in OUTCOMES},
        "decided_rate": intervals.rate(decided, items["group"]).to_json(min_groups=min_groups),
        "reasons": {str(k): int(v) for k, v in reasons.items()},
    }
