"""Fit calibrations and decision thresholds on held-out predictions, level by level."""

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

# Weak regularisation alone: one slope and one intercept need none, but separable scores do.
_INVERSE_REGULARISATION = 10.0
_MARGIN = 1e-3


@dataclass(frozen=True, slots=True)
class Level:
    """Held-out values of one level, each array (N,): ``raw`` before calibration, truth 1 =
    manipulated, and the group, source (data set) and medium of each."""

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
    """Platt's logistic map (1999), classes weighted to equal prior and groups to equal weight.

    At equal priors the log-odds are the natural-log likelihood ratio. The limit is log10 of one
    more than the smaller class's number of groups.

    Raises:
        TrainingError: when a class is missing, or higher values do not mean manipulated.
    """
    groups = {}
    weights = np.zeros(len(level.raw))
    for truth in (0, 1):
        mine = level.truth == truth
        names, codes, sizes = np.unique(level.group[mine], return_inverse=True, return_counts=True)
        if not len(names):
            raise TrainingError(f"{name} level: no held-out {'fake' if truth else 'real'} value")
        groups[truth] = len(names)
        weights[mine] = 1.0 / (sizes[codes] * len(names))
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
    """Place the two thresholds on calibrated, clipped values, and measure them there.

    ``likely_manipulated`` is the lowest value at which at most ``max_fpr`` of the held-out real
    values are called manipulated, of all together and of every source that can show it (see
    ``_binding``); ``no_manipulation_found`` the highest below which at most ``max_miss`` of the
    manipulated ones lie, and never above the first.
    """
    values = np.array([log_likelihood_ratio(float(r), calibration) for r in level.raw])
    real, fake = values[level.truth == 0], values[level.truth == 1]
    upper = max(
        float(np.sort(part)[::-1][math.floor(max_fpr * len(part))])
        for part in (real, *_binding(real, level, max_fpr))
    )
    upper += _MARGIN
    # Evidence under 10 to 3 is no ground for a request, whatever the false positives were.
    upper = max(upper, math.log10(10.0 / 3.0))
    lower = float(np.sort(fake)[math.floor(max_miss * len(fake))])
    lower = min(lower, upper)
    false_positives = rate(real >= upper, level.group[level.truth == 0])
    found = rate(fake >= upper, level.group[level.truth == 1])
    missed = rate(fake < lower, level.group[level.truth == 1])
    return LevelThresholds(
        likely_manipulated=round(upper, 4),
        no_manipulation_found=round(lower, 4),
        false_positive_rate=round(false_positives.value, 4),
        false_positive_rate_upper=round(false_positives.high, 4),
        true_positive_rate=round(found.value, 4),
        miss_rate=round(missed.value, 4),
    )


def _binding(
    real: NDArray[np.float64], level: Level, max_fpr: float
) -> Iterator[NDArray[np.float64]]:
    """The real values of each source that can show a rate of ``max_fpr``.

    A source has to hold ``max_fpr`` by itself where it has enough media that one of them is not
    already more, or enough groups for its rate to be known: a detector that is right on average and
    wrong on one kind of camera, filter or people is of no use to them. Smaller sources count in the
    whole alone; one odd clip of theirs, with its many faces, would set the threshold for everybody.
    """
    genuine = level.truth == 0
    group, source, media = level.group[genuine], level.source[genuine], level.media[genuine]
    for name in np.unique(source):
        mine = source == name
        enough = max_fpr * len(np.unique(media[mine])) >= 1.0
        if enough or len(np.unique(group[mine])) >= ConditionsSpec().min_groups:
            yield real[mine]


def item_table(tracks: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """One row a video: ``raw`` = natural log of the mean of its tracks' likelihood ratios, of all
    of them, as the service takes it."""
    rows = []
    for _, part in tracks.groupby("media", sort=True):
        ratios = [log_likelihood_ratio(float(r), calibration) for r in part["raw"]]
        rows.append({**part.iloc[0].to_dict(), "raw": mean_log_likelihood_ratio(ratios) * LN10})
    return pd.DataFrame(rows)


@dataclass(frozen=True, slots=True)
class Fitted:
    """What calibration gives: the two specs, and the tables they were fitted on."""

    calibration: LevelCalibrations
    thresholds: Thresholds
    faces: pd.DataFrame
    tracks: pd.DataFrame
    items: pd.DataFrame


def fit_levels(faces: pd.DataFrame, spec: BundleSpec, *, max_fpr: float, max_miss: float) -> Fitted:
    """Fit face, track and item level from held-out face predictions (see ``predictions``)."""
    judged = faces[faces["logit"].notna() & (faces["main"] | (faces["label"] == "real"))].copy()
    every = track_table(faces, spec)
    if every.empty:
        raise TrainingError("no held-out video track could be judged: calibration needs videos")
    # A label speaks of the main person: a bystander in a fake is real, but not known to be.
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
