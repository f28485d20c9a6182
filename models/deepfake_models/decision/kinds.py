"""The kinds of manipulation that a suspect face, track or item resembles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import Face, Leaning, VerdictCode
from deepfake_models.decision.conditions import time_weighted_mean


def shows_kinds(verdict: VerdictCode, leaning: Leaning | None) -> bool:
    """Return whether a verdict comes with kinds: only where manipulation is suspected."""
    return verdict is VerdictCode.LIKELY_MANIPULATED or leaning is Leaning.TOWARDS_MANIPULATED


def kind_shares(judged: Sequence[Face], spec: BundleSpec) -> dict[str, float] | None:
    """Return the share of each kind, 0 to 1, in the order of ``spec.kinds``; they sum to 1.

    The shares are the softmax of the faces' mean logits, each face weighted as in the value of a
    track. ``judged`` are a track's faces with a logit, in time order. ``None`` if the bundle tells
    no kinds apart, or a face does not have one logit for each.
    """
    rows = [f.kind_logits for f in judged if f.kind_logits is not None]
    if not spec.kinds or not rows or len(rows) < len(judged):
        return None
    if any(len(row) != len(spec.kinds) for row in rows):
        return None
    times = [f.time_s for f in judged]
    cap_s = spec.sampling.interval_s
    means = np.array(
        [time_weighted_mean(times, column, cap_s) for column in zip(*rows, strict=True)]
    )
    shares = np.exp(means - means.max())
    shares /= shares.sum()
    return dict(zip(spec.kinds, shares.tolist(), strict=True))
