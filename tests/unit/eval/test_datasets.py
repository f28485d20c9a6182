"""Test every data set on a miniature tree of empty files with the published names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from deepfake_eval.datasets import DATASETS, base, describe, load
from deepfake_eval.errors import DatasetError
from tests.support import evaluation
from tests.support.evaluation import by_media, write_json

FFPP_METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")


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
    return evaluation.touch(tmp_path, names)


def test_ffpp_takes_the_official_split(ffpp: Path) -> None:
    rows = load("ffpp", ffpp, split="test")
    assert Counter(r.method for r in rows.rows if r.label == "real") == {"original": 2}
    fakes = [r for r in rows.rows if r.label == "fake"]
    assert Counter(r.method for r in fakes) == dict.fromkeys(FFPP_METHODS, 2)
    assert len({r.media for r in fakes}) == len(fakes)  # 000_003 is one video a method
    assert {r.group for r in rows.rows} == {"000_003"}
    assert {r.split for r in rows.rows} == {"test"}
    assert not any("masks" in r.media or "DeepFakeDetection" in r.media for r in rows.rows)
    assert rows.missing == ()
    assert Counter(r.split for r in load("ffpp", ffpp, split="all").rows) == {
        "train": 12, "val": 12, "test": 12,
    }  # fmt: skip
    (ffpp / "val.json").unlink()
    partly = load("ffpp", ffpp, split="all")
    assert [n for n in partly.notes if "val" in n] == [
        "FaceForensics++: its val part lacks val.json."
    ]


def test_ffpp_takes_chosen_methods_and_extracted_frames(ffpp: Path) -> None:
    evaluation.touch(ffpp, ["manipulated_sequences/FaceSwap/c40/frames/000_003/000.png"])
    rows = load("ffpp", ffpp, split="test", methods="FaceSwap", compression="c40")
    assert [r.media for r in rows.rows] == ["manipulated_sequences/FaceSwap/c40/frames/000_003"]
    assert len(rows.missing) == 3
    with pytest.raises(DatasetError, match=r"no method 'Swap' here. Choose from Deepfakes"):
        load("ffpp", ffpp, methods="Swap")
    with pytest.raises(DatasetError, match=r"no compression 'c42' here. Choose from raw, c23, c40"):
        load("ffpp", ffpp, compression="c42")


@pytest.mark.parametrize("content", ["{", "{}", '[["000"]]', "[[1, 2]]", "3", '"ab"'])
def test_ffpp_refuses_a_split_list_of_another_form(ffpp: Path, content: str) -> None:
    (ffpp / "test.json").write_text(content)
    if content == "{}":
        assert load("ffpp", ffpp).rows == ()
        return
    with pytest.raises(DatasetError, match=r"test\.json (has not the published form|is not read)"):
        load("ffpp", ffpp)


@pytest.fixture
def linked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let media that share people be one group, however many of these few there are."""
    monkeypatch.setattr(base, "LARGEST_COMPONENT", 1.0)


@pytest.mark.usefixtures("linked")
def test_dfd_groups_by_actor(ffpp: Path) -> None:
    rows = by_media(load("dfd", ffpp))
    assert {m.rpartition("/")[2]: v[::2] for m, v in rows.items()} == {
        "01__kitchen_pan.mp4": ("real", "actor-01_02"),
        "02__kitchen_pan.mp4": ("real", "actor-01_02"),
        "03__exit_phone_room.mp4": ("real", "actor-03"),
        "01_02__kitchen_pan__ABCDEFGH.mp4": ("fake", "actor-01_02"),
    }
    assert {r.split for r in load("dfd", ffpp, split="all").rows} == {"test"}
    for split in ("train", "val"):
        with pytest.raises(DatasetError, match=f"publishes no {split} split"):
            load("dfd", ffpp, split=split)


def test_dfd_reads_a_copy_with_other_folders(tmp_path: Path) -> None:
    real, fake = "DFD_original sequences", "DFD_manipulated_sequences"
    inner = f"{fake}/{fake}/01_02__walking_outside_cafe_disgusted__ABCDEFGH.mp4"
    evaluation.touch(tmp_path, [f"{real}/01__exit_phone_room.mp4", inner])
    rows = by_media(load("dfd", tmp_path))
    assert {media: row[0] for media, row in rows.items()} == {
        f"{real}/01__exit_phone_room.mp4": "real",
        inner: "fake",
    }


