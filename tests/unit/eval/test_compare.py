"""Test ``compare``: which of two runs is better, and what cannot be compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2
from typer.testing import CliRunner

from deepfake_eval.analysis.compare import compare
from deepfake_eval.analysis.in_sample import any_fitted
from deepfake_eval.analysis.intervals import Estimate, delong_p_value, p_value
from deepfake_eval.analysis.pairing import holm
from deepfake_eval.cli import app as cli
from deepfake_eval.errors import RunError
from deepfake_eval.evaluate.run import run
from deepfake_eval.options import RunOptions
from tests.support import evaluation
from tests.support.evaluation import DRAWS

PATIENTS = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
3.6 6.6 5 1
"""
PAIRS = (
    ("alb", "totscore", 0.9102063472010352),
    ("tp", "totscore", 0.4561397075074736),
    ("alb", "tp", 0.11182821012069631),
)
ESTIMATE = ("value", "low", "high", "samples", "groups")


def test_compare_finds_the_better_run(
    bundle: Path, media: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    evaluation.tiny_bundle(tmp_path / "inverted", gain=-0.15)
    run(tmp_path / "inverted", [f"csv,title=made:{media}"], tmp_path / "b", RunOptions(draws=5))
    result = compare(done[0], tmp_path / "b", draws=DRAWS)
    assert result["auc_a"] == 1.0
    assert result["auc_b"] == 0.0
    assert result["scored_in_both"] == 12
    assert result["difference"]["value"] == 1.0
    assert result["difference"]["low"] is None  # all resamples agree
    assert result["difference"]["indicative"] is True
    assert result["difference"]["groups"] == 6
    same = compare(done[0], done[0], draws=DRAWS)
    assert same["difference"]["value"] == 0.0


def test_compare_takes_the_stricter_of_both_bundles_groups(
    done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    def indicative(min_groups: int) -> bool:
        other = tmp_path / str(min_groups)
        shutil.copytree(done[0], other)
        metrics = json.loads((other / "metrics.json").read_text())
        metrics["bundle"]["min_groups"] = min_groups
        (other / "metrics.json").write_text(json.dumps(metrics))
        result: bool = compare(other, other, draws=5)["difference"]["indicative"]
        return result

    # Each class has six groups.
    assert [indicative(5), indicative(7)] == [False, True]


def test_compare_counts_the_media_that_a_run_was_fitted_on(
    done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    known = tmp_path / "known"
    shutil.copytree(done[0], known)
    table = pd.read_parquet(known / "predictions.parquet")
    fitted = np.where(table["media"] == "fake/0.png", "file", "no")
    table.assign(fitted=fitted).to_parquet(known / "predictions.parquet")
    assert not any(e["known"] for e in compare(done[0], done[0], draws=5)["in_sample"].values())
    result = CliRunner().invoke(cli.app, ["compare", str(known), str(done[0]), "--draws", "5"])
    assert "known: In sample: 1 of 12 media. The weights were fitted on 1 of" in result.output
    assert f"{done[0].name}: In sample: not known" in result.output
    # What is stated of some media counts although nothing is of the others.
    partly = np.where(table["media"] == "fake/0.png", "file", None)
    table.assign(fitted=partly).to_parquet(known / "predictions.parquet")
    counts = compare(known, done[0], draws=5)["in_sample"]["known"]
    assert (counts["known"], any_fitted(counts)) == (False, True)


def test_compare_has_a_difference_for_each_data_set_and_method(
    done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    other, two = tmp_path / "other", tmp_path / "two"
    for folder, lowered in ((other, "fake/0.png"), (two, "")):
        shutil.copytree(done[0], folder)
        table = pd.read_parquet(folder / "predictions.parquet")
        table["rank"] = np.where(table["media"] == lowered, -99.0, table["rank"])
        if folder == two:
            table["method"] = np.where(table["media"] == "fake/0.png", "wash", table["method"])
        table.to_parquet(folder / "predictions.parquet")
    parts = compare(done[0], other, draws=DRAWS)["parts"]
    # One of six fakes ranks below all six reals. A single method is the data set.
    assert [(p["dataset"], p["method"]) for p in parts] == [("made", "")]
    assert parts[0]["difference"]["value"] == pytest.approx(1 / 6, abs=1e-4)
    parts = compare(two, other, draws=DRAWS)["parts"]
    assert [p["method"] for p in parts] == ["", "tint", "wash"]
    assert [p["difference"]["value"] for p in parts] == pytest.approx([1 / 6, 0.0, 1.0], abs=1e-4)
    # Two have no interval, and so neither a p-value nor a part in the correction.
    single = p_value(Estimate(*(parts[0]["difference"][k] for k in ESTIMATE)))
    assert parts[0]["p_value"] == pytest.approx(single, abs=1e-3)
    assert [p["p_value"] for p in parts[1:]] == [None, None]
    result = CliRunner().invoke(cli.app, ["compare", str(two), str(other), "--draws", str(DRAWS)])
    assert "made: wash: +1.000, without an interval (" in result.output


def delong_by_definition(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Return the p-value as the paper of 1988 defines it, from the kernel of all pairs."""
    areas, parts = [], []
    for scores in (first, second):
        pairs = np.subtract.outer(scores[truth == 1], scores[truth == 0])
        kernel = (pairs > 0) + 0.5 * (pairs == 0)
        areas.append(kernel.mean())
        parts.append((kernel.mean(axis=1), kernel.mean(axis=0)))
    covariance = sum(np.cov(one, other) / len(one) for one, other in zip(*parts, strict=True))
    contrast = np.array([1.0, -1.0])
    return float(chi2.sf((contrast @ areas) ** 2 / (contrast @ covariance @ contrast), 1))


def test_delongs_test_gives_the_figures_of_its_definition() -> None:
    # 43 of the patients of DeLong, DeLong and Clarke-Pearson (1988): albumin, total protein, K-G
    # score and popind, the data set of example 60.8 in the SAS/STAT 13.1 User's Guide. The figures
    # are those of the implementation at github.com/yandexdataschool/roc_comparison (62da5b8).
    alb, protein, score, truth = np.array(PATIENTS.split(), dtype=float).reshape(-1, 4).T
    tests = {"alb": alb, "tp": protein, "totscore": 10 - score}
    for one, other, published in PAIRS:
        given = (truth, tests[one], tests[other])
        assert delong_p_value(*given) == pytest.approx(published, abs=1e-9)
        assert delong_p_value(*given) == pytest.approx(delong_by_definition(*given), rel=1e-9)
    assert delong_p_value(truth, alb, 10 - score) == delong_p_value(truth, 10 - score, alb)
    assert np.isnan(delong_p_value(truth, alb, 2 * alb))
    rng = np.random.default_rng(0)
    for reals, fakes in ((5, 5), (40, 7), (60, 200)):
        given_truth = np.repeat([0, 1], [reals, fakes])
        one, other = (given_truth + rng.normal(size=given_truth.size).round(1) for _ in range(2))
        expected = delong_by_definition(given_truth, one, other)
        assert delong_p_value(given_truth, one, other) == pytest.approx(expected, rel=1e-9)


def test_p_values_are_corrected_by_holm() -> None:
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert p_value(Estimate(1.96, 0.0, 3.92, 9, 9)) == pytest.approx(0.05, abs=1e-4)
    assert p_value(Estimate(0.2, float("nan"), float("nan"), 9, 1)) == 1.0


def test_compare_refuses_what_it_cannot_compare(
    done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="There is no folder"):
        compare(done[0], tmp_path / "nowhere")
    with pytest.raises(RunError, match="is not readable"):
        compare(done[0], tmp_path)
    table = pd.read_parquet(done[0] / "predictions.parquet")
    table.to_parquet(tmp_path / "predictions.parquet")
    with pytest.raises(RunError, match="is not readable"):
        compare(done[0], tmp_path)
    shutil.copy(done[0] / "metrics.json", tmp_path)
    for name, change, named in (
        ("label", table["label"].map({"real": "fake", "fake": "real"}), "label a medium diff"),
        ("rank", np.nan, "lack a class"),
    ):
        table.assign(**{name: change}).to_parquet(tmp_path / "predictions.parquet")
        with pytest.raises(RunError, match=named):
            compare(done[0], tmp_path)
    for other in (table[["media"]], table.assign(degradation="blur")):
        other.to_parquet(tmp_path / "predictions.parquet")
        with pytest.raises(RunError, match="was not written by deepfake-eval run"):
            compare(done[0], tmp_path)
