"""The media that data sets list together: none twice, and whose people are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_eval.datasets import Row, Rows
from deepfake_eval.errors import RunError
from deepfake_eval.evaluate.run import LoadedDataset, labelled_rows, load_dataset, run
from tests.support import evaluation


def test_nothing_to_score_says_how_much_is_absent(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("media,label\na.mp4,real\nb.mp4,fake\n")
    with pytest.raises(
        RunError, match=r"nothing to score in this split\. 2 listed media are absent, for"
    ):
        run(bundle, [f"csv:{tmp_path}"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_to_score_says_where_splits_are_counted(bundle: Path, tmp_path: Path) -> None:
    evaluation.touch(tmp_path, ["a.png", "b.png"])
    (tmp_path / "manifest.csv").write_text("media,label,split\na.png,real,dev\nb.png,fake,dev\n")
    expected = r"'dev' \(2\); --split all.* `deepfake-eval datasets NAME:ROOT` counts the media"
    with pytest.raises(RunError, match=expected):
        run(bundle, [f"csv:{tmp_path}"], tmp_path / "out")


def test_two_sets_that_share_a_name_are_refused(bundle: Path, tmp_path: Path) -> None:
    for parent in "ab":
        evaluation.touch(tmp_path / parent / "set", ["real/1.mp4", "fake/2.mp4"])
    specs = [f"folders:{tmp_path / p / 'set'}" for p in "ab"]
    with pytest.raises(RunError, match="Two data sets named set have a medium of the same name"):
        run(bundle, specs, tmp_path / "out")


def test_a_medium_that_a_table_lists_twice_is_named(tmp_path: Path) -> None:
    evaluation.touch(tmp_path, ["a.png", "b.png"])
    (tmp_path / "manifest.csv").write_text("media,label\na.png,real\nb.png,fake\n./a.png,real\n")
    loaded = load_dataset(f"csv,title=made:{tmp_path}", "test")
    with pytest.raises(RunError, match=r"made lists a\.png twice\. List each medium once\."):
        labelled_rows([loaded])


def test_a_number_of_one_data_set_is_nobodys_in_another() -> None:
    def source(dataset: str, group: str) -> LoadedDataset:
        row = Row(f"{dataset}/1.mp4", "real", "original", dataset, "test", group)
        return LoadedDataset("folders", {}, Rows(Path(), (row,)))

    mixed = labelled_rows([source("a", "1"), source("b", "1")])
    assert [row.group for row, _ in mixed] == ["a/1", "b/1"]
    alone = labelled_rows([source("a", "1")])
    assert [row.group for row, _ in alone] == ["1"]
    celebrities = labelled_rows([source("Celeb-DF-v1", "id1"), source("Celeb-DF-v2", "id1")])
    assert {row.group for row, _ in celebrities} == {"id1"}


def test_people_of_df40_are_those_of_the_data_sets_it_was_made_from(tmp_path: Path) -> None:
    """Its real class is theirs: one person must not be resampled as two."""
    for name in (
        "df40/simswap/ff/000_003/0.png",
        "df40/simswap/cdf/id0_id1_0000/0.png",
        "ffpp/original_sequences/youtube/c23/videos/000.mp4",
        "ffpp/original_sequences/youtube/c23/videos/003.mp4",
        "ffpp/manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
        "cdf/Celeb-real/id0_0000.mp4",
        "cdf/YouTube-real/00170.mp4",
        "cdf/Celeb-real/id1_0000.mp4",
        "cdf/Celeb-synthesis/id0_id1_0000.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for part in ("train", "val", "test"):
        pairs = '[["000", "003"]]' if part == "test" else "[]"
        (tmp_path / "ffpp" / f"{part}.json").write_text(pairs)
    (tmp_path / "cdf" / "List_of_testing_videos.txt").write_text(
        "1 Celeb-real/id0_0000.mp4\n1 Celeb-real/id1_0000.mp4\n1 YouTube-real/00170.mp4\n"
        "0 Celeb-synthesis/id0_id1_0000.mp4\n"
    )
    arguments = ("df40", "ffpp", "celebdf")
    folders = (tmp_path / name for name in ("df40", "ffpp", "cdf"))
    loaded = [load_dataset(f"{a}:{f}", "test") for a, f in zip(arguments, folders, strict=True)]
    groups: dict[str, set[str]] = {}
    for row, _ in labelled_rows(loaded):
        groups.setdefault(row.dataset, set()).add(row.group)
    assert groups == {
        "DF40-ff": {"FaceForensics++/000_003"},
        "FaceForensics++": {"FaceForensics++/000_003"},
        "DF40-cdf": {"id0"},
        "Celeb-DF": {"id0", "id1", "youtube-00170"},
    }
