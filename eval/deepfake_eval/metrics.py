"""Metrics with intervals clustered by group: a person, a film or an identity pair counts once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta
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
    effective = min(float(n), n / (sizes**2).sum() * n)
    if 0.0 < value < 1.0:
        sums = np.bincount(codes, weights=hit - value)
        variance = k / (k - 1) * float((sums**2).sum()) / n**2
        if variance > 0.0:
            effective = float(np.clip(value * (1 - value) / variance, min(k, n), n))
    tail = (1.0 - CONFIDENCE) / 2.0
    x = value * effective
    low = 0.0 if x <= 0 else float(beta.ppf(tail, x, effective - x + 1))
    high = 1.0 if x >= effective else float(beta.ppf(1 - tail, x + 1, effective - x))
    return Estimate(value, low, high, n, k)


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
    _, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        picks = rng.integers(len(members), size=len(members))
        values.append(statistic(np.concatenate([members[p] for p in picks])))
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
