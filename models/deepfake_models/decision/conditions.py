"""The value of a track, and the conditions under which error rates are known.

The rules for faces, tracks and items share these. On the texts of reasons see ``abstention``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import Face, Quality, Reason, ReasonCode, VerdictCode
from deepfake_models.bundle.spec import ConditionBin, ConditionsSpec
from deepfake_models.decision.thresholds import decide


def time_weighted_mean(times: Sequence[float], values: Sequence[float], cap_s: float) -> float:
    """Return the mean of ``values``, each weighted by the time that it represents.

    A value represents half of the gap to each of its neighbours; at either end the only gap counts
    twice. Gaps count for at most ``cap_s`` seconds. So the denser pass over one moment does not
    outvote the rest of the track. ``times``, in seconds, ascend.
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


def track_logit(times: Sequence[float], logits: Sequence[float], spec: BundleSpec) -> float:
    """Return a track's value before calibration, from the logits of its judged faces.

    ``times``, in seconds, ascend; there is one logit for each, and at least one.
    """
    return time_weighted_mean(times, logits, spec.sampling.interval_s)


def track_value(judged: Sequence[Face], spec: BundleSpec) -> float:
    """Return ``track_logit`` of a track's judged faces, which are in time order."""
    logits = [f.logit for f in judged if f.logit is not None]
    return track_logit([f.time_s for f in judged], logits, spec)


def looks_manipulated(face: Face, spec: BundleSpec) -> bool:
    """Return whether a face's value alone is ``likely_manipulated``, whatever its condition.

    Doubts about ``no_manipulation_found`` use this: a face that may not be decided on is no less
    suspect.
    """
    ratio = face.log_likelihood_ratio
    if ratio is None:
        return False
    return decide(ratio, spec.thresholds.face) is VerdictCode.LIKELY_MANIPULATED


def unmeasured(quality: Quality, conditions: ConditionsSpec) -> tuple[Reason, ...]:
    """Return why a face of this width and sharpness may not be decided on; empty where it may.

    The bin is found by the rounded measurements that results show, so that a reader finds the same.
    """
    shown = quality.to_json()
    condition = condition_of(shown["face_px"], shown["sharpness"], conditions)
    if condition is None:
        return ()
    row, column, measured = condition
    real, fake = measured.false_positive_rate.groups, measured.true_positive_rate.groups
    if min(real, fake) >= conditions.min_groups:
        return ()
    return (
        Reason(
            ReasonCode.UNMEASURED_CONDITION,
            f"faces of {_span(conditions.face_px_edges, row)} px and sharpness "
            f"{_span(conditions.sharpness_edges, column)}: error rates were measured on {real} "
            f"real and {fake} manipulated groups; {conditions.min_groups} of each are needed",
        ),
    )


def condition_of(
    face_px: float, sharpness: float, conditions: ConditionsSpec
) -> tuple[int, int, ConditionBin] | None:
    """Return the row, the column and the content of a face's bin; ``None`` without bins."""
    if not conditions.bins:
        return None
    row = bisect_right(conditions.face_px_edges, face_px)
    column = bisect_right(conditions.sharpness_edges, sharpness)
    return row, column, conditions.bins[row][column]


def _span(edges: Sequence[float], index: int) -> str:
    """Describe bin ``index`` of those that ``edges``, at least one, separate."""
    if index == 0:
        return f"under {edges[0]:g}"
    if index == len(edges):
        return f"{edges[-1]:g} or more"
    return f"{edges[index - 1]:g} to {edges[index]:g}"
