"""Measure detectors that are Python functions, and refuse those that cannot be used."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from deepfake_eval.cli import app as cli
from deepfake_eval.errors import RunError
from deepfake_eval.evaluate.detector import SCORES, run_detector
from deepfake_eval.options import DetectorOptions
from tests.support import footage

OPTIONS = DetectorOptions(draws=50)

DETECTOR = """
calls = []

def brightness(path):
    import numpy as np
    from PIL import Image
    calls.append(path.name)
    with Image.open(path) as picture:
        return np.asarray(picture).mean()

def failing(path):
    raise ValueError("no weights")

def text(path):
    return "fake"

def square(path):
    return [[1.0, 2.0]]

def frames(path):
    import numpy as np
    grey = 1.0 + ("fake" in str(path))
    return None if path.name == "1.png" else np.array([grey, 2 * grey])
"""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of two real and two fake pictures, beside a module ``own_detector``."""
    for label, shade in (("real", 40), ("fake", 200)):
        folder = tmp_path / "media" / label
        folder.mkdir(parents=True)
        for number in range(2):
            pixels = np.full((8, 8, 3), shade + number, np.uint8)
            (folder / f"{number}.png").write_bytes(footage.picture(pixels, "PNG"))
    (tmp_path / "own_detector.py").write_text(DETECTOR)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_detector", raising=False)
    return tmp_path / "media"


