"""Calibration and thresholds fitted on held-out values."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from deepfake_eval.analysis.reliability import track_table
from deepfake_models.decision.level import log_likelihood_ratio
from deepfake_training.config import ErrorLimits
from deepfake_training.errors import TrainingError
from deepfake_training.evaluate.calibrate import (
    Level,
    fit_calibration,
    fit_levels,
    fit_thresholds,
    item_table,
    picture_table,
)
from tests.support.judging import spec


def gaussians(n: int = 4000, distance: float = 2.0, seed: int = 0) -> Level:
    """Two unit normals: the natural-log likelihood ratio of x is distance * (x - distance / 2)."""
    rng = np.random.default_rng(seed)
    raw = np.r_[rng.normal(0, 1, n), rng.normal(distance, 1, n)]
    truth = np.r_[np.zeros(n, np.int64), np.ones(n, np.int64)]
    return level_of(raw, truth, np.array([f"g{i}" for i in range(2 * n)], object))


def level_of(raw: np.ndarray, truth: np.ndarray, group: np.ndarray) -> Level:
    """Values of one medium each."""
    return Level(raw, truth, group, np.array([f"m{i}" for i in range(len(raw))], object))


def test_known_likelihood_ratios_are_found_again() -> None:
    fitted = fit_calibration(gaussians(), "face")
    assert fitted.slope == pytest.approx(2.0, rel=0.06)
    assert fitted.intercept == pytest.approx(-2.0, rel=0.08)
    assert log_likelihood_ratio(1.0, fitted) == pytest.approx(0.0, abs=0.05)


def test_class_imbalance_does_not_move_the_ratio() -> None:
    level = gaussians()
    keep = (level.truth == 0) | (np.arange(len(level.raw)) % 10 == 0)
    fitted = fit_calibration(
        level_of(level.raw[keep], level.truth[keep], level.group[keep]), "face"
    )
    assert fitted.slope == pytest.approx(2.0, rel=0.1)
    assert fitted.intercept == pytest.approx(-2.0, rel=0.15)


def test_the_limit_follows_the_smaller_class_in_groups() -> None:
    level = gaussians(100)
    few = np.where(
        level.truth == 1, "g" + (np.arange(200) % 9).astype(str).astype(object), level.group
    )
    assert fit_calibration(level_of(level.raw, level.truth, few), "face").limit == pytest.approx(
        1.0
    )


def test_a_detector_that_ranks_backwards_is_refused() -> None:
    level = gaussians()
    with pytest.raises(TrainingError, match="do not mean manipulated"):
        fit_calibration(level_of(-level.raw, level.truth, level.group), "face")


@pytest.mark.parametrize(("keep", "named"), [(0, "fake"), (1, "real")])
def test_a_missing_class_is_named(keep: int, named: str) -> None:
    level = gaussians(50)
    mine = level.truth == keep
    with pytest.raises(TrainingError, match=f"no held-out {named}"):
        fit_calibration(level_of(level.raw[mine], level.truth[mine], level.group[mine]), "track")


LIMITS = ErrorLimits()


def test_thresholds_keep_the_false_positive_rate() -> None:
    level = gaussians(distance=4.0)
    calibration = fit_calibration(level, "face")
    found = fit_thresholds(level, calibration, LIMITS)
    assert 0.004 < found.false_positive_rate <= 0.01
    assert found.false_positive_rate < found.false_positive_rate_upper <= 0.025
    assert found.miss_rate <= 0.1
    assert found.true_positive_rate > 0.9
    # On material it was not fitted on the rate is the same but for noise.
    fresh = gaussians(distance=4.0, seed=1)
    ratios = np.array([log_likelihood_ratio(r, calibration) for r in fresh.raw[fresh.truth == 0]])
    assert (ratios >= found.likely_manipulated).mean() < 0.015


def real_above(level: Level, threshold: float) -> int:
    calibration = fit_calibration(level, "face")
    real = level.raw[level.truth == 0]
    return sum(log_likelihood_ratio(r, calibration) >= threshold for r in real)


@pytest.mark.parametrize("groups", [300, 210])
def test_the_interval_of_the_rate_has_a_limit_too(groups: int) -> None:
    level = gaussians(groups, distance=3.0)
    found = fit_thresholds(level, fit_calibration(level, "face"), LIMITS)
    assert found.false_positive_rate_upper <= 0.025


def test_another_draw_of_the_same_material_gives_nearly_the_same_threshold() -> None:
    """A quantile of 1% would be the third highest of 300 values, and vary three times as much."""

    def threshold(seed: int) -> float:
        level = gaussians(300, distance=4.0, seed=seed)
        limits = ErrorLimits(max_false_positive_upper=1.0)
        calibration = fit_calibration(gaussians(distance=4.0), "face")
        return fit_thresholds(level, calibration, limits).likely_manipulated

    assert np.std([threshold(seed) for seed in range(20)]) < 0.2


def test_where_the_material_is_too_little_no_real_value_is_called_manipulated() -> None:
    level = gaussians(60, distance=3.0)
    found = fit_thresholds(level, fit_calibration(level, "face"), LIMITS)
    assert found.false_positive_rate == 0.0
    assert found.false_positive_rate_upper > 0.025
    assert real_above(level, found.likely_manipulated) == 0


@pytest.mark.parametrize("clips", [1, 4000], ids=["one clip, many faces", "many clips"])
def test_one_group_with_many_values_does_not_set_the_threshold(clips: int) -> None:
    level = gaussians(distance=6.0)
    mixed = Level(
        np.r_[level.raw, np.full(4000, 7.0)],
        np.r_[level.truth, np.zeros(4000, np.int64)],
        np.r_[level.group, np.full(4000, "odd", object)],
        np.r_[level.media, np.array([f"clip{i % clips}" for i in range(4000)], object)],
    )
    calibration = fit_calibration(level, "face")
    alone = fit_thresholds(level, calibration, LIMITS)
    crowded = fit_thresholds(mixed, calibration, LIMITS)
    assert crowded.likely_manipulated == pytest.approx(alone.likely_manipulated, abs=0.2)
    assert crowded.false_positive_rate <= 0.01


def test_weak_evidence_is_never_called_likely() -> None:
    level = gaussians(distance=0.3)
    limits = ErrorLimits(max_false_positive_rate=0.9, max_false_positive_upper=1.0)
    found = fit_thresholds(level, fit_calibration(level, "face"), limits)
    assert found.likely_manipulated >= math.log10(10 / 3)


def test_leaning_edges_lie_between_the_thresholds_with_rates_of_their_own() -> None:
    level = gaussians(distance=1.5)
    found = fit_thresholds(level, fit_calibration(level, "face"), LIMITS)
    edges = found.leaning
    assert edges is not None
    assert found.no_manipulation_found < edges.towards_untouched <= 0.0
    assert 0.0 <= edges.towards_manipulated < found.likely_manipulated
    assert 0.04 < edges.false_positive_rate <= 0.05 < edges.false_positive_rate_upper
    assert edges.true_positive_rate > found.true_positive_rate
    assert found.miss_rate < edges.miss_rate <= 0.2
    assert edges.true_negative_rate > 0.5


@pytest.mark.parametrize("distance", [0.1, 6.0], ids=["hardly any separation", "none is unclear"])
def test_leaning_edges_ascend_however_well_the_classes_are_told_apart(distance: float) -> None:
    level = gaussians(distance=distance)
    found = fit_thresholds(level, fit_calibration(level, "face"), LIMITS)
    edges = found.leaning
    assert edges is not None
    assert (
        found.no_manipulation_found
        <= edges.towards_untouched
        <= edges.towards_manipulated
        <= found.likely_manipulated
    )


def face_rows(media: str, label: str, logits: list[float], track: int = 0, main: bool = True):
    return [
        {
            "media": media, "label": label, "method": "m", "dataset": "d", "group": media,
            "kind": "video", "track": track, "main": main, "time_s": float(i), "logit": z,
            "face_px": 100.0,
        }
        for i, z in enumerate(logits)
    ]  # fmt: skip


def test_a_track_says_whether_it_is_the_main_one_and_items_take_all() -> None:
    rows = pd.DataFrame(
        face_rows("f", "fake", [3.0] * 4)
        + face_rows("f", "fake", [-3.0] * 4, track=1, main=False)
        + face_rows("r", "real", [-2.0] * 4)
        + face_rows("r", "real", [1.0] * 4, track=1, main=False)
        + face_rows("short", "real", [9.0] * 2)
    )
    tracks = track_table(rows, spec())
    assert sorted(zip(tracks["media"], tracks["raw"], tracks["main"], strict=True)) == [
        ("f", -3.0, False), ("f", 3.0, True), ("r", -2.0, True), ("r", 1.0, False),
    ]  # fmt: skip
    items = item_table(tracks, spec().calibration.track).set_index("media")
    assert items.loc["r", "raw"] == pytest.approx(math.log((math.exp(1.0) + math.exp(-2.0)) / 2))
    # The service does not know who the label speaks of either.
    assert items.loc["f", "raw"] == pytest.approx(math.log((math.exp(3.0) + math.exp(-3.0)) / 2))


def test_without_videos_there_is_no_calibration() -> None:
    rows = pd.DataFrame(face_rows("f", "fake", [3.0] * 4)).assign(kind="image")
    with pytest.raises(TrainingError, match="video"):
        fit_levels(rows, spec(), LIMITS)


def held_out(stills: int) -> pd.DataFrame:
    """Return 40 videos and ``stills`` stills of each class; those of stills are less distinct."""
    rng = np.random.default_rng(0)
    rows = []
    for label, sign in (("real", -1.0), ("fake", 1.0)):
        for i in range(40):
            rows += face_rows(f"{label}{i}", label, list(rng.normal(3.0 * sign, 1.0, 4)))
        for i in range(stills):
            still = face_rows(f"{label}-still{i}", label, [float(rng.normal(sign, 1.0))])
            rows += [{**row, "kind": "image"} for row in still]
    return pd.DataFrame(rows)


def test_stills_keep_the_rates_by_thresholds_of_their_own() -> None:
    rows = held_out(400)
    _, thresholds = fit_levels(rows, spec(), LIMITS)
    assert thresholds.picture is not None
    assert thresholds.still is thresholds.picture
    assert thresholds.picture.false_positive_rate <= 0.01
    assert thresholds.picture.false_positive_rate_upper <= 0.025
    assert thresholds.item.true_positive_rate > thresholds.picture.true_positive_rate
    stricter = ErrorLimits(max_picture_false_positive_rate=0.005)
    _, again = fit_levels(rows, spec(), stricter)
    assert again.picture is not None
    assert again.picture.likely_manipulated > thresholds.picture.likely_manipulated
    assert again.item == thresholds.item, "the limit of stills moved the threshold of videos"


def test_a_still_of_several_people_counts_once_by_its_mean_ratio() -> None:
    rows = pd.DataFrame(
        face_rows("a", "real", [3.0]) + face_rows("a", "real", [-3.0], track=1, main=False)
    ).assign(kind="image")
    table = picture_table(rows, spec().calibration.face)
    assert len(table) == 1
    assert table["raw"][0] == pytest.approx(math.log((math.exp(3.0) + math.exp(-3.0)) / 2))


def test_too_few_stills_are_judged_by_the_thresholds_of_faces() -> None:
    _, thresholds = fit_levels(held_out(9), spec(), LIMITS)
    assert thresholds.picture is None
    assert thresholds.still is thresholds.face
