"""Test ``compare``: which of two runs is better, and what cannot be compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from deepfake_eval.analysis.compare import compare
from deepfake_eval.cli import app as cli
from deepfake_eval.errors import RunError
from deepfake_eval.evaluate.run import RunOptions, run
from tests.support import evaluation
from tests.support.evaluation import DRAWS


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
    assert result["difference"]["low"] == 1.0
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


def test_compare_names_the_run_whose_weights_know_the_media(
    done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    known = tmp_path / "known"
    shutil.copytree(done[0], known)
    metrics = json.loads((known / "metrics.json").read_text())
    metrics["settings"]["datasets"][0] |= {
        "in_sample": True,
        "training_sources": [{"dataset": "made", "source": "made"}],
    }
    (known / "metrics.json").write_text(json.dumps(metrics))
    assert compare(done[0], done[0], draws=5)["in_sample"] == []
    result = CliRunner().invoke(cli.app, ["compare", str(known), str(done[0]), "--draws", "5"])
    text = " ".join(result.output.split())
    assert "The weights of known were fitted on a data set that is measured here." in text
    # That another data set of the run is known says nothing about the media of both.
    metrics["settings"]["datasets"][0]["training_sources"][0]["dataset"] = "other"
    (known / "metrics.json").write_text(json.dumps(metrics))
    assert compare(known, done[0], draws=5)["in_sample"] == []


def test_compare_refuses_what_it_cannot_compare(
    done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
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
