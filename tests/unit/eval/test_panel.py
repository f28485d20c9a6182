"""Test the figures of a run against their plain definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from sklearn import metrics as library
from sklearn.metrics import roc_auc_score

from deepfake_eval.analysis.metrics import (
    FPR_LIMITS,
    calibration_bins,
    equal_error_rate,
    expected_calibration_error,
    panel,
    roc,
    tpr_at,
    worst_case_auc,
)
from deepfake_eval.evaluate.detector import measure_table
from deepfake_eval.options import DetectorOptions

DEEPFAKEBENCH = {
    "video_auc": 0.5778, "auc": 0.5725, "ap": 0.5285, "acc": 0.5793, "eer": 0.4533,
}  # fmt: skip
"""What its code returned for ``frames_of_videos``: the first where the clip without a face was one
frame with the score 0.5, the others without that clip."""

RNG = np.random.default_rng(5)


def test_figures_of_a_case_worked_by_hand() -> None:
    truth = [0, 0, 0, 0, 1, 1, 1, 1]
    score = [0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9]
    figures = panel(truth, score, score, range(8), draws=50)
    assert figures["auc"].value == pytest.approx(15 / 16)
    assert figures["eer"].value == pytest.approx(0.25)
    assert figures["accuracy"].value == pytest.approx(6 / 8)
    # One of four reals above the threshold is an FPR of 25%, so four say nothing of 5%.
    assert np.isnan(figures["tpr_at_5_fpr"].value)
    # Precision at each fake found, from the top: 1, 1, 1, 4/5.
    assert figures["average_precision"].value == pytest.approx((1 + 1 + 1 + 4 / 5) / 4)
    assert all(e.low <= e.value <= e.high for n, e in figures.items() if n not in FPR_LIMITS)


@pytest.mark.parametrize("values", [3, 12, 10**9], ids=["few", "ties", "none alike"])
def test_figures_equal_those_of_scikit_learn(values: int) -> None:
    rng = np.random.default_rng(values)
    for count in (2, 7, 90):
        truth = np.r_[0, 1, rng.integers(2, size=count - 2)]
        score = np.clip(rng.integers(values, size=count) / values + 0.2 * truth, 0.0, 1.0)
        figures = panel(truth, score, score, np.arange(count), draws=2)
        fpr, tpr, _ = library.roc_curve(truth, score, drop_intermediate=False)
        for ours, theirs in zip(roc(truth, score), (fpr, tpr), strict=True):
            assert np.allclose(ours, theirs)
        guess = score >= 0.5
        for name, expected in {
            "auc": roc_auc_score(truth, score),
            "average_precision": library.average_precision_score(truth, score),
            "eer": brentq(lambda x, f=fpr, t=tpr: 1.0 - x - np.interp(x, f, t), 0.0, 1.0),
            "accuracy": library.accuracy_score(truth, guess),
        }.items():
            assert figures[name].value == pytest.approx(expected), name


def test_the_highest_rate_counts_of_thresholds_on_one_line() -> None:
    """Twenty pairs of one real and one fake, and each pair has a score of its own."""
    truth, rank = np.tile([0, 1], 20), np.repeat(np.arange(20.0), 2)
    figures = panel(truth, rank, np.full(40, 0.5), range(40), draws=2)
    assert figures["tpr_at_5_fpr"].value == pytest.approx(1 / 20)


def test_a_fake_that_was_not_scored_counts_as_missed() -> None:
    truth = np.array([0] * 20 + [1] * 10)
    rank = np.concatenate([np.linspace(0, 0.4, 20), np.linspace(0.6, 1, 10)])
    whole = panel(truth, rank, rank, range(30), draws=20)
    assert whole["tpr_at_5_fpr"].value == 1.0
    assert np.isnan(whole["tpr_at_1_fpr"].value)
    rank[25:] = np.nan
    part = panel(truth, rank, rank, range(30), draws=20)
    assert part["tpr_at_5_fpr"].value == pytest.approx(0.5)
    assert part["auc"].value == 1.0
    assert part["auc"].samples == 25
    assert worst_case_auc(truth, rank) == pytest.approx(0.5)


def test_worst_case_counts_reals_not_scored_as_alarms() -> None:
    assert worst_case_auc([0, 0, 1, 1], [np.nan, 0.1, 0.5, 0.6]) == pytest.approx(0.5)
    assert worst_case_auc([0, 1], [np.nan, np.nan]) == 0.0
    assert np.isnan(worst_case_auc([1, 1], [0.1, 0.2]))


@pytest.mark.slow
def test_intervals_are_of_groups_not_of_rows() -> None:
    groups = np.repeat(np.arange(20), 2)
    truth = np.tile([0, 1], 20)
    rank = RNG.normal(size=40) + truth
    once = panel(truth, rank, np.full(40, 0.5), groups, draws=400)["auc"]
    # Fifty copies of the same people add no information.
    more = panel(
        np.tile(truth, 50), np.tile(rank, 50), np.full(2000, 0.5), np.tile(groups, 50), draws=400
    )["auc"]
    assert more.value == pytest.approx(once.value)
    assert (more.low, more.high) == (pytest.approx(once.low), pytest.approx(once.high))
    assert (more.groups, more.samples) == (20, 2000)


@pytest.mark.parametrize(("truth", "groups"), [([0, 0], [1, 2]), ([], []), ([1, 1, 1], [1, 2, 3])])
def test_a_missing_class_gives_no_figure(truth: list[int], groups: list[int]) -> None:
    figures = panel(truth, np.linspace(0, 1, len(truth)), np.full(len(truth), 0.5), groups)
    assert all(e.to_json()["value"] is None for e in figures.values())


def test_one_group_of_a_class_gives_no_interval() -> None:
    rank = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.35])
    figures = panel([0, 0, 1, 1, 1, 1], rank, rank, list("abcccc"), draws=20)
    assert figures["auc"].value == pytest.approx(1.0)
    assert all(e.to_json()["low"] is e.to_json()["high"] is None for e in figures.values())
    # A group that was not scored does not count.
    rank[5] = np.nan
    figures = panel([0, 0, 1, 1, 1, 1], rank, rank, list("abcccd"), draws=20)
    assert figures["auc"].to_json()["low"] is None


def test_one_group_gives_no_interval() -> None:
    figures = panel([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4], ["g"] * 4)
    assert figures["auc"].value == pytest.approx(0.75)
    assert figures["auc"].to_json()["low"] is None


def test_equal_error_rate_of_a_perfect_a_useless_and_an_inverted_ranking() -> None:
    def curve(*points: tuple[float, float]) -> float:
        fpr, tpr = np.array(points).T
        return equal_error_rate(fpr, tpr)

    assert curve((0, 0), (0, 1), (1, 1)) == pytest.approx(0.0, abs=1e-9)
    assert curve((0, 0), (1, 1)) == pytest.approx(0.5)
    assert curve((0, 0), (1, 0), (1, 1)) == pytest.approx(1.0, abs=1e-9)


def test_tpr_at_a_fixed_fpr_is_not_interpolated() -> None:
    fpr, tpr = np.array([0.0, 0.0, 0.02, 1.0]), np.array([0.0, 0.3, 0.8, 1.0])
    assert tpr_at(fpr, tpr, 0.01) == 0.3
    assert tpr_at(fpr, tpr, 0.05) == 0.8


def test_calibration_is_judged_at_the_prior_not_at_the_set_s_share_of_fakes() -> None:
    # Scores calibrated at one half, on a set in which nine of ten are fakes.
    score = RNG.uniform(0.02, 0.98, 400_000)
    fake = RNG.random(400_000) < score
    keep = fake | (RNG.random(400_000) < 1 / 9)
    truth, kept = fake[keep].astype(int), score[keep]
    assert truth.mean() > 0.88
    assert expected_calibration_error(truth, kept) < 0.01
    assert expected_calibration_error(truth, kept, prior=0.9) > 0.2
    assert sum(w for *_, w in calibration_bins(truth, kept)) == pytest.approx(1.0)


def test_scores_of_exactly_one_have_a_bin() -> None:
    assert expected_calibration_error([0, 1], [0.0, 1.0]) == 0.0


def frames_of_videos() -> list[dict[str, object]]:
    """Return the frames of thirty clips in six folders; the last clip has no frame with a face."""
    rng = np.random.default_rng(33)
    rows: list[dict[str, object]] = []
    for number in range(30):
        label = "fake" if number % 2 else "real"
        level = rng.normal(0.8 * (number % 2))
        for frame in range(5):
            logit = level + rng.normal(scale=0.7)
            score = "" if number == 29 else round(float(1 / (1 + np.exp(-logit))), 4)
            rows.append(
                {"media": f"{label}/{number:03d}.mp4", "label": label, "frame": frame,
                 "score": score, "group": number}
            )  # fmt: skip
    return rows


def test_the_mean_of_frames_is_that_of_deepfakebench(tmp_path: Path) -> None:
    """``get_test_metrics`` of SCLBD/DeepfakeBench (training/metrics/utils.py at 8a4a7bf) averages
    the frames of a clip and takes scikit-learn's ROC curve of the means."""
    rows = frames_of_videos()
    path = tmp_path / "scores.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    options = DetectorOptions(probabilities=True, draws=5)
    metrics = measure_table(path, tmp_path / "out", options)
    video, frame = (metrics["levels"][level][0] for level in ("video", "frame"))
    item = metrics["levels"]["item"][0]
    assert (video["real"]["scored"], video["fake"]["scored"]) == (15, 15)
    assert video["fake"]["not_scored"] == 0
    assert item["fake"]["not_scored"] == 1
    means: dict[object, list[float]] = {}
    for row in rows:
        means.setdefault(row["media"], []).append(0.5 if row["score"] == "" else row["score"])
    truth = [str(media).startswith("fake") for media in means]
    fpr, tpr, _ = library.roc_curve(truth, [sum(v) / len(v) for v in means.values()])
    assert video["auc"]["value"] == pytest.approx(library.auc(fpr, tpr), abs=5e-5)
    assert video["auc"]["value"] == DEEPFAKEBENCH["video_auc"]
    assert item["auc"]["value"] != video["auc"]["value"]
    theirs_of = {"auc": "auc", "average_precision": "ap", "accuracy": "acc", "eer": "eer"}
    for name, theirs in theirs_of.items():
        assert frame[name]["value"] == pytest.approx(DEEPFAKEBENCH[theirs], abs=5e-5), name
