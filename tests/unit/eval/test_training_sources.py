"""Test that measured training sources of a bundle are recognised and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from deepfake_eval.analysis.training_sources import (
    in_sample_warnings,
    mark_training_sources,
    out_of_fold,
    training_sources,
)
from deepfake_eval.cli import app as cli
from deepfake_models.bundle.bundle import Bundle, load_bundle, seal
from tests.support import evalkit, mediakit

COUNTS = {"crops": 1, "media": 1, "groups": 1}
ITEMS = pd.DataFrame(columns=["dataset", "kind", "method"])


def trained_on(directory: Path, *sources: str, reliability: dict[str, Any] | None = None) -> Bundle:
    """Seal a tiny bundle that records ``sources``, each with both labels."""
    names = [f"{source} ({label})" for source in sources for label in ("fake", "real")]
    training = {"train": dict.fromkeys(names, COUNTS), "held_out": {"unseen (real)": COUNTS}}
    bundle = evalkit.tiny_bundle(directory, training=training)
    (directory / "reliability.json").write_text(json.dumps(reliability or {}))
    return seal(directory, bundle.spec.model_dump(exclude={"files", "format_version"}))


def facts(name: str, adapter: str = "folders") -> list[dict[str, Any]]:
    return [{"adapter": adapter, "names": [name]}]


def rate(value: float, samples: int) -> dict[str, Any]:
    return {"value": value, "low": 0.0, "high": 1.0, "samples": samples, "groups": samples}


def record(level: str = "level_track") -> dict[str, Any]:
    """Return error rates of two methods and the originals of one source."""
    shared = {"dataset": "FaceForensics++"}
    return {
        level: {
            "by_source": [
                {**shared, "method": "Deepfakes", "label": "fake", "auc": rate(0.9, 80),
                 "true_positive_rate": rate(0.25, 40)},
                {**shared, "method": "FaceSwap", "label": "fake", "auc": rate(0.6, 60),
                 "true_positive_rate": rate(0.10, 20)},
                {**shared, "method": "original", "label": "real",
                 "false_positive_rate": rate(0.05, 40)},
                {"dataset": "other", "method": "original", "label": "real",
                 "false_positive_rate": rate(1.0, 40)},
            ]
        }
    }  # fmt: skip


@pytest.mark.parametrize(
    ("source", "name", "adapter", "expected"),
    [
        ("FaceForensics++", "FaceForensics++", "ffpp", True),
        ("ffpp-c40", "FaceForensics++", "ffpp", True),
        ("FaceForensics++", "ff++_copy", "folders", True),
        ("celeb-df", "Celeb-DF-v2", "celebdf", True),
        ("real/ffhq", "FFHQ", "folders", True),
        ("pairs/swap-dreamid", "pairs/swap-dreamid", "csv", True),
        ("Celeb-DF-v2", "mine", "celebdf", True),
        ("dfdc", "DeepFakeDetection", "dfd", False),
        ("dfdc", "DFDCP", "dfdcp", False),
        ("real/ffhq", "real", "folders", False),
        ("celebv-text", "Celeb-DF-v2", "celebdf", False),
        ("pairs/swap-dreamid", "pairs/swap-simswap", "csv", False),
        ("한국", "日本", "folders", False),
    ],
)
def test_a_training_source_is_recognised_by_its_name(
    tmp_path: Path, source: str, name: str, adapter: str, expected: bool
) -> None:
    marked = mark_training_sources(facts(name, adapter), trained_on(tmp_path, source), ITEMS)
    assert marked[0]["in_sample"] is expected
    assert [m["source"] for m in marked[0]["training_sources"]] == [source] * expected


def test_sources_that_were_only_held_out_are_not_training_sources(tmp_path: Path) -> None:
    bundle = trained_on(tmp_path, "FaceForensics++", "real/film")
    assert training_sources(bundle) == ["FaceForensics++", "real/film"]
    assert training_sources(evalkit.tiny_bundle(tmp_path / "plain")) == []


def test_out_of_fold_figures_are_pooled_over_the_measured_methods() -> None:
    (both,) = out_of_fold(record(), "FaceForensics++", {"video"}, set())
    assert both["level"] == "track"
    assert both["auc"] == pytest.approx((40 * 0.9 + 20 * 0.6) / 60)
    assert both["true_positive_rate"] == pytest.approx(0.2)
    assert both["false_positive_rate"] == 0.05
    assert (both["fake"], both["real"]) == (60, 40)
    (one,) = out_of_fold(record(), "FaceForensics++", {"video"}, {"FaceSwap", "original"})
    assert [e["method"] for e in one["by_method"]] == ["FaceSwap", "original"]
    assert one["auc"] == 0.6


def test_videos_and_pictures_have_figures_of_their_own_level() -> None:
    assert out_of_fold(record(), "FaceForensics++", {"image"}, set()) == []
    (faces,) = out_of_fold(record("level_face"), "FaceForensics++", {"image", ""}, set())
    assert faces["level"] == "face"


def test_rates_measured_on_a_run_are_not_out_of_fold() -> None:
    """``deepfake-eval reliability --bundle-out`` may have measured the training data."""
    measured = {**record(), "bundle": {"bundle": "default"}}
    assert out_of_fold(measured, "FaceForensics++", {"video"}, set()) == []


def test_a_warning_says_when_there_is_no_out_of_fold_figure(tmp_path: Path) -> None:
    marked = mark_training_sources(facts("ffhq"), trained_on(tmp_path, "real/ffhq"), ITEMS)
    (warning,) = in_sample_warnings(marked)
    assert "ffhq (real/ffhq in the bundle) is a training source of this bundle" in warning
    assert "no out-of-fold figure" in warning


@pytest.mark.parametrize("source", ["FaceForensics++", "something else"])
def test_a_run_warns_in_terminal_report_and_metrics(tmp_path: Path, source: str) -> None:
    root = tmp_path / "media"
    for number in range(2):
        for label in ("real", "fake"):
            path = root / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(mediakit.picture(evalkit.portrait(label, number), "PNG"))
    trained_on(tmp_path / "bundle", source, reliability=record("level_face"))
    arguments = ["--bundle", tmp_path / "bundle", "--out", tmp_path / "out", "--draws", 5]
    dataset = f"folders,title=FaceForensics++:{root}"
    result = CliRunner().invoke(
        cli.app, ["run", "--dataset", dataset, *map(str, arguments)], env={"COLUMNS": "300"}
    )
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    report = (tmp_path / "out" / "report.html").read_text()
    (entry,) = metrics["settings"]["datasets"]
    expected = source == "FaceForensics++"
    assert entry["in_sample"] is expected
    assert ("warning: In-sample: FaceForensics++ is a training source" in result.output) is expected
    assert ("groups, in-sample" in result.output) is expected
    assert ('<p class="warn">In-sample: FaceForensics++' in report) is expected
    assert ("folders title=FaceForensics++; in-sample" in report) is expected
    if expected:
        assert entry["training_sources"][0]["out_of_fold"][0]["auc"] == pytest.approx(0.8)
        assert "AUC 0.800, TPR 20.0% of 60, FPR 5.0% of 40" in " ".join(result.output.split())


def test_the_shipped_bundle_knows_its_training_sources() -> None:
    items = pd.DataFrame(
        [("FaceForensics++", "video", "Deepfakes"), ("FaceForensics++", "video", "original")],
        columns=["dataset", "kind", "method"],
    )
    (entry,) = mark_training_sources(facts("FaceForensics++", "ffpp"), load_bundle(), items)
    assert entry["in_sample"] is True
    (figure,) = entry["training_sources"][0]["out_of_fold"]
    assert 0.85 < figure["auc"] < 0.99
    assert figure["fake"] == 41