@pytest.fixture
def celebdf(tmp_path: Path) -> Path:
    evaluation.touch(
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


@pytest.mark.usefixtures("linked")
def test_celebdf_takes_the_test_list(celebdf: Path) -> None:
    rows = load("celebdf", celebdf)
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
    evaluation.touch(
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
    evaluation.touch(
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
    (tmp_path / "train/dfdc_train_part_0").rename(tmp_path / "train_sample_videos")
    (tmp_path / "train").rmdir()
    assert len(load("dfdc", tmp_path, split="all").rows) == 4
    (tmp_path / "test/labels.csv").unlink()
    sample = load("dfdc", tmp_path, split="all")
    assert sample.notes == ("DFDC: its test part lacks labels.csv.",)
    assert {r.media for r in sample.rows} == {
        "train_sample_videos/real.mp4",
        "train_sample_videos/fake.mp4",
    }


@pytest.mark.parametrize("content", ["[", "[1]", '{"a.mp4": 1}', '{"a.mp4": {"label": "MAYBE"}}'])
def test_dfdc_names_a_broken_metadata_file(tmp_path: Path, content: str) -> None:
    evaluation.touch(tmp_path, ["train/dfdc_train_part_0/a.mp4"])
    (tmp_path / "train/dfdc_train_part_0/metadata.json").write_text(content)
    with pytest.raises(DatasetError, match=r"metadata\.json|not 'MAYBE'"):
        load("dfdc", tmp_path, split="train")


@pytest.mark.usefixtures("linked")
def test_dfdc_preview(tmp_path: Path) -> None:
    evaluation.touch(
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
    rows = load("dfdcp", tmp_path)
    assert by_media(rows) == {
        "original_videos/videos/643049/643049_A_001.mp4": (
            "real", "original_videos", "1224068_643049",
        ),
        "method_A/videos/643049/643049_A/643049_1224068_A_001.mp4": (
            "fake", "method_A", "1224068_643049",
        ),
    }  # fmt: skip
    assert rows.missing == ("method_B/1/absent.mp4",)


@pytest.mark.usefixtures("linked")
def test_deeperforensics(tmp_path: Path) -> None:
    evaluation.touch(
        tmp_path,
        [
            "manipulated_videos/end_to_end/000_W101.mp4",
            "manipulated_videos/end_to_end/001_M004.mp4",
            "manipulated_videos/end_to_end_level_5/000_W101.mp4",
            "source_videos/W101/a/W101_x.mp4",  # not its real class
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
    )
    assert [(r.label, r.method, r.group) for r in more.rows] == [
        ("fake", "end_to_end_level_5", "000_W101"),
    ]
    with pytest.raises(DatasetError, match=r"no variant 'x' here\. Choose from end_to_end"):
        load("deeperforensics", tmp_path, variant="x")


def test_wilddeepfake_takes_each_face_sequence_for_a_clip(tmp_path: Path) -> None:
    evaluation.touch(
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
    with pytest.raises(DatasetError, match="needs media in fake_train"):
        load("wilddeepfake", tmp_path, split="train")


def test_df40(tmp_path: Path) -> None:
    evaluation.touch(
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


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_wrong_root_says_what_was_expected_and_found(name: str, tmp_path: Path) -> None:
    evaluation.touch(tmp_path, ["holiday/beach.txt"])
    with pytest.raises(DatasetError, match=" needs ") as caught:
        load(name, tmp_path)
    if name != "csv":
        assert f"The data set {name} needs" in caught.value.message
        assert "which has holiday/" in caught.value.message
    with pytest.raises(DatasetError, match="does not exist"):
        load(name, tmp_path / "nowhere")


def test_a_root_one_level_too_high_is_pointed_at(ffpp: Path) -> None:
    with pytest.raises(DatasetError, match=f"{ffpp.name} looks like it"):
        load("ffpp", ffpp.parent)


def test_ffiw(tmp_path: Path) -> None:
    base = "FFIW10K-v1-release"
    evaluation.touch(
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
    evaluation.touch(
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


@pytest.mark.usefixtures("linked")
def test_fakeavceleb_leaves_out_what_is_fake_in_sound_alone(tmp_path: Path) -> None:
    kinds = {
        "RealVideo-RealAudio": ("real", "-", "00109.mp4"),
        "RealVideo-FakeAudio": ("rtvc", "-", "00109_fake.mp4"),
        "FakeVideo-RealAudio": ("fsgan", "id00701", "00109_id00701_fsgan.mp4"),
        "FakeVideo-FakeAudio": ("wav2lip", "id00701", "00109_2_id00701_wavtolip.mp4"),
    }
    table = "source,target1,target2,method,category,type,race,gender,path,\n"
    for kind, (method, target, name) in kinds.items():
        folder = f"{kind}/African/women/id00076"
        table += f"id00076,{target},-,{method},A,{kind},African,women,{name},FakeAVCeleb/{folder}\n"
        evaluation.touch(tmp_path, [f"{folder}/{name}"])
    (tmp_path / "meta_data.csv").write_text(table)
    rows = load("fakeavceleb", tmp_path)
    assert [(r.label, r.method, r.group, r.attributes) for r in rows.rows] == [
        ("real", "original", "id00076_id00701", (("sex", "F"),)),
        ("fake", "fsgan", "id00076_id00701", (("sex", "F"),)),
        ("fake", "wav2lip", "id00076_id00701", (("sex", "F"),)),
    ]
    assert rows.missing == ()
    assert any("not confirmed" in note for note in rows.notes)


def test_deepfake_eval_2024(tmp_path: Path) -> None:
    evaluation.touch(tmp_path, ["video-data/a.mp4", "video-data/b.mp4", "image-data/c.jpg"])
    header = "Filename,Ground Truth,Finetuning Set\n"
    (tmp_path / "video-metadata-publish.csv").write_text(
        f"{header}a.mp4,Fake,Test\nb.mp4,Real,Train\ngone.mp4,Real,Test\n"
    )
    (tmp_path / "image-metadata-publish.csv").write_text(f"{header}c.jpg,Real,Test\n")
    rows = load("deepfakeeval2024", tmp_path)
    assert {m: v[0] for m, v in by_media(rows).items()} == {
        "video-data/a.mp4": "fake",
        "image-data/c.jpg": "real",
    }
    assert rows.missing == ("video-data/gone.mp4",)
    assert [r.media for r in load("deepfakeeval2024", tmp_path, "train").rows] == [
        "video-data/b.mp4"
    ]
    (tmp_path / "image-metadata-publish.csv").write_text(f"{header}c.jpg,Unknown,Test\n")
    with pytest.raises(DatasetError, match="line 2, must be one of Real, Fake, not 'Unknown'"):
        load("deepfakeeval2024", tmp_path)


def test_av_deepfake1m(tmp_path: Path) -> None:
    kinds = ("real", "visual_modified", "audio_modified", "both_modified")
    folders = ("id00012/x/00001", "vox_celeb_2/id00013/y/00002")
    names = [f"{folder}/{kind}.mp4" for folder in folders for kind in kinds]
    evaluation.touch(tmp_path, [f"val/{name}" for name in names])
    write_json(
        tmp_path / "val_metadata.json",
        [{"file": n, "original": None, "modify_type": n.rpartition("/")[2][:-4]} for n in names],
    )
    rows = load("avdeepfake1m", tmp_path)
    assert Counter((r.label, r.group, r.split) for r in rows.rows) == {
        ("real", "id00012", "val"): 1, ("fake", "id00012", "val"): 2,
        ("real", "id00013", "val"): 1, ("fake", "id00013", "val"): 2,
    }  # fmt: skip
    with pytest.raises(DatasetError, match=r"needs train_metadata\.json"):
        load("avdeepfake1m", tmp_path, "train")


def test_df_platter(tmp_path: Path) -> None:
    evaluation.touch(
        tmp_path, [f"SetA/C0/{p}/{k}/1.mp4" for p in ("Train", "Test") for k in ("real", "fake")]
    )
    assert by_media(load("dfplatter", tmp_path)) == {
        "SetA/C0/Test/real/1.mp4": ("real", "original", "SetA/C0/Test/real/1.mp4"),
        "SetA/C0/Test/fake/1.mp4": ("fake", "swap", "SetA/C0/Test/fake/1.mp4"),
    }
    with pytest.raises(DatasetError, match="needs media in"):
        load("dfplatter", tmp_path, compression="C40")


def test_forgerynet(tmp_path: Path) -> None:
    pictures, videos = "val_release/1/a.jpg", "val_video_release/2/b.mp4"
    evaluation.touch(tmp_path, [f"Validation/image/{pictures}", f"Validation/video/{videos}"])
    (tmp_path / "Validation/image_list.txt").write_text(f"{pictures} 0 0 0\n")
    (tmp_path / "Validation/video_list.txt").write_text(f"2 {videos} 0 4 real 4 9 fake 1 2 7\n")
    assert {m: v[:2] for m, v in by_media(load("forgerynet", tmp_path)).items()} == {
        f"Validation/image/{pictures}": ("real", "original"),
        f"Validation/video/{videos}": ("fake", "method 7"),
    }


def test_what_is_found_stands_beside_what_is_published(tmp_path: Path) -> None:
    evaluation.touch(tmp_path, ["real/0000.mp4", "fake/0000_fake.mp4"])
    assert "all: 1 real, 1 fake (published: 49 real, 49 fake)" in describe(f"uadfv:{tmp_path}")
