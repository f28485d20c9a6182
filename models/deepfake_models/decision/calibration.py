"""Turn raw values into log10 likelihood ratios by a fitted calibration, and those into scores."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deepfake_models.bundle.spec import Calibration

LN10 = math.log(10.0)


def log_likelihood_ratio(raw: float, calibration: Calibration) -> float:
    """Return log10 of the likelihood ratio "manipulated" : "not manipulated" for ``raw``.

    Affine in ``raw`` (Platt 1999; Brümmer and de Villiers 2013) and clipped to
    ``± calibration.limit``: no finite set of held-out material supports stronger evidence than
    about one over its size (Vergeer et al. 2016, "Numerical likelihood ratios outputted by LR
    systems are often based on extrapolation").
    """
    value = uncapped_log_likelihood_ratio(raw, calibration)
    return min(max(value, -calibration.limit), calibration.limit)


def uncapped_log_likelihood_ratio(raw: float, calibration: Calibration) -> float:
    """Return ``log_likelihood_ratio`` without its limit.

    For ranking alone: beyond the limit the values order clear cases, but the held-out material
    does not support them as evidence.
    """
    return (calibration.slope * raw + calibration.intercept) / LN10


def mean_log_likelihood_ratio(log10_ratios: Sequence[float]) -> float:
    """Return log10 of the mean of likelihood ratios, which are given as log10; at least one.

    This is the likelihood ratio of "one of n people is manipulated", where each is equally likely
    to be the one.
    """
    highest = max(log10_ratios)
    total = sum(10.0 ** (r - highest) for r in log10_ratios)
    return highest + math.log10(total / len(log10_ratios))


def probability(log10_ratio: float, prior: float) -> float:
    """Return the posterior probability in (0, 1) of "manipulated" at ``prior`` in (0, 1)."""
    log_odds = log10_ratio * LN10 + math.log(prior / (1.0 - prior))
    # One branch for each sign, so that exp never overflows.
    if log_odds >= 0.0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    return math.exp(log_odds) / (1.0 + math.exp(log_odds))
