"""What the levels share: placing a value between thresholds, and a track's value from faces'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepfake_models.bundle import BundleSpec
from deepfake_models.spec import LevelThresholds
from deepfake_models.verdict import FaceScore, Reason, ReasonCode, VerdictCode


def decide(log10_ratio: float, thresholds: LevelThresholds) -> VerdictCode:
    """Place a log10 likelihood ratio on one level's scale."""
    if log10_ratio >= thresholds.likely_manipulated:
        return VerdictCode.LIKELY_MANIPULATED
    if log10_ratio < thresholds.no_manipulation_found:
        return VerdictCode.NO_MANIPULATION_FOUND
    return VerdictCode.INCONCLUSIVE


def time_weighted_mean(times: Sequence[float], values: Sequence[float], cap_s: float) -> float:
    """Mean of ``values``, each weighted by the time it stands for.

    A value stands for half the way to each neighbour; at an end the only neighbour counts twice.
    Gaps count for at most ``cap_s`` seconds. So a denser look at one moment does not outvote the
    rest of the track. ``times`` ascend.
    """
    if len(values) == 1:
        return float(values[0])
    gaps = np.minimum(np.diff(np.asarray(times, dtype=np.float64)), cap_s)
    before = np.concatenate([gaps[:1], gaps])
    after = np.concatenate([gaps, gaps[-1:]])
    weights = before + after
    if weights.sum() <= 0.0:
        weights = np.ones(len(values))
    return float(np.average(np.asarray(values, dtype=np.float64), weights=weights))


def track_value(judged: Sequence[FaceScore], spec: BundleSpec) -> float:
    """A track's value before calibration, from its judged faces in time order."""
    return time_weighted_mean(
        [f.time_s for f in judged],
        [f.logit for f in judged if f.logit is not None],
        spec.sampling.interval_s,
    )


def band_reason(code: VerdictCode, ratio: float, thresholds: LevelThresholds) -> tuple[Reason, ...]:
    """The reason of a value between the thresholds; none for a decided one."""
    if code is not VerdictCode.INCONCLUSIVE:
        return ()
    return (
        Reason(
            ReasonCode.BETWEEN_THRESHOLDS,
            f"log10 likelihood ratio {ratio:+.2f} lies between "
            f"{thresholds.no_manipulation_found:+.2f} and {thresholds.likely_manipulated:+.2f}, "
            "where the error rates are too high to decide",
        ),
    )
