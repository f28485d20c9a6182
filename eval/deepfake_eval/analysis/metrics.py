"""Metrics with intervals clustered by group: a person, a film or an identity pair counts once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import sklearn
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import beta, norm, rankdata
from sklearn import metrics as scores
from sklearn.metrics import roc_auc_score

CONFIDENCE = 0.95
BOOTSTRAP_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% interval and what it rests on."""

    value: float
    low: float
    high: float
    samples: int
    groups: int

    def to_json(self) -> dict[str, float | int | None]:
        def plain(x: float) -> float | None:
            return round(x, 4) if np.isfinite(x) else None

        return {
            "value": plain(self.value),
            "low": plain(self.low),
            "high": plain(self.high),
            "samples": self.samples,
            "groups": self.groups,
        }


def rate(hits: ArrayLike, groups: ArrayLike) -> Estimate:
    """Share of true ``hits``, with an exact interval at the effective number of samples.

    ``hits`` is (N,) bool, ``groups`` (N,) labels. The interval is Clopper and Pearson's (1934) on
    N / deff, where deff is the design effect of the clusters (Kish 1965): with one group an
    interval is [0, 1].
    """
    hit = np.asarray(hits, dtype=np.float64)
    names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    n, k = len(hit), len(names)
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0, 0, 0)
    value = float(hit.mean())
    if k == 1:
        return Estimate(value, 0.0, 1.0, n, 1)
    sizes = np.bincount(codes).astype(np.float64)
    # Every hit alike says nothing on the correlation inside groups; assume it whole.
    alike = min(float(n), n / (sizes**2).sum() * n)
    effective = alike
    if 0.0 < value < 1.0:
        sums = np.bincount(codes, weights=hit - value)
        variance = k / (k - 1) * float((sums**2).sum()) / n**2
        if variance > 0.0:
            effective = float(np.clip(value * (1 - value) / variance, min(k, alike), n))
    tail = (1.0 - CONFIDENCE) / 2.0
    x = value * effective
    low = 0.0 if x <= 0 else float(beta.ppf(tail, x, effective - x + 1))
    high = 1.0 if x >= effective else float(beta.ppf(1 - tail, x + 1, effective - x))
    return Estimate(value, low, high, n, k)


