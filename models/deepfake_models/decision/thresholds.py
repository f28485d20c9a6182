"""The comparison of a calibrated value with the thresholds of its level."""

from __future__ import annotations

from deepfake_models.bundle.results import Leaning, Reason, ReasonCode, VerdictCode
from deepfake_models.bundle.spec import LevelThresholds


def decide(log10_ratio: float, thresholds: LevelThresholds) -> VerdictCode:
    """Return the verdict on a log10 likelihood ratio by the thresholds of its level."""
    if log10_ratio >= thresholds.likely_manipulated:
        return VerdictCode.LIKELY_MANIPULATED
    if log10_ratio < thresholds.no_manipulation_found:
        return VerdictCode.NO_MANIPULATION_FOUND
    return VerdictCode.INCONCLUSIVE


def lean(log10_ratio: float, thresholds: LevelThresholds) -> Leaning | None:
    """Return which way a log10 likelihood ratio leans; ``None`` if its level has no edges."""
    edges = thresholds.leaning
    if edges is None:
        return None
    if log10_ratio >= edges.towards_manipulated:
        return Leaning.TOWARDS_MANIPULATED
    if log10_ratio < edges.towards_untouched:
        return Leaning.TOWARDS_UNTOUCHED
    return Leaning.NEITHER


def band_reason(code: VerdictCode, ratio: float, thresholds: LevelThresholds) -> tuple[Reason, ...]:
    """Return the reason of a value between the thresholds; empty for a decided one."""
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
