"""Test that measured training sources of a bundle are recognised and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deepfake_eval.analysis.training_sources import (
    in_sample_warnings,
    mark_training_sources,
    training_sources,
)
from deepfake_eval.cli import app as cli
from deepfake_models.bundle.bundle import Bundle, load_bundle
from tests.support import evaluation, footage

COUNTS = {"crops": 1, "media": 1, "groups": 1}


def trained_on(directory: Path, *sources: str) -> Bundle:
    """Seal a tiny bundle that records ``sources``, each with both labels."""
    names = [f"{source} ({label})" for source in sources for label in ("fake", "real")]
    training = {"train": dict.fromkeys(names, COUNTS), "held_out": {"unseen (real)": COUNTS}}
    return evaluation.tiny_bundle(directory, training=training)


def facts(name: str, adapter: str = "folders") -> list[dict[str, Any]]:
    return [{"adapter": adapter, "names": [name]}]


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
    marked = mark_training_sources(facts(name, adapter), trained_on(tmp_path, source))
    assert marked[0]["in_sample"] is expected
    assert [m["source"] for m in marked[0]["training_sources"]] == [source] * expected


def test_sources_that_were_only_held_out_are_not_training_sources(tmp_path: Path) -> None:
    bundle = trained_on(tmp_path, "FaceForensics++", "real/film")
    assert training_sources(bundle) == ["FaceForensics++", "real/film"]
    assert training_sources(evaluation.tiny_bundle(tmp_path / "plain")) == []


def test_a_warning_names_the_source_and_where_other_figures_are(tmp_path: Path) -> None:
    marked = mark_training_sources(facts("ffhq"), trained_on(tmp_path, "real/ffhq"))
    (warning,) = in_sample_warnings(marked)
    assert "ffhq (real/ffhq in the bundle) is a training source of this bundle" in warning
    assert "the bundle's model card" in warning


@pytest.mark.parametrize("source", ["FaceForensics++", "something else"])
def test_a_run_warns_in_terminal_report_and_metrics(tmp_path: Path, source: str) -> None:
    root = tmp_path / "media"
    for number in range(2):
        for label in ("real", "fake"):
            path = root / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(footage.picture(evaluation.portrait(label, number), "PNG"))
    trained_on(tmp_path / "bundle", source)
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


def test_the_shipped_bundle_knows_its_training_sources() -> None:
    (entry,) = mark_training_sources(facts("FaceForensics++", "ffpp"), load_bundle())
    assert entry["in_sample"] is True