def resamples(
    groups: ArrayLike, *, draws: int = BOOTSTRAP_DRAWS, seed: int = 0
) -> Iterator[NDArray[np.intp]]:
    """Row numbers of ``draws`` resamples, each of as many whole groups as there are."""
    _, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        picks = rng.integers(len(members), size=len(members))
        yield np.concatenate([members[p] for p in picks])


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float],
    groups: ArrayLike,
    *,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of ``statistic`` under resampling of whole groups.

    ``statistic`` takes row numbers (with repeats) and may return NaN for a draw it cannot judge,
    for instance one with a single class.
    """
    values = [statistic(rows) for rows in resamples(groups, draws=draws, seed=seed)]
    finite = np.asarray(values)[np.isfinite(values)]
    if not len(finite):
        return float("nan"), float("nan")
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(finite, [tail, 1.0 - tail])
    return float(low), float(high)


def auc(
    truth: ArrayLike, scores: ArrayLike, groups: ArrayLike, *, draws: int = BOOTSTRAP_DRAWS
) -> Estimate:
    """Area under the ROC curve; ``truth`` 1 = manipulated; NaN where a class is missing."""
    y, s, g = np.asarray(truth), np.asarray(scores, dtype=np.float64), np.asarray(groups)

    def area(rows: NDArray[np.intp]) -> float:
        chosen = y[rows]
        if chosen.min() == chosen.max():
            return float("nan")
        return float(roc_auc_score(chosen, s[rows]))

    if len(y) == 0 or y.min() == y.max():
        return Estimate(float("nan"), float("nan"), float("nan"), len(y), len(np.unique(g)))
    low, high = bootstrap(area, g, draws=draws)
    return Estimate(area(np.arange(len(y))), low, high, len(y), len(np.unique(g)))


FIGURES = (
    "auc",
    "average_precision",
    "eer",
    "accuracy",
    "balanced_accuracy",
    "tpr_at_1_fpr",
    "tpr_at_5_fpr",
    "ece",
)
"""What ``panel`` measures, in its order."""

ECE_BINS = 15
"""Bins of equal width, as in Guo et al. 2017."""


def equal_error_rate(fpr: NDArray[np.float64], tpr: NDArray[np.float64]) -> float:
    """Where false positive and false negative rate meet on the linearly joined ROC curve."""
    return float(brentq(lambda x: 1.0 - x - np.interp(x, fpr, tpr), 0.0, 1.0))


def tpr_at(fpr: NDArray[np.float64], tpr: NDArray[np.float64], limit: float) -> float:
    """Highest TPR of a threshold whose FPR is at most ``limit``; nothing is interpolated."""
    return float(tpr[fpr <= limit].max(initial=0.0))


def calibration_bins(
    truth: ArrayLike, score: ArrayLike, *, prior: float = 0.5, bins: int = ECE_BINS
) -> list[tuple[float, float, float]]:
    """Per occupied bin of ``score``: its mean, the share of fakes in it, and its weight.

    Samples are weighted so that fakes make up ``prior`` of the whole, because that is the prior at
    which scores are stated; a data set's own share of fakes is its collectors' choice.
    """
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(score, dtype=np.float64)
    fakes, reals = float(y.sum()), float(len(y) - y.sum())
    weight = np.where(y == 1, prior / max(fakes, 1.0), (1.0 - prior) / max(reals, 1.0))
    index = np.minimum((p * bins).astype(int), bins - 1)
    total = np.bincount(index, weight, bins)
    means = np.bincount(index, weight * p, bins)
    shares = np.bincount(index, weight * y, bins)
    return [
        (float(means[b] / total[b]), float(shares[b] / total[b]), float(total[b]))
        for b in np.flatnonzero(total)
    ]


def expected_calibration_error(
    truth: ArrayLike, score: ArrayLike, *, prior: float = 0.5, bins: int = ECE_BINS
) -> float:
    """Mean gap between score and share of fakes (Naeini et al. 2015), weighted to ``prior``."""
    return sum(w * abs(m - s) for m, s, w in calibration_bins(truth, score, prior=prior, bins=bins))


def _figures(
    y: NDArray[np.intp], rank: NDArray[np.float64], score: NDArray[np.float64], prior: float
) -> NDArray[np.float64]:
    """``FIGURES`` of one sample; rows whose ``rank`` is NaN were not scored."""
    judged = np.isfinite(rank)
    truth, ranked, scored = y[judged], rank[judged], score[judged]
    if len(truth) == 0 or truth.min() == truth.max():
        return np.full(len(FIGURES), np.nan)
    fpr, tpr, _ = scores.roc_curve(truth, ranked)
    # A fake that was not scored is missed at every threshold.
    found = float(truth.sum() / y.sum())
    guess = (scored >= 0.5).astype(int)
    return np.array(
        [
            scores.auc(fpr, tpr),
            scores.average_precision_score(truth, ranked),
            equal_error_rate(fpr, tpr),
            scores.accuracy_score(truth, guess),
            scores.balanced_accuracy_score(truth, guess),
            tpr_at(fpr, tpr, 0.01) * found,
            tpr_at(fpr, tpr, 0.05) * found,
            expected_calibration_error(truth, scored, prior=prior),
        ]
    )


def panel(
    truth: ArrayLike,
    rank: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike,
    *,
    prior: float = 0.5,
    draws: int = BOOTSTRAP_DRAWS,
) -> dict[str, Estimate]:
    """Every figure of ``FIGURES`` with its interval.

    ``truth`` (N,) 1 = manipulated; ``rank`` (N,) orders samples, NaN where not scored; ``score``
    (N,) in [0, 1] is the calibrated score, of which accuracy (at 0.5) and ECE are taken. AUC,
    average precision, EER, accuracy and ECE are those of scored samples; in ``tpr_at_*`` a fake
    that was not scored counts as missed. Intervals are NaN with fewer than two groups, and figures
    where a class is missing.
    """
    y = np.asarray(truth, dtype=np.intp)
    r, p = np.asarray(rank, dtype=np.float64), np.asarray(score, dtype=np.float64)
    g = np.asarray(groups).astype(str)
    judged = np.isfinite(r)
    samples, count = int(judged.sum()), len(np.unique(g[judged]))
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        value = _figures(y, r, p, prior)
        low = high = np.full(len(FIGURES), np.nan)
        if count > 1 and np.isfinite(value).all():
            drawn = np.stack([_figures(y[i], r[i], p[i], prior) for i in resamples(g, draws=draws)])
            drawn = drawn[np.isfinite(drawn[:, 0])]
            if len(drawn):
                tail = (1.0 - CONFIDENCE) / 2.0
                low, high = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
    return {
        name: Estimate(float(value[i]), float(low[i]), float(high[i]), samples, count)
        for i, name in enumerate(FIGURES)
    }


def worst_case_auc(truth: ArrayLike, rank: ArrayLike) -> float:
    """AUC if every fake not scored ranked lowest and every real not scored ranked highest.

    What abstaining cannot improve: a bundle that judges easy media alone gains nothing by it.
    """
    y, r = np.asarray(truth, dtype=np.intp), np.asarray(rank, dtype=np.float64)
    if len(y) == 0 or y.min() == y.max():
        return float("nan")
    known = r[np.isfinite(r)]
    top, bottom = (known.max() + 1.0, known.min() - 1.0) if len(known) else (1.0, 0.0)
    return float(roc_auc_score(y, np.where(np.isfinite(r), r, np.where(y == 1, bottom, top))))


@dataclass(frozen=True, slots=True)
class DeLong:
    """DeLong's test of two correlated AUCs. ``p_value`` is two-sided."""

    auc_a: float
    auc_b: float
    z: float
    p_value: float


def delong(truth: ArrayLike, a: ArrayLike, b: ArrayLike) -> DeLong:
    """Compare two AUCs on the same samples (DeLong et al. 1988; midranks as Sun and Xu 2014).

    ``truth`` (N,) 1 = manipulated; ``a`` and ``b`` (N,) rank the same samples. The test takes
    samples for independent: where groups hold several, the clustered bootstrap is the one to trust.
    Raises ``ValueError`` when a class has fewer than two samples.
    """
    y = np.asarray(truth, dtype=np.intp)
    m, n = int((y == 1).sum()), int((y == 0).sum())
    if m < 2 or n < 2:
        raise ValueError("each class needs at least two samples")
    positive, negative, areas = [], [], []
    for ranks in (np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)):
        fakes, reals = ranks[y == 1], ranks[y == 0]
        both = rankdata(np.concatenate([fakes, reals]))
        positive.append((both[:m] - rankdata(fakes)) / n)
        negative.append(1.0 - (both[m:] - rankdata(reals)) / m)
        areas.append(float(positive[-1].mean()))
    covariance = np.cov(np.stack(positive)) / m + np.cov(np.stack(negative)) / n
    variance = float(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1])
    difference = areas[0] - areas[1]
    if variance <= 0.0:
        z = 0.0 if difference == 0.0 else float(np.copysign(np.inf, difference))
    else:
        z = difference / variance**0.5
    return DeLong(areas[0], areas[1], z, float(2.0 * norm.sf(abs(z))))
