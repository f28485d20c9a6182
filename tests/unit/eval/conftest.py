"""Fixtures that the tests of the evaluation share."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_eval.evaluate.run import run
from deepfake_eval.options import RunOptions
from deepfake_eval.reporting import report
from tests.support import evaluation, footage
from tests.support.evaluation import DRAWS


@pytest.fixture
def drawn() -> None:
    """Let the runs of a test draw their plots."""


@pytest.fixture(autouse=True)
def no_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare all other runs their plots, which take longer than the rest of a small run."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(report, "figures", lambda *_: {})


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny bundle. It is shared: do not change it."""
    directory = tmp_path_factory.mktemp("bundle")
    evaluation.tiny_bundle(directory)
    return directory


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create pictures, clips and frame folders of both classes, and some unusable media.

    The folder is shared: do not change it.
    """
    root = tmp_path_factory.mktemp("media")
    rows = []

    def add(name: str, label: str, method: str, group: str, content: bytes | None) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content)
        rows.append([name, label, method, group, {"g0": "F", "g1": "M"}.get(group, "")])

    for number in range(4):
        for label, method in (("real", "original"), ("fake", "tint")):
            picture = footage.picture(evaluation.portrait(label, number), "PNG")
            add(f"{label}/{number}.png", label, method, f"g{number}", picture)
    for label, method in (("real", "original"), ("fake", "tint")):
        add(f"{label}/clip.mp4", label, method, "g4", evaluation.clip(label, 1))
        folder = root / label / "frames"
        folder.mkdir()
        for portrait, k in ((1, 7), (3, 30), (5, 101)):
            frame = footage.picture(evaluation.portrait(label, portrait), "JPEG", quality=95)
            (folder / f"{k}.jpg").write_bytes(frame)
        add(f"{label}/frames", label, method, "g5", None)
    blank = footage.picture(np.full((64, 64, 3), 90, np.uint8), "PNG")
    add("fake/faceless.png", "fake", "<script>alert(1)</script>", "g6", blank)
    add("fake/corrupt.mp4", "fake", "tint", "g7", footage.encode(footage.panning(3))[:300])
    add("real/corrupt.mp4", "real", "original", "g8", b"\0" * 100)
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["media", "label", "method", "group", "attribute_sex"])
        writer.writerows(rows)
        writer.writerow(["absent.mp4", "real", "original", "g9", ""])
    return root


@pytest.fixture(scope="session")
def done(
    bundle: Path, media: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Return the folder and the metrics of a run on ``media``. It is shared: do not change it."""
    out = tmp_path_factory.mktemp("out")
    steps: list[tuple[str, int, int]] = []
    metrics = run(
        bundle,
        [f"csv,title=made:{media}"],
        out,
        RunOptions(draws=DRAWS),
        progress=lambda what, done, total: steps.append((what, done, total)),
    )
    assert [s for s in steps if s[0] == "scoring"] == [("scoring", k, 15) for k in range(16)]
    return out, metrics
