"""Levels of judging: from raw values to log10 likelihood ratios, scores, verdicts and leanings.

Faces, whole stills, tracks and whole videos each have a level of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import Face, Leaning, Reason, ReasonCode, VerdictCode
from deepfake_models.bundle.spec import Calibration, LevelThresholds

LN10 = math.log(10.0)


class Judgement(NamedTuple):
    """The conclusion on a value: fields that faces, tracks and items have in common."""

    verdict: VerdictCode
    score: float
    log_likelihood_ratio: float
    reasons: tuple[Reason, ...]
    leaning: Leaning | None


@dataclass(frozen=True, slots=True)
class Level:
    """How values of one level are calibrated and decided on."""

    calibration: Calibration
    thresholds: LevelThresholds
    prior: float

    def uncapped(self) -> Self:
        """Return the level without a limit of its ratios. For ranking alone: beyond the limit they
        order clear cases, but the held-out material does not support them as evidence."""
        limitless = self.calibration.model_copy(update={"limit": math.inf})
        return replace(self, calibration=limitless)

    def ratio(self, raw: float) -> float:
        return log_likelihood_ratio(raw, self.calibration)

    def verdict(self, ratio: float) -> VerdictCode:
        """Return what a log10 likelihood ratio alone says."""
        if ratio >= self.thresholds.likely_manipulated:
            return VerdictCode.LIKELY_MANIPULATED
        if ratio < self.thresholds.no_manipulation_found:
            return VerdictCode.NO_MANIPULATION_FOUND
        return VerdictCode.INCONCLUSIVE

    def leaning(self, ratio: float) -> Leaning | None:
        """Return which way a log10 likelihood ratio leans; ``None`` if its level has no edges."""
        edges = self.thresholds.leaning
        if edges is None:
            return None
        if ratio >= edges.towards_manipulated:
            return Leaning.TOWARDS_MANIPULATED
        if ratio < edges.towards_untouched:
            return Leaning.TOWARDS_UNTOUCHED
        return Leaning.NEITHER

    def judge(
        self, ratio: float, *, untouched: Iterable[Reason] = (), either: Iterable[Reason] = ()
    ) -> Judgement:
        """Judge a log10 likelihood ratio.

        The reasons ``untouched`` bar ``no_manipulation_found``, and a leaning that way; they are
        asked for only where the ratio says that. The reasons ``either`` bar every decision.
        """
        verdict, leaning, either = self.verdict(ratio), self.leaning(ratio), tuple(either)
        clear = verdict is VerdictCode.NO_MANIPULATION_FOUND
        if clear or leaning is Leaning.TOWARDS_UNTOUCHED:
            untouched = tuple(untouched)
            leaning = leaning and (Leaning.NEITHER if untouched else leaning)
        between = self._between(ratio) if verdict is VerdictCode.INCONCLUSIVE else ()
        reasons = (*between, *(untouched if clear else ()), *either)
        if leaning and either:
            leaning = Leaning.NEITHER
        return Judgement(
            VerdictCode.INCONCLUSIVE if reasons else verdict,
            probability(ratio, self.prior),
            ratio,
            reasons,
            leaning,
        )

    def _between(self, ratio: float) -> tuple[Reason]:
        low, high = self.thresholds.no_manipulation_found, self.thresholds.likely_manipulated
        return (
            Reason(
                ReasonCode.BETWEEN_THRESHOLDS,
                f"log10 likelihood ratio {ratio:+.2f} lies between {low:+.2f} and {high:+.2f}, "
                "where the error rates are too high to decide",
            ),
        )


@dataclass(frozen=True, slots=True)
class Criteria:
    """Everything by which a bundle judges scored faces."""

    face: Level
    """For the faces of videos."""
    still: Level
    """For whole stills and the faces in them."""
    track: Level
    item: Level
    """For whole videos."""
    spec: BundleSpec
    """How values are combined, and where they decide, as the bundle states it."""

    @classmethod
    def of(cls, spec: BundleSpec) -> Self:
        calibration, thresholds = spec.calibration, spec.thresholds
        return cls(
            face=Level(calibration.face, thresholds.face, spec.prior),
            still=Level(calibration.face, thresholds.still, spec.prior),
            track=Level(calibration.track, thresholds.track, spec.prior),
            item=Level(calibration.item, thresholds.item, spec.prior),
            spec=spec,
        )

    def uncapped(self) -> Self:
        """Return the criteria without limits of ratios: for ranking alone."""
        face, still, track, item = (
            level.uncapped() for level in (self.face, self.still, self.track, self.item)
        )
        return replace(self, face=face, still=still, track=track, item=item)

    def track_ratio(self, judged: Sequence[Face]) -> float:
        """Return the log10 likelihood ratio of a track from its judged faces, in time order."""
        logits = [f.logit for f in judged if f.logit is not None]
        times = [f.time_s for f in judged]
        return self.track.ratio(time_weighted_mean(times, logits, self.spec.sampling.interval_s))

    def item_ratio(self, track_ratios: Sequence[float], people: int, *, still: bool) -> float:
        """Return the log10 likelihood ratio of an item of ``people`` judged people. People without
        a ratio among ``track_ratios`` count as certainly authentic."""
        if not track_ratios:
            return -math.inf
        ratio = mean_log_likelihood_ratio(track_ratios) + math.log10(len(track_ratios) / people)
        return ratio if still else self.item.ratio(ratio * LN10)


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


def log_likelihood_ratio(raw: float, calibration: Calibration) -> float:
    """Return log10 of the likelihood ratio "manipulated" : "not manipulated" for ``raw``.

    Affine in ``raw`` (Platt 1999; Brümmer and de Villiers 2013) and clipped to
    ``± calibration.limit``: no finite set of held-out material supports stronger evidence than
    about one over its size (Vergeer et al. 2016, "Numerical likelihood ratios outputted by LR
    systems are often based on extrapolation").
    """
    value = (calibration.slope * raw + calibration.intercept) / LN10
    return min(max(value, -calibration.limit), calibration.limit)


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
