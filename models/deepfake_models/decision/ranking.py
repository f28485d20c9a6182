"""Values by which items can be ranked: log-likelihood ratios before their limits.

``Verdict.log_likelihood_ratio`` stops at what the fitting material supports, so clear cases tie.
A ROC curve needs their order. The two agree wherever no limit was reached.
"""

from __future__ import annotations

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import Verdict
from deepfake_models.decision.calibration import (
    LN10,
    mean_log_likelihood_ratio,
    uncapped_log_likelihood_ratio,
)
from deepfake_models.decision.conditions import track_value


def uncapped_item_ratio(verdict: Verdict, spec: BundleSpec) -> float | None:
    """Return an item's log10 likelihood ratio with no limit applied at any level.

    ``None`` where the item has no score.
    """
    if verdict.log_likelihood_ratio is None or verdict.media is None:
        return None
    still = verdict.media.kind == "image"
    calibration = spec.calibration.face if still else spec.calibration.track
    ratios = []
    for track in verdict.tracks:
        faces = [f for f in verdict.faces if f.track == track.track and f.logit is not None]
        if track.log_likelihood_ratio is not None and faces:
            raw = track_value(faces, spec)
            ratios.append(uncapped_log_likelihood_ratio(raw, calibration))
    mean = mean_log_likelihood_ratio(ratios)
    return mean if still else uncapped_log_likelihood_ratio(mean * LN10, spec.calibration.item)
