"""Fit calibrations and decision thresholds on held-out predictions, for each level."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from deepfake_eval.analysis.metrics import rate
from deepfake_eval.analysis.reliability import track_table
from deepfake_models.bundle import BundleSpec
from deepfake_models.decision.calibration import (
    LN10,
    log_likelihood_ratio,
    mean_log_likelihood_ratio,
)
from deepfake_models.spec import (
    Calibration,
    ConditionsSpec,
    LevelCalibrations,
    LevelThresholds,
    Thresholds,
)
from deepfake_training.errors import TrainingError

# Weak regularisation: a slope and an intercept need none, but separable scores do.
_INVERSE_REGULARISATION = 10.0
_MARGIN = 1e-3


@dataclass(frozen=True, slots=True)
class Level:
    """Held-out values of one level as arrays (N,): ``raw`` before calibration, ``truth`` with 1 =
    manipulated, and the group, source (data set) and medium of each value."""

    raw: NDArray[np.float64]
    truth: NDArray[np.int64]
    group: NDArray[np.object_]
    source: NDArray[np.object_]
    media: NDArray[np.object_]


def _level(frame: pd.DataFrame, column: str) -> Level:
    return Level(
        frame[column].to_numpy(np.float64),
        (frame["label"] == "fake").to_numpy().astype(np.int64),
        frame["group"].astype(str).to_numpy(object),
        frame["dataset"].astype(str).to_numpy(object),
        frame["media"].astype(str).to_numpy(object),
    )


def fit_calibration(level: Level, name: str) -> Calibration:
    """Fit a logistic map (Platt 1999), with equal weight for both classes and for all groups.

    At equal priors the log-odds are the natural logarithm of the likelihood ratio. The limit is the
    log10 of the number of groups in the smaller class plus one.

    Raises:
        TrainingError: if a class is missing, or higher values do not mean manipulated.
    """
    groups = {}
    weights = np.zeros(len(level.raw))
    for truth in (0, 1):
        in_class = level.truth == truth
        names, codes, sizes = np.unique(
            level.group[in_class], return_inverse=True, return_counts=True
        )
        if not len(names):
            raise TrainingError(f"{name} level: no held-out {'fake' if truth else 'real'} value")
        groups[truth] = len(names)
        weights[in_class] = 1.0 / (sizes[codes] * len(names))
    model = LogisticRegression(C=_INVERSE_REGULARISATION)
    model.fit(level.raw[:, None], level.truth, sample_weight=weights * len(weights) / 2.0)
    slope = float(model.coef_[0, 0])
    if slope <= 0.0:
        raise TrainingError(f"{name} level: higher values do not mean manipulated on held-out data")
    return Calibration(
        slope=slope,
        intercept=float(model.intercept_[0]),
        limit=math.log10(min(groups.values()) + 1),
        samples=len(level.raw),
        groups=len(set(level.group)),
    )


def fit_thresholds(
    level: Level, calibration: Calibration, *, max_fpr: float, max_miss: float
) -> LevelThresholds:
    """Choose the two thresholds on calibrated, clipped values, and measure error rates there.

    ``likely_manipulated`` is the lowest value at which at most ``max_fpr`` of the held-out real
    values are called manipulated, both overall and in every source that is large enough to show
    this rate (see ``_large_sources``). ``no_manipulation_found`` is the highest value below which
    at most ``max_miss`` of the manipulated values lie, and at most ``likely_manipulated``.
    """
    values = np.array([log_likelihood_ratio(float(r), calibration) for r in level.raw])
    real, fake = values[level.truth == 0], values[level.truth == 1]
    upper = max(
        float(np.sort(part)[::-1][math.floor(max_fpr * len(part))])
        for part in (real, *_large_sources(real, level, max_fpr))
    )
    upper += _MARGIN
    # Odds below 10 to 3 do not justify a request, however few false positives there are.
    upper = max(upper, math.log10(10.0 / 3.0))
    lower = float(np.sort(fake)[math.floor(max_miss * len(fake))])
    lower = min(lower, upper)
    false_positives = rate(real >= upper, level.group[level.truth == 0])
    detected = rate(fake >= upper, level.group[level.truth == 1])
    missed = rate(fake < lower, level.group[level.truth == 1])
    return LevelThresholds(
        likely_manipulated=round(upper, 4),
        no_manipulation_found=round(lower, 4),
        false_positive_rate=round(false_positives.value, 4),
        false_positive_rate_upper=round(false_positives.high, 4),
        true_positive_rate=round(detected.value, 4),
        miss_rate=round(missed.value, 4),
    )


def _large_sources(
    real: NDArray[np.float64], level: Level, max_fpr: float
) -> Iterator[NDArray[np.float64]]:
    """Yield the real values of each source that is large enough to show a rate of ``max_fpr``.

    Such a source has so many media that a single one does not already exceed the rate, or so many
    groups that its rate is known. It must meet ``max_fpr`` itself: a detector that is right on
    average and wrong on one kind of camera, filter or people is useless to those people. Smaller
    sources only count in the total; a single unusual clip with its many faces would otherwise set
    the threshold for everybody.
    """
    genuine = level.truth == 0
    group, source, media = level.group[genuine], level.source[genuine], level.media[genuine]
    for name in np.unique(source):
        own = source == name
        enough = max_fpr * len(np.unique(media[own])) >= 1.0
        if enough or len(np.unique(group[own])) >= ConditionsSpec().min_groups:
            yield real[own]


def item_table(tracks: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """Return one row a video. As in the service, ``raw`` is the natural logarithm of the mean
    likelihood ratio of all its tracks."""
    rows = []
    for _, part in tracks.groupby("media", sort=True):
        ratios = [log_likelihood_ratio(float(r), calibration) for r in part["raw"]]
        rows.append({**part.iloc[0].to_dict(), "raw": mean_log_likelihood_ratio(ratios) * LN10})
    return pd.DataFrame(rows)


@dataclass(frozen=True, slots=True)
class Fitted:
    """Fitted calibrations and thresholds, and the tables that they were fitted on."""

    calibration: LevelCalibrations
    thresholds: Thresholds
    faces: pd.DataFrame
    tracks: pd.DataFrame
    items: pd.DataFrame


def fit_levels(faces: pd.DataFrame, spec: BundleSpec, *, max_fpr: float, max_miss: float) -> Fitted:
    """Fit face, track and item level from held-out face predictions (see ``predictions``).

    Raises:
        TrainingError: if no video track could be judged, a class is missing, or higher values do
            not mean manipulated.
    """
    judged = faces[faces["logit"].notna() & (faces["main"] | (faces["label"] == "real"))].copy()
    every = track_table(faces, spec)
    if every.empty:
        raise TrainingError("no held-out video track could be judged; calibration needs videos")
    # A label describes the main person. A bystander in a fake is probably real, but not certainly.
    tracks = every[every["main"] | (every["label"] == "real")]
    face = fit_calibration(_level(judged, "logit"), "face")
    track = fit_calibration(_level(tracks, "raw"), "track")
    items = item_table(every, track)
    item = fit_calibration(_level(items, "raw"), "item")
    limits = {"max_fpr": max_fpr, "max_miss": max_miss}
    return Fitted(
        LevelCalibrations(face=face, track=track, item=item),
        Thresholds(
            face=fit_thresholds(_level(judged, "logit"), face, **limits),
            track=fit_thresholds(_level(tracks, "raw"), track, **limits),
            item=fit_thresholds(_level(items, "raw"), item, **limits),
        ),
        judged,
        tracks,
        items,
    )
