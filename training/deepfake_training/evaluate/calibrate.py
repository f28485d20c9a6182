"""Fit calibrations and decision thresholds on held-out predictions, for each level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from deepfake_eval.analysis.intervals import Estimate, limited_weights, rate
from deepfake_eval.analysis.reliability import track_table
from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.spec import (
    Calibration,
    ConditionsSpec,
    LeaningEdges,
    LevelCalibrations,
    LevelThresholds,
    Thresholds,
)
from deepfake_models.decision.level import LN10, log_likelihood_ratio, mean_log_likelihood_ratio
from deepfake_training.config import ErrorLimits
from deepfake_training.errors import TrainingError

# Weak regularisation: a slope and an intercept need none, but separable scores do.
_INVERSE_REGULARISATION = 10.0
_MARGIN = 1e-3
_STEP = 0.01
LEAST_RATIO = round(math.log10(10.0 / 3.0), 4)
"""Lowest log10 likelihood ratio at which a medium is called manipulated. Odds below 10 to 3 do not
justify a request, however few false positives there are."""
_FLAT: Final = 1e-6
"""Slope of a calibration by which every value is near 0, so that nothing is called manipulated."""
_TAIL = 0.1
"""Share of the highest real values to which the tail is fitted."""


@dataclass(frozen=True, slots=True)
class Level:
    """Held-out values of one level as arrays (N,): ``raw`` before calibration, ``truth`` with 1 =
    manipulated, and the group and medium of each value. A group is a source or a person, whichever
    the runs that gave the values did not see."""

    raw: NDArray[np.float64]
    truth: NDArray[np.int64]
    group: NDArray[np.object_]
    media: NDArray[np.object_]


def _level(frame: pd.DataFrame, column: str) -> Level:
    media = frame["dataset"].astype(str) + "\0" + frame["media"].astype(str)
    return Level(
        frame[column].to_numpy(np.float64),
        (frame["label"] == "fake").to_numpy().astype(np.int64),
        frame["group"].astype(str).to_numpy(object),
        media.to_numpy(object),
    )


def fit_calibration(level: Level, name: str, *, even_if_useless: bool = False) -> Calibration:
    """Fit a logistic map (Platt 1999), with equal weight for both classes, and media weighted as in
    ``_Media``.

    At equal priors the log-odds are the natural logarithm of the likelihood ratio. The limit is the
    log10 of the number of groups in the smaller class plus one. ``TrainingError`` if a class is
    missing, or higher values do not mean manipulated; the map is flat then ``even_if_useless``.
    """
    groups = {}
    weights = np.zeros(len(level.raw))
    for truth in (0, 1):
        media = _Media.of(level, level.raw, truth)
        if not len(media.values):
            raise TrainingError(
                f"{name} level: There is no held-out {'fake' if truth else 'real'} value. Hold out "
                "videos of both classes with enough judged faces."
            )
        groups[truth] = len(np.unique(media.group))
        weights[level.truth == truth] = media.value_weights()
    model = LogisticRegression(C=_INVERSE_REGULARISATION)
    model.fit(level.raw[:, None], level.truth, sample_weight=weights * len(weights) / 2.0)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= 0.0:
        if not even_if_useless:
            raise TrainingError(
                f"{name} level: Higher values do not mean manipulated on held-out data, so they "
                "cannot be calibrated. Fit for more steps or on more media; of a network that was "
                "trained elsewhere, check manipulated, scale, mean and std. To try the steps that "
                "follow all the same, pass --even-if-useless."
            )
        slope, intercept = _FLAT, 0.0
    return Calibration(
        slope=slope,
        intercept=intercept,
        limit=math.log10(min(groups.values()) + 1),
        samples=len(level.raw),
        groups=len(set(level.group)),
    )


@dataclass(frozen=True, slots=True)
class _Media:
    """Values of one class, of which each medium counts once, and each group a limited number of
    times (``limited_weights``).

    A medium with n values is a hit by the share of them beyond a threshold, so that one clip with
    many faces cannot set the threshold, nor one group with many clips.
    """

    values: NDArray[np.float64]
    code: NDArray[np.intp]
    """The medium of each value, as an index of ``group`` and ``weight``."""
    group: NDArray[np.object_]
    weight: NDArray[np.float64]

    @classmethod
    def of(cls, level: Level, values: NDArray[np.float64], truth: int) -> _Media:
        chosen = level.truth == truth
        _, first, code = np.unique(level.media[chosen], return_index=True, return_inverse=True)
        group = level.group[chosen][first]
        return cls(values[chosen], code, group, limited_weights(group))

    def value_weights(self) -> NDArray[Any]:
        """Return the weight of each value, (N,) float64; together 1."""
        shares: NDArray[Any] = (self.weight / np.bincount(self.code))[self.code]
        shares /= shares.sum()
        return shares

    def share(self, beyond: NDArray[np.bool_]) -> NDArray[Any]:
        """Return the share of each medium's values that are ``beyond``, (media,) float64."""
        return np.bincount(self.code, weights=beyond) / np.bincount(self.code)

    def above(self, threshold: float) -> Estimate:
        """Return the share of media at or above ``threshold``."""
        return rate(self.share(self.values >= threshold), self.group, self.weight)

    def below(self, threshold: float) -> Estimate:
        """Return the share of media below ``threshold``."""
        return rate(self.share(self.values < threshold), self.group, self.weight)

    def exceeded_by(self, share: float) -> float:
        """Return the value that ``share`` of the media reach, by an exponential tail fitted to the
        highest ``_TAIL`` of them.

        Over a high threshold, excesses are nearly exponential for a wide class of distributions
        (Pickands 1975). The estimate uses all of these media, where a quantile would hang on the
        few highest.
        """
        weights = self.value_weights()
        start = -_edge(-self.values, weights, max(_TAIL, share))
        above = self.values > start
        reached = float(weights[above].sum())
        if reached <= share:
            return start
        excess = float(np.average(self.values[above] - start, weights=weights[above]))
        return start + excess * math.log(reached / share)

    def lowest_above(self, share: float) -> float:
        """Return the lowest threshold with at most ``share`` of the media at or above it."""
        return round(-_edge(-self.values, self.value_weights(), share) + _MARGIN, 4)

    def highest_below(self, share: float) -> float:
        """Return the highest threshold with at most ``share`` of the media below it."""
        return math.floor(_edge(self.values, self.value_weights(), share) * 1e4) / 1e4


