"""Test that manifests are read together, and that contradictions name the rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepfake_models.errors import DeepfakeError
from deepfake_training.data.manifests import Manifest, read_manifests, write_manifest
from deepfake_training.errors import TrainingError

HEADER = "media,label,method,dataset,group,fold"


def manifest(folder: Path, *rows: str, name: str = "m.csv", header: str = HEADER) -> Manifest:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return Manifest(folder / name)


def touch(path: Path, content: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_several_manifests_are_one_listing_with_a_root_each(tmp_path: Path) -> None:
    one = manifest(tmp_path / "one", "a.mp4,real,original,film,001,0", name="one.csv")
    two = manifest(
        tmp_path / "two", 'b.mp4,fake,swap,tool,001,0,"CC BY, 2020"', header=HEADER + ",terms"
    )
    (tmp_path / "media").mkdir()
    listing = read_manifests([one, Manifest(two.path, tmp_path / "media")])
    rows = listing.rows
    assert rows["media"].tolist() == ["a.mp4", "b.mp4"]
    assert rows["path"].tolist() == [
        str(tmp_path / "one" / "a.mp4"),
        str(tmp_path / "media" / "b.mp4"),
    ]
    assert rows["group"].tolist() == ["001", "001"]
    assert rows["terms"].tolist() == ["", "CC BY, 2020"]
    assert rows["fold"].tolist() == [0, 0]
    assert [(s["name"], s["rows"]) for s in listing.sources] == [("one.csv", 1), ("m.csv", 1)]
    assert listing.repeated == 0


def test_numeric_groups_of_one_manifest_are_those_of_another(tmp_path: Path) -> None:
    """Groups are text in both, although one column looks like numbers."""
    one = manifest(tmp_path / "one", "a.mp4,real,original,film,12,0")
    two = manifest(tmp_path / "two", "b.mp4,real,original,film,12,1", "c.mp4,real,o,film,x,1")
    with pytest.raises(TrainingError, match="Group 12 is in more than one fold"):
        read_manifests([one, two])


def test_a_group_in_two_folds_names_both_rows(tmp_path: Path) -> None:
    one = manifest(tmp_path / "one", "x.mp4,real,o,film,h,2", "a.mp4,real,o,film,g,0")
    two = manifest(tmp_path / "two", "b.mp4,fake,swap,tool,g,3")
    expected = (
        rf"Group g .* {one.path}, line 3 \(a\.mp4\) has fold 0, "
        rf"{two.path}, line 2 \(b\.mp4\) has fold 3"
    )
    with pytest.raises(TrainingError, match=expected):
        read_manifests([one, two])


def test_the_same_file_is_used_once(tmp_path: Path) -> None:
    one = manifest(tmp_path, "sub/a.mp4,real,original,film,g,0", "b.mp4,real,o,film,h,1")
    two = manifest(tmp_path / "sub", "a.mp4,real,raw,movies,g,0")
    listing = read_manifests([one, two])
    assert listing.rows["media"].tolist() == ["sub/a.mp4", "b.mp4"]
    assert listing.repeated == 1


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("a.mp4,fake,o,film,g,0", "label real and once with fake"),
        ("a.mp4,real,o,film,other,0", "group g and once with other"),
    ],
)
def test_rows_of_one_medium_may_not_contradict(tmp_path: Path, row: str, named: str) -> None:
    one = manifest(tmp_path, "a.mp4,real,o,film,g,0", name="one.csv")
    two = manifest(tmp_path, row, name="two.csv")
    with pytest.raises(TrainingError, match=rf"one\.csv, line 2 .*two\.csv, line 2 .*{named}"):
        read_manifests([one, two])


@pytest.mark.parametrize("turned", [False, True])
def test_files_of_one_name_are_told_apart_by_their_data_set(tmp_path: Path, turned: bool) -> None:
    one = manifest(tmp_path / "one", "a.mp4,real,o,film,g,0", "only.mp4,real,o,film,k,0")
    two = manifest(tmp_path / "two", "a.mp4,fake,swap,tool,h,1")
    both = [two, one] if turned else [one, two]
    rows = read_manifests(both).rows.set_index("media")
    assert set(rows.index) == {"film/a.mp4", "tool/a.mp4", "only.mp4"}
    assert rows.loc["tool/a.mp4", "path"] == str(tmp_path / "two" / "a.mp4")


def test_different_files_of_one_name_and_data_set_are_refused(tmp_path: Path) -> None:
    one = manifest(tmp_path / "one", "a.mp4,real,o,film,g,0")
    two = manifest(tmp_path / "two", "a.mp4,real,o,film,g,0")
    touch(tmp_path / "one" / "a.mp4", b"one")
    touch(tmp_path / "two" / "a.mp4", b"two")
    with pytest.raises(TrainingError, match="different files with the same name"):
        read_manifests([one, two])


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("a.mp4,real,o,film,,0", r"m\.csv, line 3 \(a\.mp4\): The group is empty"),
        ("a.mp4,real,o,film,g", r"m\.csv, line 3 \(a\.mp4\): The fold is empty"),
        ("a.mp4,real,o,film,g,x", r"line 3 .*: The fold must be a whole number, not 'x'"),
        ("a.mp4,real,o,film,g,0.5", r"line 3 .*: The fold must be a whole number"),
        ("a.mp4,1,o,film,g,0", r"line 3 .*: The label must be real or fake, not '1'"),
        ("a.mp4,real,o,film, web,g,0", r"In m\.csv, line 3 has more values than the header"),
        ('"a\nb.mp4",real,o,film,g,0', r"line 4 \(a\\nb\.mp4\)': The name has a line break"),
    ],
)
def test_a_wrong_value_names_its_line(tmp_path: Path, row: str, named: str) -> None:
    with pytest.raises(TrainingError, match=named):
        read_manifests([manifest(tmp_path, "ok.mp4,real,o,film,g,0", row)])


def test_a_manifest_without_media_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"list no media to use\. Add a row"):
        read_manifests([manifest(tmp_path)])
    listed = manifest(tmp_path, "a.mp4,real,o,film,g,0")
    with pytest.raises(TrainingError, match=r"list no media to use\. .*exclude fewer data sets"):
        read_manifests([listed], excluded=("film",))


def test_a_group_called_na_is_a_group(tmp_path: Path) -> None:
    rows = read_manifests([manifest(tmp_path, "a.mp4,real,o,film,NA,0")]).rows
    assert rows["group"].tolist() == ["NA"]


def test_the_root_follows_a_colon(tmp_path: Path) -> None:
    listed = manifest(tmp_path / "a:b").path
    assert Manifest.parse(str(listed)) == Manifest(listed)
    assert Manifest.parse(f"{listed}:{tmp_path}") == Manifest(listed, tmp_path)
    assert Manifest.parse(str(listed)).root is None
    for text, named in (
        (f"{listed}:{tmp_path / 'nowhere'}", "is not a folder"),
        (f"{listed}:", "is not a folder"),
        (str(tmp_path / "nothing.csv"), "There is no such manifest"),
    ):
        with pytest.raises(TrainingError, match=named):
            Manifest.parse(text)


def test_excluded_data_sets_are_checked_and_left_out(tmp_path: Path) -> None:
    listed = manifest(tmp_path, "a.mp4,real,o,film,g,0", "b.mp4,real,o,films,h,1")
    listing = read_manifests([listed], excluded=("film",))
    assert listing.rows["media"].tolist() == ["b.mp4"]
    assert (listing.repeated, listing.sources[0]["rows"]) == (0, 2)
    wrong = manifest(tmp_path, "a.mp4,real,o,film,g,0", "b.mp4,real,o,films,g,1", name="w.csv")
    with pytest.raises(TrainingError, match="Group g is in more than one fold"):
        read_manifests([wrong], excluded=("film",))


def laid_out(root: Path, train: int = 10) -> None:
    """Lay out FaceForensics++ with ``train`` pairs and one test pair, whose fakes are missing, and
    Celeb-DF with three celebrities and two other people, all of empty files."""
    pairs = [[f"{2 * i:03}", f"{2 * i + 1:03}"] for i in range(train + 1)]
    for name, part in (("train", pairs[:-1]), ("val", []), ("test", pairs[-1:])):
        touch(root / "ff" / f"{name}.json", json.dumps(part).encode())
    for one, two in pairs[:-1]:
        for name in (one, two):
            touch(root / "ff/original_sequences/youtube/c23/videos" / f"{name}.mp4")
        for name in (f"{one}_{two}", f"{two}_{one}"):
            touch(root / "ff/manipulated_sequences/Deepfakes/c23/videos" / f"{name}.mp4")
    real = ("Celeb-real/id0_0000", "Celeb-real/id1_0000", "Celeb-real/id2_0000")
    for name in (*real, "Celeb-synthesis/id0_id1_0000", "YouTube-real/00000", "YouTube-real/00001"):
        touch(root / "celeb" / f"{name}.mp4")
    touch(root / "celeb/List_of_testing_videos.txt", b"1 YouTube-real/00001.mp4\n")


def test_a_manifest_is_written_from_data_sets_on_disk(tmp_path: Path) -> None:
    laid_out(tmp_path)
    (tmp_path / "ff/original_sequences/youtube/c23/videos/003.mp4").unlink()
    datasets = [f"ffpp:{tmp_path / 'ff'}", f"celebdf:{tmp_path / 'celeb'}"]
    written = write_manifest(tmp_path / "all.csv", datasets, folds=3)
    rows = written.listing.rows
    assert len(rows) == 39 + 5
    assert written.missing == (tmp_path / "ff/original_sequences/youtube/c23/videos/003.mp4",)
    assert {Path(p).is_file() for p in rows["path"]} == {True}
    # No person is on two sides, and each fold has both classes of the larger data set.
    assert (rows.groupby("group")["fold"].nunique() == 1).all()
    people = {m: g for m, g in zip(rows["media"], rows["group"], strict=True) if "celeb/" in m}
    assert (
        people["celeb/Celeb-real/id0_0000.mp4"] == people["celeb/Celeb-synthesis/id0_id1_0000.mp4"]
    )
    large = rows[rows["dataset"] == "FaceForensics++"]
    assert large.groupby(["fold", "label"]).size().min() >= 6
    assert written.manifest.root is None
    # What the official lists keep for testing stays unseen.
    assert "00001" not in " ".join(rows["media"])
    below = write_manifest(tmp_path / "lists/m.csv", datasets[:1])
    assert below.manifest.root == tmp_path / "ff"
    assert (
        read_manifests([Manifest.parse(f"{tmp_path}/lists/m.csv:{tmp_path}/ff")])
        .rows["path"]
        .equals(below.listing.rows["path"])
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": 30}, r"The train split has 14 groups, too few for 30 folds\. Name further"),
        ({"split": "val"}, "The data set celebdf publishes no val split"),
        ({"out": "celeb/List_of_testing_videos.txt"}, "already exists"),
        ({"split": "test"}, r"too few for 5 folds\. 4 files are missing, such as .*020\.mp4"),
    ],
)
def test_a_manifest_that_cannot_be_written_says_why(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    laid_out(tmp_path)
    datasets = [f"ffpp:{tmp_path / 'ff'}", f"celebdf:{tmp_path / 'celeb'}"]
    if arguments.get("split") == "test":
        datasets = datasets[:1]
    out = tmp_path / arguments.pop("out", "m.csv")
    with pytest.raises(DeepfakeError, match=message):
        write_manifest(out, datasets, **arguments)


def test_a_data_set_of_ones_own_is_listed(tmp_path: Path) -> None:
    for label in ("real", "fake"):
        for number in range(4):
            touch(tmp_path / f"set/{label}/{number}.mp4")
    sources = "".join(
        f"[[sources]]\nbelow = ['{label}']\nlabel = '{label}'\ngroup = ['{{stem}}']\n"
        for label in ("real", "fake")
    )
    (tmp_path / "own.toml").write_text(f"title='Own'\nlayout='x'\ngrouping='x'\n{sources}")
    dataset = f"{tmp_path / 'own.toml'}:{tmp_path / 'set'}"
    rows = write_manifest(tmp_path / "m.csv", [dataset], folds=2).listing.rows
    assert rows.groupby(["dataset", "label"]).size().to_dict() == {
        ("Own", "fake"): 4,
        ("Own", "real"): 4,
    }
    assert rows.groupby("group")["fold"].nunique().max() == 1


def test_folders_of_frames_are_refused(tmp_path: Path) -> None:
    for label in ("real", "fake"):
        touch(tmp_path / f"wild/{label}_train/1/clip/1.png")
    with pytest.raises(TrainingError, match=r"folders of frames, such as .*1/clip"):
        write_manifest(tmp_path / "m.csv", [f"wilddeepfake:{tmp_path / 'wild'}"])