def test_a_function_of_ones_own_is_measured_and_resumes(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        metrics = run_detector("own_detector:brightness", [f"folders:{folders}"], out, OPTIONS)
    assert metrics["levels"]["item"][0]["auc"]["value"] == 1.0
    assert metrics["settings"]["datasets"][0]["adapter"] == "folders"
    with (out / SCORES).open() as file:
        assert len(list(csv.DictReader(file))) == 4
    predictions = pd.read_parquet(out / "predictions.parquet")
    assert set(predictions["kind"]) == {"image"}
    import own_detector  # type: ignore[import-not-found]

    assert len(own_detector.calls) == 4
    (tmp_path / "own_detector.py").write_text(DETECTOR.replace("picture).mean()", "picture).max()"))
    run_detector("own_detector:brightness", [f"folders:{folders}"], out, OPTIONS)
    assert len(own_detector.calls) == 8, "the function may be another one now"


def test_groups_of_several_data_sets_are_named_as_by_a_bundle(
    folders: Path, tmp_path: Path
) -> None:
    sets = [f"folders,title={name}:{folders}" for name in ("A", "B")]
    run_detector("own_detector:brightness", sets, tmp_path / "out", OPTIONS)
    predictions = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert set(predictions[predictions["dataset"] == "A"]["group"]) == {
        f"A/{label}/{number}.png" for label in ("real", "fake") for number in range(2)
    }


@pytest.mark.parametrize(
    ("source", "datasets"), [("own_detector:brightness", ""), ("scores.csv", "folders:media")]
)
def test_a_function_needs_data_sets_and_a_table_has_none(source: str, datasets: str) -> None:
    given = ["--dataset", datasets] if datasets else []
    done = CliRunner().invoke(cli.app, ["detector", source, "--out", "out", *given])
    assert done.exit_code == 2
    assert "A function needs a --dataset" in done.output


def test_videos_and_pictures_are_told_apart(folders: Path, tmp_path: Path) -> None:
    (folders / "fake" / "clip.mp4").write_bytes(b"read by the detector alone")
    (folders / "frames").mkdir()
    (folders / "frames" / "1.png").write_bytes(b"")
    media = ["real/0.png", "fake/0.png", "fake/clip.mp4", "frames"]
    lines = [f"{m},{'real' if m.startswith('real') else 'fake'}\n" for m in media]
    (folders / "manifest.csv").write_text("media,label\n" + "".join(lines))
    (tmp_path / "own_detector.py").write_text("def name(path):\n    return len(path.name)\n")
    out = tmp_path / "out"
    run_detector("own_detector:name", [f"csv:{folders}"], out, OPTIONS)
    predictions = pd.read_parquet(out / "predictions.parquet").set_index("media")
    assert predictions["kind"].to_dict() == dict(
        zip(media, ("image", "image", "video", "video"), strict=True)
    )


def test_the_report_says_on_how_many_media_a_function_failed(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "own_detector.py").write_text(
        "def odd(path):\n    return 1 / (int(path.stem) % 2) + len(path.parent.name)\n"
    )
    metrics = run_detector("own_detector:odd", [f"folders:{folders}"], tmp_path / "out", OPTIONS)
    note = metrics["settings"]["datasets"][0]["notes"][-1]
    assert note == (
        "The detector failed on 2 media, which were not scored; first real/0.png "
        "(ZeroDivisionError)."
    )
    assert note in (tmp_path / "out" / "report.html").read_text()


def test_scores_of_frames_are_measured_as_frames_and_by_their_mean(
    folders: Path, tmp_path: Path
) -> None:
    for label in ("real", "fake"):
        for number in range(2):
            (folders / label / f"{number}.mp4").touch()
    lists = tmp_path / "fitted.csv"
    lists.write_text("media,dataset\nreal/0.mp4,media\nfake/0.mp4,another\n")
    out = tmp_path / "out"
    command = ["detector", "own_detector:frames", "--dataset", f"folders:{folders}"]
    command += ["--out", str(out), "--draws", "5", "--fitted", str(lists)]
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 0, done.output
    table = pd.read_parquet(out / "predictions.parquet")
    items = table[table["level"] == "item"].set_index("media")
    assert items["rank"].dropna().to_dict() == {
        f"{label}/0.{kind}": mean
        for label, mean in (("real", 1.5), ("fake", 3.0))
        for kind in ("png", "mp4")
    } | {"real/1.mp4": 1.5, "fake/1.mp4": 3.0}
    frames = table[(table["level"] == "frame") & (table["media"] == "fake/0.mp4")]
    assert frames["rank"].tolist() == [2.0, 4.0]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["levels"]["video"][0]["auc"]["value"] == 1.0
    assert (metrics["in_sample"]["known"], metrics["in_sample"]["same_file"]) == (True, 1)
    assert "None of these media" not in done.output
    lists.write_text("media\n/data/train/real/0.mp4\n")
    done = CliRunner().invoke(cli.app, command)
    notes = json.loads((out / "metrics.json").read_text())["settings"]["notes"]
    assert notes[-1] == (
        "None of these media is in fitted.csv. If some were fitted on, name them there as "
        "scores.csv does, for example real/0.mp4."
    )


@pytest.mark.parametrize(
    ("content", "message"), [("file\n", "fitted.csv has no column media"), (None, "does not exist")]
)
def test_a_list_of_fitted_media_is_read_before_anything_is_scored(
    folders: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    lists = tmp_path / "fitted.csv"
    if content:
        lists.write_text(content)
    options = DetectorOptions(draws=50, fitted=lists)
    with pytest.raises(RunError, match=message):
        run_detector("own_detector:brightness", [f"folders:{folders}"], tmp_path / "o", options)
    import own_detector

    assert own_detector.calls == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_detector:failing", "failed on every medium.*: ValueError: no weights"),
        ("own_detector:text", "returned 'fake' for .*. Return a finite number, a list of them"),
        ("own_detector:square", "returned .* for .*. Return a finite number, a list of them"),
        ("own_detector:absent", "no function 'own_detector:absent': .* Name it MODULE:FUNCTION"),
        ("absent_module:score", "no function 'absent_module:score': No module named"),
        ("own_detector", "own_detector is not a function. Name one as MODULE:FUNCTION"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused(
    name: str, message: str, folders: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=message):
        run_detector(name, [f"folders:{folders}"], tmp_path / "out", OPTIONS)
