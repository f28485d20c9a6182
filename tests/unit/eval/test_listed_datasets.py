"""Data sets that lists or folders describe: JSON of DeepfakeBench, CSV, folders of classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_eval.datasets import load
from deepfake_eval.errors import DatasetError
from deepfake_eval.evaluate.run import load_dataset
from tests.support import evaluation
from tests.support.evaluation import by_media, write_json


def test_deepfakebench_json(tmp_path: Path) -> None:
    frames = "FaceForensics++/manipulated_sequences/Deepfakes/c23/frames/000_003"
    reals = "FaceForensics++/original_sequences/youtube/c23/frames/000"
    evaluation.touch(tmp_path, [f"{frames}/000.png", f"{frames}/010.png", f"{reals}/000.png"])
    real = {"label": "FF-real", "frames": [f"C:\\\\data\\\\{reals}/000.png".replace("/", "\\")]}
    write_json(
        tmp_path / "dataset_json" / "FF-DF.json",
        {
            "FF-DF": {
                "FF-real": {"test": {"c23": {"000": real}, "c40": {}}},
                "FF-DF": {
                    "test": {
                        "c23": {
                            "000_003": {
                                "label": "FF-DF",
                                "frames": [f"/home/x/{frames}/{n}.png" for n in ("000", "010")],
                                "masks": [],
                            },
                            "003_000": {"label": "FF-DF", "frames": ["/gone/003_000/000.png"]},
                        }
                    },
                    "train": {"c23": {"5": {"label": "FF-DF", "frames": ["/gone/5/000.png"]}}},
                },
            }
        },
    )
    rows = load("deepfakebench", tmp_path, json="FF-DF")
    assert by_media(rows) == {
        reals: ("real", "original", "000"),
        frames: ("fake", "Deepfakes", "000_003"),
    }
    assert rows.missing == ("/gone/003_000/000.png",)
    every = load("deepfakebench", tmp_path, "all", json="FF-DF")
    assert every.missing == ("/gone/003_000/000.png", "/gone/5/000.png")


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("CelebDFv2_real", "real"), ("CelebDFv2_fake", "fake"), ("DFDCP_Real", "real"),
        ("DFDCP_FakeA", "fake"), ("DFDC_Fake", "fake"), ("DF_real", "real"), ("UADFV_Fake", "fake"),
        ("DFD_fake", "fake"), ("FF-FH", "fake"), ("simswap_Fake", "fake"),
    ],
)  # fmt: skip
def test_deepfakebench_labels(tmp_path: Path, label: str, expected: str) -> None:
    evaluation.touch(tmp_path, ["a/0.png"])
    video = {"label": label, "frames": ["a/0.png"]}
    write_json(tmp_path / "x.json", {"SET": {label: {"test": {"v": video}}}})
    assert [r.label for r in load("deepfakebench", tmp_path).rows] == [expected]


def test_deepfakebench_refuses_a_label_that_says_neither(tmp_path: Path) -> None:
    evaluation.touch(tmp_path, ["a/0.png"])
    video = {"label": "mystery", "frames": ["a/0.png"]}
    write_json(tmp_path / "x.json", {"SET": {"mystery": {"test": {"v": video}}}})
    with pytest.raises(DatasetError, match="'mystery' is neither real nor fake"):
        load("deepfakebench", tmp_path)


@pytest.mark.parametrize(
    "content", ["[1]", '{"a": 1}', '{"a": {"b": {"test": {"v": {"frames": "x"}}}}}', "{"]
)
def test_deepfakebench_refuses_a_list_of_another_form(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DatasetError, match=r"x\.json"):
        load("deepfakebench", tmp_path)


def test_folders(tmp_path: Path) -> None:
    evaluation.touch(
        tmp_path, ["real/a.jpg", "real/deep/b.MP4", "fake/roop/c.png", "fake/d.mov", "fake/.x.png"]
    )
    evaluation.touch(tmp_path, ["real/._a.jpg", "real/__MACOSX/b.mp4"])  # litter of archives
    rows = load("folders", tmp_path, title="mine")
    assert {m: v[:2] for m, v in by_media(rows).items()} == {
        "real/a.jpg": ("real", "original"),
        "real/deep/b.MP4": ("real", "deep"),
        "fake/roop/c.png": ("fake", "roop"),
        "fake/d.mov": ("fake", "fake"),
    }
    assert {r.dataset for r in rows.rows} == {"mine"}


def test_csv(tmp_path: Path) -> None:
    evaluation.touch(tmp_path, ["a.mp4", "b.mp4", "c.mp4"])
    (tmp_path / "list.csv").write_text(
        "media,label,method,dataset,split,group,attribute_age\n"
        "a.mp4,real,,D,test,g1,30\nb.mp4,fake,roop,D,test,g1,\nc.mp4,real,,D,train,g2,\n"
        "gone.mp4,fake,roop,D,test,g3,\n"
    )
    rows = load("csv", tmp_path / "list.csv")
    assert [(r.media, r.label, r.method, r.group, r.attributes) for r in rows.rows] == [
        ("a.mp4", "real", "original", "g1", (("age", "30"),)),
        ("b.mp4", "fake", "roop", "g1", ()),
    ]
    assert rows.missing == ("gone.mp4",)
    assert not rows.notes


def test_a_table_may_lie_apart_from_its_media(tmp_path: Path) -> None:
    evaluation.touch(tmp_path, ["disk/a.mp4", "lists/x"])
    (tmp_path / "lists/list.csv").write_text("media,label\na.mp4,real\n")
    rows = load("csv", tmp_path / "lists/list.csv", root=str(tmp_path / "disk"))
    assert (rows.root, [r.media for r in rows.rows]) == (tmp_path / "disk", ["a.mp4"])
    argument = f"csv,title=x,root={tmp_path / 'disk'}:{tmp_path / 'lists/list.csv'}"
    assert load_dataset(argument, "test").options == {"title": "x"}  # reports have no paths


@pytest.mark.parametrize(
    ("others", "left_out"),
    [("b.mp4,fake,g,\nc.mp4,fake,h\n", "'' (2);"),
     ("b.mp4,fake,g,dev\nc.mp4,fake,h,train\nd.mp4,real,h,dev\ne.mp4,real,h,all\n",
      "'dev' (2), 'all' (1);")],
)  # fmt: skip
def test_csv_rows_of_no_known_split_are_noted(tmp_path: Path, others: str, left_out: str) -> None:
    evaluation.touch(tmp_path, ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4"])
    (tmp_path / "list.csv").write_text(f"media,label,group,split\na.mp4,real,g,test\n{others}")
    rows = load("csv", tmp_path / "list.csv")
    assert [r.media for r in rows.rows] == ["a.mp4"]
    (note,) = rows.notes
    assert f"is not train, val or test are left out: {left_out}" in note
    every = load("csv", tmp_path / "list.csv", "all")
    assert len(every.rows) == 1 + others.count("\n")
    assert not every.notes


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("path,label\na,real\n", "has no column media. It has path, label"),
        ("", "It has none"),
        ("media,label\n/etc/passwd,real\n", "line 2, media must be a path below"),
        ("media,label\n../up.mp4,real\n", "line 2, media must be a path below"),
        ("media,label\na.mp4,real\n\nb.mp4,1\n", "line 4, the label must be real or fake"),
        ("media,label\na.mp4\n", "label must be real or fake, not ''"),
    ],
)
def test_csv_says_what_is_wrong(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(DatasetError, match=named):
        load("csv", tmp_path)


def test_csv_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(b"media,label\n\xff\xfe,real\n")
    with pytest.raises(DatasetError, match="not a readable CSV"):
        load("csv", tmp_path)
