"""Test every adapter on a miniature tree of empty files with the published names."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from deepfake_eval.datasets import DATASETS, Rows, load, parse
from deepfake_eval.datasets.base import group_by_people
from deepfake_eval.errors import DatasetError
from tests.support import evalkit

FFPP_METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")


def by_media(rows: Rows) -> dict[str, tuple[str, str, str]]:
    """Return label, method and group of each medium."""
    return {r.media: (r.label, r.method, r.group) for r in rows.rows}


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def ffpp(tmp_path: Path) -> Path:
    pairs = {"train": [["071", "054"]], "val": [["720", "672"]], "test": [["000", "003"]]}
    names = []
    for split, listed in pairs.items():
        write_json(tmp_path / f"{split}.json", listed)
        for one, two in listed:
            names += [f"original_sequences/youtube/c23/videos/{n}.mp4" for n in (one, two)]
            for method in FFPP_METHODS:
                names += [
                    f"manipulated_sequences/{method}/c23/videos/{n}.mp4"
                    for n in (f"{one}_{two}", f"{two}_{one}")
                ]
    names.append("manipulated_sequences/Deepfakes/masks/videos/000_003.mp4")
    names += [
        "original_sequences/actors/c23/videos/01__kitchen_pan.mp4",
        "original_sequences/actors/c23/videos/02__kitchen_pan.mp4",
        "original_sequences/actors/c23/videos/03__exit_phone_room.mp4",
        "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__kitchen_pan__ABCDEFGH.mp4",
    ]
    return evalkit.touch(tmp_path, names)


def test_ffpp_takes_the_official_split(ffpp: Path) -> None:
    rows = load("ffpp", ffpp, split="test")
    assert Counter(r.label for r in rows.rows) == {"real": 2, "fake": 2 * len(FFPP_METHODS)}
    assert {r.group for r in rows.rows} == {"000_003"}
    assert {r.split for r in rows.rows} == {"test"}
    assert {r.compression for r in rows.rows} == {"c23"}
    assert not any("masks" in r.media or "DeepFakeDetection" in r.media for r in rows.rows)
    assert rows.missing == ()
    assert Counter(r.split for r in load("ffpp", ffpp, split="all").rows) == {
        "train": 12, "val": 12, "test": 12,
    }  # fmt: skip


def test_ffpp_takes_chosen_methods_and_extracted_frames(ffpp: Path) -> None:
    evalkit.touch(ffpp, ["manipulated_sequences/FaceSwap/c40/frames/000_003/000.png"])
    rows = load("ffpp", ffpp, split="test", methods="FaceSwap", compression="c40")
    assert [r.media for r in rows.rows] == ["manipulated_sequences/FaceSwap/c40/frames/000_003"]
    assert len(rows.missing) == 3
    with pytest.raises(DatasetError, match=r"no method 'Swap'; found Deepfakes"):
        load("ffpp", ffpp, methods="Swap")
    with pytest.raises(DatasetError, match="the option compression must be one of raw, c23, c40"):
        load("ffpp", ffpp, compression="c42")


@pytest.mark.parametrize("content", ["{", "{}", '[["000"]]', "[[1, 2]]", "3", '"ab"'])
def test_ffpp_refuses_a_split_list_of_another_form(ffpp: Path, content: str) -> None:
    (ffpp / "test.json").write_text(content)
    if content == "{}":
        assert load("ffpp", ffpp).rows == ()
        return
    with pytest.raises(DatasetError, match=r"test\.json is not a list of id pairs"):
        load("ffpp", ffpp)


def test_dfd_groups_by_actor(ffpp: Path) -> None:
    rows = by_media(load("dfd", ffpp, group="component"))
    assert {m.rpartition("/")[2]: v[::2] for m, v in rows.items()} == {
        "01__kitchen_pan.mp4": ("real", "actor-01_02"),
        "02__kitchen_pan.mp4": ("real", "actor-01_02"),
        "03__exit_phone_room.mp4": ("real", "actor-03"),
        "01_02__kitchen_pan__ABCDEFGH.mp4": ("fake", "actor-01_02"),
    }


@pytest.fixture
def celebdf(tmp_path: Path) -> Path:
    evalkit.touch(
        tmp_path,
        [
            "Celeb-real/videos/id0_0000.mp4",
            "Celeb-real/videos/id1_0000.mp4",
            "Celeb-real/videos/id2_0000.mp4",
            "YouTube-real/videos/00170.mp4",
            "YouTube-real/videos/00171.mp4",
            "Celeb-synthesis/videos/id0_id1_0000.mp4",
            "Celeb-synthesis/videos/id1_id0_0000.mp4",
        ],
    )
    (tmp_path / "List_of_testing_videos.txt").write_text(
        "1 YouTube-real/00170.mp4\n1 Celeb-real/id0_0000.mp4\n"
        "0 Celeb-synthesis/id0_id1_0000.mp4\n0 Celeb-synthesis/id0_id9_0000.mp4\n"
    )
    return tmp_path


def test_celebdf_takes_the_test_list(celebdf: Path) -> None:
    rows = load("celebdf", celebdf, group="component")
    assert by_media(rows) == {
        "YouTube-real/videos/00170.mp4": ("real", "YouTube-real", "youtube-00170"),
        "Celeb-real/videos/id0_0000.mp4": ("real", "Celeb-real", "id0_id1"),
        "Celeb-synthesis/videos/id0_id1_0000.mp4": ("fake", "Celeb-synthesis", "id0_id1"),
    }
    assert rows.missing == ("Celeb-synthesis/id0_id9_0000.mp4",)


def test_celebdf_train_is_what_the_list_leaves(celebdf: Path) -> None:
    train = load("celebdf", celebdf, split="train")
    assert {r.media for r in train.rows} == {
        "Celeb-real/videos/id1_0000.mp4",
        "Celeb-real/videos/id2_0000.mp4",
        "YouTube-real/videos/00171.mp4",
        "Celeb-synthesis/videos/id1_id0_0000.mp4",
    }
    assert len(load("celebdf", celebdf, split="all").rows) == 7
    with pytest.raises(DatasetError, match="publishes no val split"):
        load("celebdf", celebdf, split="val")


def test_celebdf_v1_without_a_videos_folder_and_celebdf_plus_plus(tmp_path: Path) -> None:
    evalkit.touch(
        tmp_path,
        [
            "Celeb-real/id0_0000.mp4",
            "YouTube-real/00170.mp4",
            "Celeb-synthesis/FaceSwap/BlendFace/id0_id1_0000.mp4",
            "Celeb-synthesis/TalkingFace/FLOAT/videos/id3_0001_test_07.mp4",
        ],
    )
    (tmp_path / "List_of_testing_videos.txt").write_text(
        "1 Celeb-real/id0_0000.mp4\n0 Celeb-synthesis/FaceSwap/BlendFace/id0_id1_0000.mp4\n"
        "0 Celeb-synthesis/TalkingFace/FLOAT/id3_0001_test_07.mp4\n"
    )
    rows = load("celebdf", tmp_path)
    assert {(r.method, r.dataset, r.group) for r in rows.rows} == {
        ("Celeb-real", "Celeb-DF++", "id0_id1"),
        ("BlendFace", "Celeb-DF++", "id0_id1"),
        ("FLOAT", "Celeb-DF++", "id3"),
    }


def test_dfdc_test_and_train(tmp_path: Path) -> None:
    evalkit.touch(
        tmp_path,
        [
            "test/videos/aaa.mp4",
            "test/videos/bbb.mp4",
            "train/dfdc_train_part_0/real.mp4",
            "train/dfdc_train_part_0/fake.mp4",
        ],
    )
    (tmp_path / "test/labels.csv").write_text("filename,label\naaa.mp4,0\nbbb.mp4,1\nccc.mp4,1\n")
    write_json(
        tmp_path / "train/dfdc_train_part_0/metadata.json",
        {
            "real.mp4": {"label": "REAL", "split": "train"},
            "fake.mp4": {"label": "FAKE", "split": "train", "original": "real.mp4"},
            "gone.mp4": {"label": "FAKE", "split": "train", "original": "real.mp4"},
        },
    )
    rows = load("dfdc", tmp_path)
    assert by_media(rows) == {
        "test/videos/aaa.mp4": ("real", "original", "aaa"),
        "test/videos/bbb.mp4": ("fake", "DFDC", "bbb"),
    }
    assert rows.missing == ("test/videos/ccc.mp4",)
    train = load("dfdc", tmp_path, split="train")
    assert {r.group for r in train.rows} == {"real.mp4"}
    assert train.missing == ("train/dfdc_train_part_0/gone.mp4",)
    inner = load("dfdc", tmp_path / "test")
    assert {r.media for r in inner.rows} == {"videos/aaa.mp4", "videos/bbb.mp4"}


@pytest.mark.parametrize("content", ["[", "[]", '{"a.mp4": 1}', '{"a.mp4": {"label": "MAYBE"}}'])
def test_dfdc_names_a_broken_metadata_file(tmp_path: Path, content: str) -> None:
    evalkit.touch(tmp_path, ["train/dfdc_train_part_0/a.mp4"])
    (tmp_path / "train/dfdc_train_part_0/metadata.json").write_text(content)
    with pytest.raises(DatasetError, match=r"metadata\.json|not 'MAYBE'"):
        load("dfdc", tmp_path, split="train")


def test_dfdc_preview(tmp_path: Path) -> None:
    evalkit.touch(
        tmp_path,
        [
            "original_videos/videos/643049/643049_A_001.mp4",
            "method_A/videos/643049/643049_A/643049_1224068_A_001.mp4",
            "method_B/999/999_C/999_643049_C_003.mp4",
        ],
    )
    fake = {"label": "fake", "set": "test", "augmentations": []}
    write_json(
        tmp_path / "dataset.json",
        {
            "original_videos/643049/643049_A_001.mp4": {"label": "real", "set": "test"},
            "method_A/643049/643049_A/643049_1224068_A_001.mp4": {
                **fake, "target_id": "643049", "swapped_id": "1224068",
            },
            "method_B/999/999_C/999_643049_C_003.mp4": {
                **fake, "set": "train", "target_id": "999", "swapped_id": "643049",
            },
            "method_B/1/absent.mp4": {**fake, "target_id": "1", "swapped_id": "2"},
        },
    )  # fmt: skip
    rows = load("dfdcp", tmp_path, group="component")
    assert by_media(rows) == {
        "original_videos/videos/643049/643049_A_001.mp4": (
            "real", "original_videos", "1224068_643049",
        ),
        "method_A/videos/643049/643049_A/643049_1224068_A_001.mp4": (
            "fake", "method_A", "1224068_643049",
        ),
    }  # fmt: skip
    assert rows.missing == ("method_B/1/absent.mp4",)


def test_deeperforensics(tmp_path: Path) -> None:
    evalkit.touch(
        tmp_path,
        [
            "manipulated_videos/end_to_end/000_W101.mp4",
            "manipulated_videos/end_to_end/001_M004.mp4",
            "manipulated_videos/end_to_end_level_5/000_W101.mp4",
            "source_videos/W101/light_up/happy/camera_front/W101_light_up_happy_camera_front.mp4",
        ],
    )
    splits = tmp_path / "lists" / "splits"
    splits.mkdir(parents=True)
    (splits / "test.txt").write_text("000_W101.mp4\n001_M004.mp4\n002_M004.mp4\n")
    rows = load("deeperforensics", tmp_path)
    assert [(r.label, r.group, r.attributes) for r in rows.rows] == [
        ("fake", "000_W101", (("sex", "F"),)),
        ("fake", "001_M004", (("sex", "M"),)),
    ]
    assert rows.missing == ("manipulated_videos/end_to_end/002_M004.mp4",)
    assert any("ffpp" in n for n in rows.notes)
    more = load(
        "deeperforensics",
        tmp_path,
        variant="end_to_end_level_5",
        reals="source",
        group="component",
    )
    assert [(r.label, r.method, r.group) for r in more.rows] == [
        ("fake", "end_to_end_level_5", "000_W101"),
        ("real", "source", "000_W101"),
    ]
    with pytest.raises(DatasetError, match="no variant 'x'; found end_to_end"):
        load("deeperforensics", tmp_path, variant="x")


def test_ffiw(tmp_path: Path) -> None:
    base = "FFIW10K-v1-release"
    evalkit.touch(
        tmp_path,
        [
            f"{base}/{f}/{s}/videos/00001.mp4"
            for f in ("source", "target")
            for s in ("train", "val")
        ],
    )
    rows = load("ffiw", tmp_path)
    assert by_media(rows) == {
        f"{base}/source/val/videos/00001.mp4": ("real", "original", "val-00001"),
        f"{base}/target/val/videos/00001.mp4": ("fake", "FFIW", "val-00001"),
    }
    assert any("val is used" in n for n in rows.notes)
    assert len(load("ffiw", tmp_path / base, split="all").rows) == 4


def test_uadfv_prefers_videos_to_frames(tmp_path: Path) -> None:
    evalkit.touch(
        tmp_path,
        [
            "real/frames/0000/000.png",
            "real/frames/0000/001.png",
            "fake/0000_fake.mp4",
            "fake/frames/0000_fake/000.png",
        ],
    )
    assert by_media(load("uadfv", tmp_path)) == {
        "real/frames/0000": ("real", "original", "0000"),
        "fake/0000_fake.mp4": ("fake", "FakeApp", "0000"),
    }


def test_wilddeepfake_takes_each_face_sequence_for_a_clip(tmp_path: Path) -> None:
    evalkit.touch(
        tmp_path,
        [
            "deepfake_in_the_wild/fake_test/1/fake/7/0.png",
            "deepfake_in_the_wild/fake_test/1/fake/8/0.png",
            "deepfake_in_the_wild/real_test/2/real/0/0.png",
            "deepfake_in_the_wild/real_test/2/real/0/1.png",
            "deepfake_in_the_wild/real_train/3/real/0/1.png",
        ],
    )
    assert by_media(load("wilddeepfake", tmp_path)) == {
        "deepfake_in_the_wild/fake_test/1/fake/7": ("fake", "in the wild", "fake_test-1"),
        "deepfake_in_the_wild/fake_test/1/fake/8": ("fake", "in the wild", "fake_test-1"),
        "deepfake_in_the_wild/real_test/2/real/0": ("real", "original", "real_test-2"),
    }
    with pytest.raises(DatasetError, match="expected real_train/ and fake_train/"):
        load("wilddeepfake", tmp_path, split="train")


def test_df40(tmp_path: Path) -> None:
    evalkit.touch(
        tmp_path,
        [
            "simswap/ff/frames/000_003/000.png",
            "simswap/cdf/frames/id0_id1_0000/000.png",
            "StyleGAN2/ff/seed1.png",
            "StyleGAN2/ff/seed2.png",
            "heygen/real/frames/a/000.png",
            "heygen/fake/frames/a/000.png",
        ],
    )
    rows = load("df40", tmp_path)
    assert by_media(rows) == {
        "simswap/ff/frames/000_003": ("fake", "simswap", "000_003"),
        "simswap/cdf/frames/id0_id1_0000": ("fake", "simswap", "id0"),
        "StyleGAN2/ff/seed1.png": ("fake", "StyleGAN2", "StyleGAN2/ff/seed1.png"),
        "StyleGAN2/ff/seed2.png": ("fake", "StyleGAN2", "StyleGAN2/ff/seed2.png"),
        "heygen/real/frames/a": ("real", "original", "a"),
        "heygen/fake/frames/a": ("fake", "heygen", "a"),
    }
    chosen = load("df40", tmp_path, methods="simswap", domain="cdf")
    assert [r.media for r in chosen.rows] == ["simswap/cdf/frames/id0_id1_0000"]


def test_deepfakebench_json(tmp_path: Path) -> None:
    frames = "FaceForensics++/manipulated_sequences/Deepfakes/c23/frames/000_003"
    reals = "FaceForensics++/original_sequences/youtube/c23/frames/000"
    evalkit.touch(tmp_path, [f"{frames}/000.png", f"{frames}/010.png", f"{reals}/000.png"])
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
    assert {r.compression for r in rows.rows} == {"c23"}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("CelebDFv2_real", "real"), ("CelebDFv2_fake", "fake"), ("DFDCP_Real", "real"),
        ("DFDCP_FakeA", "fake"), ("DFDC_Fake", "fake"), ("DF_real", "real"), ("UADFV_Fake", "fake"),
        ("DFD_fake", "fake"), ("FF-FH", "fake"), ("simswap_Fake", "fake"),
    ],
)  # fmt: skip
def test_deepfakebench_labels(tmp_path: Path, label: str, expected: str) -> None:
    evalkit.touch(tmp_path, ["a/0.png"])
    video = {"label": label, "frames": ["a/0.png"]}
    write_json(tmp_path / "x.json", {"SET": {label: {"test": {"v": video}}}})
    assert [r.label for r in load("deepfakebench", tmp_path).rows] == [expected]


def test_deepfakebench_refuses_a_label_that_says_neither(tmp_path: Path) -> None:
    evalkit.touch(tmp_path, ["a/0.png"])
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
    evalkit.touch(
        tmp_path, ["real/a.jpg", "real/deep/b.MP4", "fake/roop/c.png", "fake/d.mov", "fake/.x.png"]
    )
    rows = load("folders", tmp_path, title="mine")
    assert {m: v[:2] for m, v in by_media(rows).items()} == {
        "real/a.jpg": ("real", "original"),
        "real/deep/b.MP4": ("real", "deep"),
        "fake/roop/c.png": ("fake", "roop"),
        "fake/d.mov": ("fake", "fake"),
    }
    assert {r.dataset for r in rows.rows} == {"mine"}


def test_csv(tmp_path: Path) -> None:
    evalkit.touch(tmp_path, ["a.mp4", "b.mp4", "c.mp4"])
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


def test_csv_rows_without_a_split_are_noted(tmp_path: Path) -> None:
    evalkit.touch(tmp_path, ["a.mp4", "b.mp4", "c.mp4"])
    (tmp_path / "list.csv").write_text(
        "media,label,group,split\na.mp4,real,g,test\nb.mp4,fake,g,\nc.mp4,fake,h\n"
    )
    rows = load("csv", tmp_path / "list.csv")
    assert [r.media for r in rows.rows] == ["a.mp4"]
    (note,) = rows.notes
    assert note.startswith("list.csv: rows with an empty split are left out (2);")
    every = load("csv", tmp_path / "list.csv", "all")
    assert len(every.rows) == 3
    assert not every.notes


def test_csv_rows_of_unknown_splits_are_noted(tmp_path: Path) -> None:
    evalkit.touch(tmp_path, ["a.mp4", "b.mp4", "c.mp4", "d.mp4"])
    (tmp_path / "list.csv").write_text(
        "media,label,split\na.mp4,real,test\nb.mp4,fake,dev\nc.mp4,fake,train\nd.mp4,real,dev\n"
    )
    rows = load("csv", tmp_path / "list.csv")
    assert [r.media for r in rows.rows] == ["a.mp4"]
    assert "rows whose split is not train, val or test are left out: 'dev' (2);" in rows.notes[-1]
    assert len(load("csv", tmp_path / "list.csv", "all").rows) == 4


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("path,label\na,real\n", "expected the columns media and label, but found path, label"),
        ("", "found none"),
        ("media,label\n/etc/passwd,real\n", "line 2: media must be a path below"),
        ("media,label\n../up.mp4,real\n", "line 2: media must be a path below"),
        ("media,label\na.mp4,real\n\nb.mp4,1\n", "line 4: the label must be real or fake"),
        ("media,label\na.mp4\n", "label must be real or fake, not None"),
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


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_wrong_root_says_what_was_expected_and_found(name: str, tmp_path: Path) -> None:
    evalkit.touch(tmp_path, ["holiday/beach.txt"])
    with pytest.raises(DatasetError, match=f"{name}: expected .*") as caught:
        load(name, tmp_path)
    if name != "csv":
        assert "found holiday/" in caught.value.message
    with pytest.raises(DatasetError, match="does not exist"):
        load(name, tmp_path / "nowhere")


def test_a_root_one_level_too_high_is_pointed_at(ffpp: Path) -> None:
    with pytest.raises(DatasetError, match=f"{ffpp.name} looks like it"):
        load("ffpp", ffpp.parent)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("nope", ".", "test"), "There is no data set 'nope'\\. Known: ffpp"),
        (("ffpp", ".", "dev"), "split must be one of train, val, test, all"),
    ],
)
def test_unknown_names_are_refused(arguments: tuple[str, str, str], named: str) -> None:
    name, root, split = arguments
    with pytest.raises(DatasetError, match=named):
        load(name, Path(root), split=split)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(
        DatasetError, match=r"has no option 'speed'\. Its options: compression, methods"
    ):
        load("ffpp", Path(), speed="9")


def test_arguments_of_the_command_line() -> None:
    assert parse("ffpp:/data/ff") == ("ffpp", {}, Path("/data/ff"))
    assert parse("ffpp,compression=c40,methods=A+B:C:\\x") == (
        "ffpp",
        {"compression": "c40", "methods": "A+B"},
        Path("C:\\x"),
    )
    for wrong in ("ffpp", ":x", "ffpp:", "ffpp,c40:x", "ffpp,a=1,a=2:x"):
        with pytest.raises(DatasetError, match="not of the form"):
            parse(wrong)


def test_people_are_linked_through_others() -> None:
    people = [["a"], ["a", "b"], ["b", "c"], ["d"]]
    assert group_by_people(people, "component", "D")[0] == ["a+2", "a+2", "a+2", "d"]
    assert group_by_people(people, "target", "D")[0] == ["a", "a", "b", "d"]
    groups, notes = group_by_people(people, "auto", "D")
    assert groups == ["a", "a", "b", "d"]
    assert "swaps link the people of 3 of 4 media" in notes[0]
    assert group_by_people([["a"], ["b"], ["c", "b"]], "auto", "D") == (
        ["a", "b", "c"],
        group_by_people([["a"], ["b"], ["c", "b"]], "auto", "D")[1],
    )
    assert group_by_people([], "auto", "D") == ([], [])
    with pytest.raises(DatasetError, match="The option group must be one of"):
        group_by_people(people, "x", "D")
