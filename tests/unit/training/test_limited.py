"""A small part of the manifests: even over classes and folds, by whole groups."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from deepfake_training.data.manifests import Manifest, limited, read_manifests
from deepfake_training.errors import TrainingError

HEAD = "media,label,method,dataset,group,fold,note"


def write(root: Path, name: str, rows: list[str], *, files: bool = True) -> Manifest:
    """Write a manifest of ``rows`` and an empty file for each of its media."""
    folder = root / "media"
    folder.mkdir(exist_ok=True)
    for row in rows:
        if files:
            (folder / row.split(",")[0]).write_bytes(row.encode())
    path = root / f"{name}.csv"
    path.write_text("\n".join([HEAD, *(f"{row},kept" for row in rows)]) + "\n")
    return Manifest(path, folder)


def pairs(dataset: str, groups: int, each: int = 1) -> list[str]:
    """Return rows of groups that have ``each`` real and as many manipulated media."""
    return [
        f"{dataset}-{label}-{g}-{i}.png,{label},m,{dataset},{dataset}{g},{g % 5}"
        for g in range(groups)
        for label in ("real", "fake")
        for i in range(each)
    ]


def counts(manifests: list[Manifest], *columns: str) -> Counter[tuple[str, ...]]:
    rows = read_manifests(manifests).rows
    return Counter(rows[list(columns)].itertuples(index=False, name=None))


def test_classes_and_folds_have_about_as_many(tmp_path: Path) -> None:
    large = write(tmp_path, "a", pairs("large", 100, 3))
    small = [f"s{n}.png,fake,m,small,s{n},{n % 5}" for n in range(40)]
    drawn = limited([large, write(tmp_path, "b", small)], 60, tmp_path / "work")
    kinds = counts(drawn, "dataset", "label")
    assert kinds.total() == 60
    assert set(kinds) == {("large", "real"), ("large", "fake"), ("small", "fake")}
    folds = counts(drawn, "fold")
    assert set(folds) == {(n,) for n in range(5)}
    assert max(folds.values()) - min(folds.values()) <= 6  # a group of the large set


def test_each_fold_has_a_video_of_each_class(tmp_path: Path) -> None:
    # Forty data sets of pictures, and few real videos, of which those of fold 4 are the last.
    rows = [row for n in range(40) for row in pairs(f"set{n}", 5)]
    rows += [f"v{n}.mp4,{label},m,clips,v{n},{n % 5}" for n, label in enumerate(["fake"] * 25)]
    rows += [f"r{n}.mp4,real,m,clips,r{n},{min(n, 4)}" for n in range(5)]
    for limit in (20, 60):
        drawn = limited([write(tmp_path, "a", rows)], limit, tmp_path / str(limit))
        listed = read_manifests(drawn).rows
        videos = listed[listed["media"].str.endswith(".mp4")]
        assert set(zip(videos["fold"], videos["label"], strict=True)) == {
            (fold, label) for fold in range(5) for label in ("real", "fake")
        }
        assert len(listed) == limit


def test_groups_stay_whole_and_the_limit_is_kept(tmp_path: Path) -> None:
    manifest = write(tmp_path, "a", pairs("x", 20, 3))
    whole = counts([manifest], "group")
    for limit in (6, 17, 50, 1000):
        drawn = counts(limited([manifest], limit, tmp_path / f"work{limit}"), "group")
        assert sum(drawn.values()) == min(limit // 6 * 6, 120)
        assert all(whole[group] == count for group, count in drawn.items())
    with pytest.raises(TrainingError, match="Raise the limit"):
        limited([manifest], 5, tmp_path / "none")


def test_the_same_manifests_give_the_same_files(tmp_path: Path) -> None:
    rows = pairs("x", 30)
    first = limited([write(tmp_path, "a", rows)], 20, tmp_path / "one")
    again = limited([write(tmp_path, "a", rows[::-1])], 20, tmp_path / "two")
    assert set(counts(first, "media")) == set(counts(again, "media"))
    third = limited([write(tmp_path, "a", rows)], 20, tmp_path / "three")
    assert first[0].path.read_bytes() == third[0].path.read_bytes()


def test_missing_files_and_excluded_data_sets_are_not_drawn(tmp_path: Path) -> None:
    here = write(tmp_path, "here", pairs("here", 4))
    gone = write(tmp_path, "gone", pairs("gone", 40), files=False)
    other = write(tmp_path, "other", pairs("other", 40))
    drawn = limited([here, gone, other], 50, tmp_path / "work", excluded=["other"])
    assert counts(drawn, "dataset") == {("here",): 8}
    assert [m.media_root for m in drawn] == [here.media_root.resolve()]
    table = pd.read_csv(drawn[0].path)
    assert list(table.columns) == HEAD.split(",")
    assert set(table["note"]) == {"kept"}
