"""Tests for mistakes that public evaluation code makes, one test each."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest

from deepfake_eval.datasets import load
from deepfake_eval.errors import DatasetError
from tests.support import evaluation


def kodf(root: Path, *, form: str = "NFC", encoding: str = "utf-8-sig") -> Path:
    """Create the tables and clips of KoDF, named as in public code."""

    def named(text: str) -> str:
        return unicodedata.normalize(form, text)

    evaluation.touch(
        root,
        [
            named("1.Training/[원천][원본]원본1/uuid-1/20200715_1.mp4"),
            named("1.Training/[원천][변조]train_dfl1_data/dfl/f1.mp4"),
            named("1.Training/[원천][변조]train_fo1_data/fo/20200715_1.mp4"),
        ],
    )
    tables = root / "1.Training" / named("[라벨링]train_meta") / "train_meta_data"
    tables.mkdir(parents=True)
    (tables / named("원본영상_training_메타데이터.csv")).write_text(
        "영상ID,UUID,인물성별\n20200715_1.mp4,uuid-1,여성\n없음.mp4,uuid-9,남성\n",
        encoding=encoding,
    )
    (tables / named("변조영상_training_메타데이터.csv")).write_text(
        "영상ID,변조모델,타겟영상,타겟UUID,소스UUID,인물성별\n"
        "f1,dfl,20200715_1.mp4,uuid-1,uuid-2,여\n20200715_1,fo,20200715_1.mp4,uuid-1,,여\n",
        encoding=encoding,
    )
    return root


@pytest.mark.parametrize(
    ("listed", "line"),
    [("\n0 YouTube-real/00170.mp4\n", 2), ("YouTube-real/00170.mp4\n", 1)],
    ids=["0 of a real video", "no label"],
)
def test_celebdf_1_means_real(tmp_path: Path, listed: str, line: int) -> None:
    names = [
        "Celeb-real/id0_0000.mp4",
        "YouTube-real/00170.mp4",
        "Celeb-synthesis/id0_id1_0000.mp4",
    ]
    evaluation.touch(tmp_path, names)
    (tmp_path / "List_of_testing_videos.txt").write_text(listed)
    told = f"Line {line} of List_of_testing_videos.txt, '{listed.strip()}', is not one of the publi"
    with pytest.raises(DatasetError, match=re.escape(told)):
        load("celebdf", tmp_path)


def test_celebdf_youtube_real_does_not_replace_celeb_real(tmp_path: Path) -> None:
    evaluation.touch(
        tmp_path,
        ["Celeb-real/id0_0000.mp4", "Youtube-real/00170.mp4", "Celeb-synthesis/id0_id1_0000.mp4"],
    )
    (tmp_path / "List_of_testing_videos.txt").write_text("")
    methods = {r.method for r in load("celebdf", tmp_path, split="train").rows}
    assert methods == {"Celeb-real", "Youtube-real", "Celeb-synthesis"}


def test_ffpp_absent_videos_are_listed_not_dropped(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text('[["000", "003"], ["001", "870"]]')
    evaluation.touch(
        tmp_path,
        [
            "original_sequences/youtube/c23/videos/000.mp4",
            "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
        ],
    )
    found = load("ffpp", tmp_path)
    assert len(found.rows) == 2
    assert set(found.missing) == {
        "original_sequences/youtube/c23/videos/003.mp4",
        "original_sequences/youtube/c23/videos/001.mp4",
        "original_sequences/youtube/c23/videos/870.mp4",
        "manipulated_sequences/Deepfakes/c23/videos/003_000.mp4",
        "manipulated_sequences/Deepfakes/c23/videos/001_870.mp4",
        "manipulated_sequences/Deepfakes/c23/videos/870_001.mp4",
    }
    assert "absent methods: Face2Face, FaceSwap, NeuralTextures, FaceShifter" in found.notes[0]


def test_deepfakebench_dfd_in_train_val_and_test_is_said(tmp_path: Path) -> None:
    evaluation.touch(tmp_path, ["v/0.png"])
    video = {"v": {"label": "DFD_real", "frames": ["v/0.png"]}}
    splits = {s: {"c23": video} for s in ("train", "val", "test")}
    (tmp_path / "DeepFakeDetection.json").write_text(
        json.dumps({"DeepFakeDetection": {"DFD_real": splits}})
    )
    rows = load("deepfakebench", tmp_path)
    assert len(rows.rows) == 1
    assert rows.notes == (
        "1 of 1 videos are also listed in train: they are not held out from a model that was "
        "trained on these lists.",
    )


def test_deepfakebench_val_overwritten_by_its_last_video_is_said(tmp_path: Path) -> None:
    evaluation.touch(tmp_path, ["v/0.png"])
    video = {"label": "DFDC_Real", "frames": ["v/0.png"]}
    (tmp_path / "DFDC.json").write_text(
        json.dumps({"DFDC": {"DFDC_Real": {"test": {"v": video}, "val": video}}})
    )
    rows = load("deepfakebench", tmp_path)
    assert len(rows.rows) == 1
    assert rows.notes == (
        "DFDC.json: DFDC_Real/val has one video instead of a mapping, and is left out.",
    )


def test_deepfakebench_reals_listed_with_every_method_count_once(tmp_path: Path) -> None:
    evaluation.touch(tmp_path, ["r/0.png"])
    video = {"000": {"label": "FF-real", "frames": ["r/0.png"]}}
    for name in ("FF-DF", "FF-FS"):
        (tmp_path / f"{name}.json").write_text(
            json.dumps({name: {"FF-real": {"test": {"c23": video}}}})
        )
    assert len(load("deepfakebench", tmp_path).rows) == 1


def test_a_csv_with_numbers_for_labels_is_refused(tmp_path: Path) -> None:
    evaluation.touch(tmp_path, ["a.mp4"])
    (tmp_path / "manifest.csv").write_text("media,label\na.mp4,1\n")
    with pytest.raises(DatasetError, match="1 means real in some lists and fake in others"):
        load("csv", tmp_path)


@pytest.mark.parametrize(
    ("form", "encoding"), [("NFC", "utf-8-sig"), ("NFD", "utf-8"), ("NFC", "cp949")]
)
def test_kodf_names_are_found_in_either_unicode_form_and_encoding(
    tmp_path: Path, form: str, encoding: str
) -> None:
    rows = load("kodf", kodf(tmp_path, form=form, encoding=encoding), split="train")
    assert [(r.label, r.method, r.group, r.attributes) for r in rows.rows] == [
        ("real", "original", "uuid-1_uuid-2", (("sex", "F"),)),
        ("fake", "dfl", "uuid-1_uuid-2", (("sex", "F"),)),
        ("fake", "fo", "uuid-1_uuid-2", (("sex", "F"),)),
    ]
    assert rows.missing == ("없음.mp4",)


def test_kodf_a_fake_named_like_its_original_is_told_apart_by_its_folder(tmp_path: Path) -> None:
    rows = load("kodf", kodf(tmp_path), split="train").rows
    found = {r.method: unicodedata.normalize("NFC", r.media) for r in rows}
    assert "원본1" in found["original"]
    assert "train_fo1_data" in found["fo"]


def test_kodf_has_no_published_test_part(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="원본영상_validation_메타데이터"):
        load("kodf", kodf(tmp_path), split="test")


def test_kodf_without_its_id_column(tmp_path: Path) -> None:
    root = kodf(tmp_path)
    table = next(p for p in root.rglob("*.csv") if "원본" in p.name)
    table.write_text("id,UUID\nx,y\n")
    with pytest.raises(DatasetError, match=r"has no column 영상ID\. It has id, UUID"):
        load("kodf", root, split="train")
