"""Data sets and detectors that another installed package brings."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deepfake_eval.cli import app as cli
from deepfake_eval.datasets import DATASETS, describe, load
from deepfake_eval.errors import DatasetError, RunError
from deepfake_eval.evaluate.detector import DETECTORS, load_detector
from tests.support import footage
from tests.support.installed import install

CODE = """
from pathlib import Path

from deepfake_eval.datasets import load_manifest

CLIPS = load_manifest(Path(__file__).with_name("clips.toml"))

def size(path):
    return float(len(path.read_bytes()))
"""
CLIPS = """
title = "Clips"
layout = "{real,fake}/*.png"
grouping = "each file"
needs = [["real", "fake"]]

[[sources]]
below = ["real"]
walk = "files"
label = "real"

[[sources]]
below = ["fake"]
walk = "files"
label = "fake"
method = ["swap"]
"""


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a data set of a package ``theirs``, which is installed."""
    module = install(
        tmp_path / "site",
        monkeypatch,
        "theirs",
        CODE,
        datasets={"clips": "theirs:CLIPS"},
        detectors={"size": "theirs:size"},
    )
    (module / "clips.toml").write_text(CLIPS)
    for label, side in (("real", 8), ("fake", 64)):
        (tmp_path / label).mkdir()
        noise = np.random.default_rng(side).integers(0, 255, (2, side, side, 3)).astype(np.uint8)
        for number, pixels in enumerate(noise):
            (tmp_path / label / f"{number}.png").write_bytes(footage.picture(pixels, "PNG"))
    return tmp_path


def test_a_detector_of_a_package_is_measured_on_a_data_set_of_it(clips: Path) -> None:
    assert "clips" in DATASETS
    assert list(DETECTORS) == ["size"]
    assert "theirs" not in sys.modules, "it was imported before it was named"
    out = clips / "out"
    arguments = ["size", "--dataset", f"clips:{clips}", "--out", str(out), "--draws", "10"]
    done = CliRunner().invoke(cli.app, ["detector", *arguments])
    assert done.exit_code == 0, done.output
    with (out / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["label"], r["method"], r["dataset"]) for r in rows] == (
        [("real", "original", "Clips")] * 2 + [("fake", "swap", "Clips")] * 2
    )
    assert min(float(r["score"]) for r in rows[2:]) > max(float(r["score"]) for r in rows[:2])
    assert "clips\n  below ROOT: {real,fake}/*.png" in describe("")


def test_scores_are_those_of_the_module_as_it_is(clips: Path) -> None:
    """Also if the function is named by dots."""
    arguments = ["--dataset", f"clips:{clips}", "--out", str(clips / "out"), "--draws", "10"]
    for name in ("size", "theirs.size"):
        for _ in range(2):
            done = CliRunner().invoke(cli.app, ["detector", name, *arguments])
            assert done.exit_code == 0, done.output
    lines = (clips / "out" / "records.jsonl").read_text().splitlines()
    assert len(lines) == 2 * 4, "the second run of a name found the records of the first"


@pytest.mark.parametrize(
    ("entry", "code", "says"),
    [
        ({"clips": "broken:CLIPS"}, "import nowhere", "'clips' of broken 1.0 cannot be imported "
         r"\(ModuleNotFoundError: No module named 'nowhere'\). Correct broken:CLIPS"),
        ({"clips": "broken:CLIPS"}, "CLIPS = 1", "'clips' of broken 1.0 is of the wrong type, int"),
        ({"ffpp": "broken:CLIPS"}, "", "'ffpp' of broken 1.0 has the name of one that is built in"),
    ],
)  # fmt: skip
def test_a_data_set_that_cannot_be_used_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: dict[str, str], code: str, says: str
) -> None:
    install(tmp_path / "site", monkeypatch, "broken", code, datasets=entry)
    with pytest.raises(DatasetError, match=says):
        load(next(iter(entry)), tmp_path)
    assert load("folders", _folders(tmp_path)).rows, "the others are usable"
    listed = describe("")
    assert "broken 1.0" in listed
    assert "celebdf" in listed, "the others are listed"


def test_two_packages_with_one_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("one", "two"):
        install(
            tmp_path / package, monkeypatch, package, "f = len", detectors={"f": f"{package}:f"}
        )
    with pytest.raises(RunError, match=r"'f' of (one|two) 1.0 and (one|two) 1.0 has the name of a"):
        load_detector("f")
    with pytest.raises(RunError, match=r"no function 'g'.*one of a package \(f installed\)"):
        load_detector("g")


def _folders(root: Path) -> Path:
    for label in ("real", "fake"):
        (root / label).mkdir()
        (root / label / "0.png").touch()
    return root