def _edge(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> float:
    """Return the highest of ``values`` below which at most ``share`` of the ``weights`` lie."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order]) - weights[order]
    return float(values[order][np.flatnonzero(below <= share + 1e-9)[-1]])


def fit_thresholds(level: Level, calibration: Calibration, limits: ErrorLimits) -> LevelThresholds:
    """Choose thresholds on calibrated values, and measure error rates there.

    Each medium counts once, by the share of its values beyond a threshold, and each group a limited
    number of times.

    ``likely_manipulated`` is the lowest value at which

    1. by the fitted tail (``_Media.exceeded_by``), at most ``limits.max_false_positive_rate`` of
       the real media are called manipulated;
    2. the upper end of the measured rate's 95% interval, clustered by group, is at most
       ``limits.max_false_positive_upper``;
    3. the value is at least ``LEAST_RATIO``.

    With too little material to show the second, no real value may be called manipulated.
    ``no_manipulation_found`` is the highest value below which at most ``limits.max_miss_rate`` of
    the manipulated media lie, and at most ``likely_manipulated``. For the edges of leaning see
    ``_leaning``.
    """
    # Not clipped as a verdict's are: the tail is that of the values themselves.
    values = (calibration.slope * level.raw + calibration.intercept) / LN10
    real, fake = _Media.of(level, values, 0), _Media.of(level, values, 1)
    upper = _likely_manipulated(real, limits)
    lower = min(fake.highest_below(limits.max_miss_rate), upper)
    thresholds = LevelThresholds(
        likely_manipulated=upper,
        no_manipulation_found=lower,
        **_rates_between(real, fake, upper, lower),
    )
    return thresholds.model_copy(update={"leaning": _leaning(real, fake, thresholds, limits)})


def _likely_manipulated(real: _Media, limits: ErrorLimits) -> float:
    """Return the lowest threshold that ``limits`` allow on ``real`` media."""
    start = round(max(real.exceeded_by(limits.max_false_positive_rate), LEAST_RATIO), 4)
    none = max(real.lowest_above(0.0), start)
    for candidate in np.arange(start, none, _STEP).round(4).tolist():
        if real.above(candidate).high <= limits.max_false_positive_upper:
            return float(candidate)
    return none


def _leaning(
    real: _Media, fake: _Media, thresholds: LevelThresholds, limits: ErrorLimits
) -> LeaningEdges:
    """Return the edges between which a value leans neither way, and their error rates.

    The upper edge is the lowest value at or above which at most
    ``limits.max_leaning_false_positive_rate`` of the real media lie; the lower edge the highest
    below which at most ``limits.max_leaning_miss_rate`` of the manipulated ones do. Evidence
    against manipulation never leans towards it, nor the reverse, and both edges stay between the
    thresholds.
    """
    low, high = thresholds.no_manipulation_found, thresholds.likely_manipulated
    upper = max(real.lowest_above(limits.max_leaning_false_positive_rate), 0.0)
    upper = min(max(upper, low), high)
    lower = min(fake.highest_below(limits.max_leaning_miss_rate), 0.0)
    lower = min(max(lower, low), upper)
    return LeaningEdges(
        towards_manipulated=upper,
        towards_untouched=lower,
        **_rates_between(real, fake, upper, lower),
        true_negative_rate=round(real.below(lower).value, 4),
    )


def _rates_between(real: _Media, fake: _Media, upper: float, lower: float) -> dict[str, float]:
    """Return the error rates of two thresholds, as ``LevelThresholds`` has them."""
    false_positives = real.above(upper)
    return {
        "false_positive_rate": round(false_positives.value, 4),
        "false_positive_rate_upper": round(false_positives.high, 4),
        "true_positive_rate": round(fake.above(upper).value, 4),
        "miss_rate": round(fake.below(lower).value, 4),
    }


def item_table(tracks: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """Return one row per video. As in the service, ``raw`` is the natural logarithm of the mean
    likelihood ratio of all its tracks."""
    rows = []
    for _, part in tracks.groupby("media", sort=True):
        ratios = [log_likelihood_ratio(float(r), calibration) for r in part["raw"]]
        rows.append({**part.iloc[0].to_dict(), "raw": mean_log_likelihood_ratio(ratios) * LN10})
    return pd.DataFrame(rows)


def picture_table(faces: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """Return one row per still with a judged face. As in the service, ``raw`` gives the mean
    likelihood ratio of all its judged faces by the ``calibration`` of faces."""
    rows = []
    stills = faces[(faces["kind"] == "image") & faces["logit"].notna()]
    for _, part in stills.groupby(["dataset", "media"], sort=True):
        ratios = [log_likelihood_ratio(float(z), calibration) for z in part["logit"]]
        raw = (mean_log_likelihood_ratio(ratios) * LN10 - calibration.intercept) / calibration.slope
        rows.append({**part.iloc[0].to_dict(), "raw": raw})
    return pd.DataFrame(rows, columns=[*stills.columns, "raw"])


def _picture_thresholds(
    pictures: pd.DataFrame, calibration: Calibration, limits: ErrorLimits
) -> LevelThresholds | None:
    """Return the thresholds of stills; ``None`` with stills of too few groups of either class."""
    groups = pictures.groupby("label")["group"].nunique()
    if min(groups.get("real", 0), groups.get("fake", 0)) < ConditionsSpec().min_groups:
        return None
    allowed = {"max_false_positive_rate": limits.max_picture_false_positive_rate}
    return fit_thresholds(_level(pictures, "raw"), calibration, limits.model_copy(update=allowed))


def fit_levels(
    faces: pd.DataFrame, spec: BundleSpec, limits: ErrorLimits, *, even_if_useless: bool = False
) -> tuple[LevelCalibrations, Thresholds]:
    """Fit face, track and item level from held-out face predictions (see ``predictions``).

    Stills get thresholds of their own where they are of enough groups of both classes.
    ``TrainingError`` if no video track could be judged, a class is missing, or higher values do not
    mean manipulated, unless ``even_if_useless`` (see ``fit_calibration``).
    """
    calibrated = partial(fit_calibration, even_if_useless=even_if_useless)
    judged = faces[faces["logit"].notna() & (faces["main"] | (faces["label"] == "real"))].copy()
    every = track_table(faces, spec)
    if every.empty:
        raise TrainingError(
            "No held-out video track could be judged. Hold out videos with enough judged faces."
        )
    # A label describes the main person. A bystander in a fake is probably real, but not certainly.
    tracks = every[every["main"] | (every["label"] == "real")]
    face = calibrated(_level(judged, "logit"), "face")
    track = calibrated(_level(tracks, "raw"), "track")
    items = item_table(every, track)
    item = calibrated(_level(items, "raw"), "item")
    return (
        LevelCalibrations(face=face, track=track, item=item),
        Thresholds(
            face=fit_thresholds(_level(judged, "logit"), face, limits),
            track=fit_thresholds(_level(tracks, "raw"), track, limits),
            item=fit_thresholds(_level(items, "raw"), item, limits),
            picture=_picture_thresholds(picture_table(faces, face), face, limits),
        ),
    )
