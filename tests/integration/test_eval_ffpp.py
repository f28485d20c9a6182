"""Test the FaceForensics++ adapter on the official lists and on the videos that are present."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from deepfake_eval.datasets import load
from deepfake_eval.evaluate.run import run
from deepfake_eval.options import RunOptions
from tests.support import evaluation

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FFPP = DATA / "ffpp"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not FFPP.is_dir(), reason="the research data set is absent"),
]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_listed_video_is_a_row_or_missing(split: str) -> None:
    found = load("ffpp", FFPP, split=split)
    pairs = json.loads((FFPP / f"{split}.json").read_text())
    methods = sum(p.is_dir() for p in (FFPP / "manipulated_sequences").iterdir())
    assert len(found.rows) + len(found.missing) == 2 * len(pairs) * (1 + methods)
    assert all((FFPP / r.media).is_file() for r in found.rows)
    assert not any((FFPP / m).exists() for m in found.missing)
    assert len({r.media for r in found.rows}) == len(found.rows)
    ids = {"_".join(sorted(p)) for p in pairs}
    assert {r.group for r in found.rows} <= ids


def test_every_file_on_disk_is_a_row() -> None:
    rows = load("ffpp", FFPP, split="all").rows
    assert {FFPP / r.media for r in rows} == set(FFPP.rglob("*.mp4"))
    counts = Counter(r.method for r in rows)
    assert counts["original"] == 41
    assert sum(counts.values()) - counts["original"] == 85


def test_labels_and_groups_are_those_of_the_manifest() -> None:
    ours = {r.media: (r.label, r.group) for r in load("ffpp", FFPP, split="all").rows}
    table = pd.read_csv(DATA / "manifest.csv")
    listed = table[table["media"].str.startswith("ffpp/")]
    theirs = {
        m.removeprefix("ffpp/"): (label, group)
        for m, label, group in zip(listed["media"], listed["label"], listed["group"], strict=True)
    }
    assert ours == theirs


def test_four_real_files_through_a_whole_run(tmp_path: Path) -> None:
    evaluation.tiny_bundle(tmp_path / "bundle")
    rows = load("ffpp", FFPP, split="val", methods="Deepfakes").rows
    first = rows[0].group
    few = [r for r in rows if r.group == first]
    (tmp_path / "few").mkdir()
    lines = ["media,label,method,dataset,group"]
    for number, row in enumerate(few):
        (tmp_path / "few" / f"{number}.mp4").symlink_to(FFPP / row.media)
        lines.append(f"{number}.mp4,{row.label},{row.method},{row.dataset},{row.group}")
    (tmp_path / "few" / "manifest.csv").write_text("\n".join(lines) + "\n")
    metrics = run(
        tmp_path / "bundle",
        [f"csv:{tmp_path / 'few'}"],
        tmp_path / "out",
        RunOptions(frames=4, draws=5),
    )
    overall = metrics["levels"]["item"][0]
    assert overall["real"]["scored"] + overall["fake"]["scored"] == len(few)
    assert overall["groups"] == 1
    assert overall["auc"]["low"] is None
