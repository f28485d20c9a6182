"""Calibration and thresholds fitted on held-out values."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from deepfake_eval.analysis.reliability import track_table
from deepfake_models.decision.calibration import log_likelihood_ratio
from deepfake_training.errors import TrainingError
from deepfake_training.evaluate.calibrate import (
    Level,
    fit_calibration,
    fit_levels,
    fit_thresholds,
    item_table,
)
from tests.support.judgingkit import spec


def gaussians(n: int = 4000, distance: float = 2.0, seed: int = 0) -> Level:
    """Two unit normals: the natural-log likelihood ratio of x is distance * (x - distance / 2)."""
    rng = np.random.default_rng(seed)
    raw = np.r_[rng.normal(0, 1, n), rng.normal(distance, 1, n)]
    truth = np.r_[np.zeros(n, np.int64), np.ones(n, np.int64)]
    return level_of(raw, truth, np.array([f"g{i}" for i in range(2 * n)], object))


def level_of(raw: np.ndarray, truth: np.ndarray, group: np.ndarray) -> Level:
    """Values of one source."""
    media = np.array([f"m{i}" for i in range(len(raw))], object)
    return Level(raw, truth, group, np.full(len(raw), "source", object), media)


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


def test_thresholds_keep_the_false_positive_rate() -> None:
    level = gaussians(distance=3.0)
    calibration = fit_calibration(level, "face")
    found = fit_thresholds(level, calibration, max_fpr=0.02, max_miss=0.1)
    assert found.false_positive_rate <= 0.02
    assert found.false_positive_rate < found.false_positive_rate_upper
    assert found.miss_rate <= 0.1
    assert found.true_positive_rate > 0.7
    # On material it was not fitted on the rate is the same but for noise.
    fresh = gaussians(distance=3.0, seed=1)
    ratios = np.array([log_likelihood_ratio(r, calibration) for r in fresh.raw[fresh.truth == 0]])
    assert (ratios >= found.likely_manipulated).mean() < 0.03


@pytest.mark.parametrize(
    ("values", "media", "groups", "binds"),
    [(100, 100, 2, True), (20, 20, 10, True), (20, 20, 9, False), (100, 2, 2, False)],
    ids=["many media", "many groups", "too few of both", "many faces of few clips"],
)
def test_each_source_that_can_show_the_rate_keeps_it(
    values: int, media: int, groups: int, binds: bool
) -> None:
    level = gaussians(distance=3.0)
    odd = np.full(values, 3.0) + np.arange(values) / 1000
    mixed = Level(
        np.r_[level.raw, odd],
        np.r_[level.truth, np.zeros(values, np.int64)],
        np.r_[level.group, np.array([f"odd{i % groups}" for i in range(values)], object)],
        np.r_[level.source, np.full(values, "odd", object)],
        np.r_[level.media, np.array([f"clip{i % media}" for i in range(values)], object)],
    )
    calibration = fit_calibration(level, "face")
    found = fit_thresholds(mixed, calibration, max_fpr=0.02, max_miss=0.1)
    ratios = np.array([log_likelihood_ratio(r, calibration) for r in odd])
    assert ((ratios >= found.likely_manipulated).mean() <= 0.02) == binds


def test_weak_evidence_is_never_called_likely() -> None:
    level = gaussians(distance=0.3)
    found = fit_thresholds(level, fit_calibration(level, "face"), max_fpr=0.9, max_miss=0.1)
    assert found.likely_manipulated >= math.log10(10 / 3)


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
        fit_levels(rows, spec(), max_fpr=0.02, max_miss=0.1)
