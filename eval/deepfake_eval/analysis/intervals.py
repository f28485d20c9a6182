"""Confidence intervals that are clustered by group.

A group is a person, a film or a pair of identities; media of one group are not independent samples.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit
from scipy.stats import beta, norm, rankdata

CONFIDENCE = 0.95
NO_INTERVAL = (
    "A figure without an interval, such as a perfect AUC, is still uncertain: all resamples gave "
    "the same value, or a class has fewer than two groups."
)
BOOTSTRAP_DRAWS = 1000
_CORRELATION = 0.1


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% confidence interval and the size of the sample behind it.

    ``fewest`` is the number of groups of the class that has fewer, where classes are compared.
    """

    value: float
    low: float
    high: float
    samples: int
    groups: int
    fewest: int | None = None

    def to_json(self, *, min_groups: int | None = None) -> dict[str, Any]:
        """Return the figure rounded to four decimals, with ``None`` for what is not finite.

        With ``min_groups``, add ``indicative``: true if the figure rests on fewer groups, of either
        class where they are compared.
        """

        def plain(x: float) -> float | None:
            return round(x, 4) if np.isfinite(x) else None

        entry = {
            "value": plain(self.value),
            "low": plain(self.low),
            "high": plain(self.high),
            "samples": self.samples,
            "groups": self.groups,
        }
        if min_groups is None:
            return entry
        decisive = self.groups if self.fewest is None else self.fewest
        return {**entry, "indicative": decisive < min_groups}


def limited_weights(groups: ArrayLike) -> NDArray[np.float64]:
    """Return weights (N,) with which a group counts at most as ten independent samples.

    They are those that a correlation of 0.1 within groups gives (the design effect of Kish 1965):
    one page of sixty clips says less about other pages than sixty pages of one.
    """
    _, codes, sizes = np.unique(
        np.asarray(groups).astype(str), return_inverse=True, return_counts=True
    )
    weights: NDArray[Any] = 1.0 / (1.0 + _CORRELATION * (sizes[codes] - 1))
    return weights


def rate(hits: ArrayLike, groups: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
    """Estimate the mean of ``hits``, with an interval that respects the groups.

    ``hits`` is (N,) of bool, or of shares in [0, 1] for samples that are hit in part; ``groups`` is
    (N,) labels, and ``weights`` (N,) are those of the samples, by default equal. The interval is
    the exact binomial one (Clopper and Pearson 1934) for N / deff samples, where deff is the design
    effect of the clusters (Kish 1965). The design effect is at least that of the weights, so that
    shares, which vary less than bools, never count as more than N samples. Because the design
    effect is itself an estimate, N / deff is lowered as Korn and Graubard (1998) do it. Their
    degrees of freedom are those of as many groups of equal size as would give the same variance: a
    few large groups among many small ones say little about how much groups differ. A single group
    gives the interval [0, 1].
    """
    hit = np.asarray(hits, dtype=np.float64)
    names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    n, k = len(hit), len(names)
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0, 0, 0)
    w: NDArray[Any] = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    value = float(np.average(hit, weights=w))
    if k == 1:
        return Estimate(value, 0.0, 1.0, n, 1)
    sizes = np.bincount(codes, weights=w)
    tail = (1.0 - CONFIDENCE) / 2.0
    # If all hits are equal, the correlation within groups cannot be estimated: assume it is full.
    alike = float(w.sum() ** 2 / (sizes**2).sum())
    effective = alike
    if 0.0 < value < 1.0:
        sums = np.bincount(codes, weights=w * (hit - value))
        variance = k / (k - 1) * float((sums**2).sum()) / float(w.sum() ** 2)
        # Groups with equal shares of hits have no variance, or what rounding leaves of it.
        worth = value * (1 - value) / variance if variance > 0.0 else np.inf
        freedom = max(alike - 1.0, 1.0)
        doubt = float(stdtrit(n - 1, tail) / stdtrit(freedom, tail)) ** 2
        apart = float(w.sum() ** 2 / (w**2).sum())
        effective = float(np.clip(worth * doubt, min(alike, apart), apart))
    x = value * effective
    low = 0.0 if x <= 0 else float(beta.ppf(tail, x, effective - x + 1))
    high = 1.0 if x >= effective else float(beta.ppf(1 - tail, x + 1, effective - x))
    return Estimate(value, low, high, n, k)


def resamples(
    groups: ArrayLike, *, draws: int = BOOTSTRAP_DRAWS, stream: str = ""
) -> Iterator[NDArray[np.intp]]:
    """Yield the row numbers of ``draws`` bootstrap samples.

    Each sample draws whole groups with replacement, as many as there are in ``groups``. Samples of
    another ``stream`` are independent, also of as many groups.
    """
    _, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    rng = np.random.default_rng(zlib.crc32(stream.encode()))
    for _ in range(draws):
        picks = rng.integers(len(members), size=len(members))
        yield np.concatenate([members[p] for p in picks])


def interval(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return both ends of the percentile interval of resampled figures (B, ...).

    They are NaN without resamples, and where both ends are equal: resampling cannot leave a perfect
    AUC, which 14 media of each class reach in one of forty tries if the true one is .92.
    """
    if not len(drawn):
        return np.full((2, *drawn.shape[1:]), np.nan)
    tail = (1.0 - CONFIDENCE) / 2.0
    ends = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
    return np.where(ends[0] == ends[1], np.nan, ends)


def p_value(difference: Estimate) -> float:
    """Return the two-sided p-value of a difference, by a normal distribution with the width of its
    interval; 1 without an interval."""
    if not np.isfinite(difference.low):
        return 1.0
    spread = (difference.high - difference.low) / (2.0 * norm.ppf((1.0 + CONFIDENCE) / 2.0))
    return float(2.0 * norm.sf(abs(difference.value) / spread))


def delong_p_value(truth: ArrayLike, first: ArrayLike, second: ArrayLike) -> float:
    """Return the two-sided p-value of a difference between the AUCs of two scores (N,) of the same
    independent media (DeLong, DeLong and Clarke-Pearson 1988), by midranks (Sun and Xu 2014).

    ``truth`` is (N,), 1 for manipulated. It is NaN if a class has fewer than two media, or the
    scores rank alike.
    """
    fake = np.asarray(truth) == 1
    placed = []
    for scores in map(np.asarray, (first, second)):
        among = rankdata(scores)
        beaten = (among[fake] - rankdata(scores[fake])) / (~fake).sum()
        beating = 1.0 - (among[~fake] - rankdata(scores[~fake])) / fake.sum()
        placed.append((beaten, beating))
    parts = [one - other for one, other in zip(*placed, strict=True)]
    variance = sum(part.var(ddof=1) / len(part) if len(part) > 1 else np.nan for part in parts)
    if not variance > 0.0:
        return float("nan")
    return float(2.0 * norm.sf(abs(parts[0].mean()) / np.sqrt(variance)))


def fewest_groups(truth: ArrayLike, groups: ArrayLike) -> int:
    """Return the number of groups of the class that has fewer of them; 0 if a class is missing.

    ``truth`` is (N,), 1 for manipulated.
    """
    y, g = np.asarray(truth), np.asarray(groups).astype(str)
    return min(len(np.unique(g[y == label])) for label in (0, 1))
