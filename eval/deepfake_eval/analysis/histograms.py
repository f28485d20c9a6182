"""Histograms of the values of whole held-out media, which a model bundle carries."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pandas as pd

from deepfake_models.bundle.spec import Histograms, LevelCalibrations, ValueHistogram

STEP = 0.25
"""Width of a bin in log10 likelihood ratios: a factor of 1.8 in the odds."""


def value_histogram(
    items: pd.DataFrame, kind: Literal["video", "image"], limit: float, min_groups: int
) -> ValueHistogram | None:
    """Count media by value and class; ``None`` if either class is of too few groups.

    Args:
        items: held-out media with the columns label, group, kind and log_likelihood_ratio. Those
            without a value are left out.
        limit: the largest value, in either direction.
        min_groups: groups that each class must at least be of.
    """
    valued = items[(items["kind"] == kind) & items["log_likelihood_ratio"].notna()]
    bins = math.ceil(round(limit / STEP, 9))
    edges = STEP * np.arange(-bins, bins + 1)
    counts, groups = {}, {}
    for label in ("real", "fake"):
        part = valued[valued["label"] == label]
        values = np.clip(part["log_likelihood_ratio"].to_numpy(np.float64), edges[0], edges[-1])
        counts[label] = tuple(np.histogram(values, edges)[0].tolist())
        groups[label] = int(part["group"].nunique())
    if min(groups.values()) < min_groups:
        return None
    return ValueHistogram(
        edges=tuple(edges.tolist()),
        real=counts["real"],
        fake=counts["fake"],
        real_groups=groups["real"],
        fake_groups=groups["fake"],
    )


def histograms(
    items: pd.DataFrame, calibration: LevelCalibrations, min_groups: int
) -> Histograms | None:
    """Return the histograms of videos and of stills; ``None`` if there are too few of both."""
    videos = value_histogram(items, "video", calibration.item.limit, min_groups)
    stills = value_histogram(items, "image", calibration.face.limit, min_groups)
    return Histograms(item=videos, picture=stills) if videos or stills else None
