"""Preparing crops, and the pairs that are drawn from them."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from deepfake_models.media.interface import DecodeLimits
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_training.cli import app
from deepfake_training.config import Config, MixConfig
from deepfake_training.data import cutting
from deepfake_training.data.datasets import (
    REAL_FAKE,
    SELF_BLENDED,
    CropStore,
    PairDataset,
    drawn_kind,
    framed_alike,
    pair_rng,
)
from deepfake_training.data.manifests import Manifest, read_manifests
from deepfake_training.data.prepare import (
    INDEX,
    MANIFESTS,
    not_used,
    prepare,
)
from deepfake_training.errors import TrainingError
from tests.support import footage
from tests.support.training import short_smoke_text

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def few(manifest: Path, tmp_path: Path) -> Manifest:
    """Return the first three clips of ``manifest``."""
    path = tmp_path / "few.csv"
    path.write_text("".join(manifest.read_text().splitlines(keepends=True)[:4]))
    return Manifest(path, manifest.parent)


def of_few(crops: Path) -> pd.DataFrame:
    """Return what the index of ``crops`` says about the clips of ``few``."""
    index = CropStore(crops).index
    return index[index["media"].isin(["00.mp4", "01.mp4", "02.mp4"])]


def test_prepare_goes_on_where_it_stopped(
    manifest: Path, crops: Path, smoke: Config, tmp_path: Path
) -> None:
    again = tmp_path / "crops"
    shutil.copytree(crops, again)
    before = {p.name: p.stat().st_mtime_ns for p in (again / "records").iterdir()}
    lost = sorted(before)[0]
    (again / "records" / lost).unlink()
    prepare([Manifest(manifest)], again, smoke, workers=1)
    after = {p.name: p.stat().st_mtime_ns for p in (again / "records").iterdir()}
    assert [n for n in before if before[n] != after[n]] == [lost]
    first, second = CropStore(crops).index, CropStore(again).index
    assert first.equals(second)


def test_a_crop_that_was_deleted_is_cut_again(
    manifest: Path, crops: Path, smoke: Config, tmp_path: Path
) -> None:
    again = tmp_path / "crops"
    shutil.copytree(crops, again)
    store = CropStore(again)
    lost = again / "crops" / store.index["crop"].iloc[0]
    content = lost.read_bytes()
    lost.write_bytes(content[:100])
    with pytest.raises(TrainingError, match=r"png: The crop is damaged. Delete it and run"):
        store.read(0)
    lost.unlink()
    with pytest.raises(
        TrainingError, match=r"png: The crop is missing. Run deepfake-train prepare again"
    ):
        store.read(0)
    prepare([Manifest(manifest)], again, smoke, workers=0)
    assert lost.read_bytes() == content
    assert CropStore(again).index.equals(CropStore(crops).index)


def test_a_crop_that_cannot_be_written_stops_prepare(
    few: Manifest, crops: Path, smoke: Config, tmp_path: Path
) -> None:
    out = tmp_path / "crops"
    in_the_way = out / "crops" / CropStore(crops).index["crop"].iloc[0]
    in_the_way.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        prepare([few], out, smoke, workers=0)
    in_the_way.rmdir()
    prepare([few], out, smoke, workers=0)
    assert CropStore(out).index.equals(of_few(crops))


def test_identical_files_are_used_once_and_may_not_contradict(
    manifest: Path, smoke: Config, tmp_path: Path
) -> None:
    root = tmp_path / "media"
    root.mkdir()
    for name, source in (("00", "00"), ("02", "02"), ("copy", "00")):
        shutil.copy(manifest.parent / f"{source}.mp4", root / f"{name}.mp4")
    text = "".join(manifest.read_text().splitlines(keepends=True)[i] for i in (0, 1, 3))
    (root / "manifest.csv").write_text(text + "copy.mp4,real,original,made,g0,0\n")
    listed = [Manifest(root / "manifest.csv")]
    assert prepare(listed, tmp_path / "a", smoke, workers=0).duplicates == 1
    for row, named in (
        ("copy.mp4,fake,tint,made,g0,0", "label real and once with fake"),
        ("copy.mp4,real,original,made,k,1", "group g0 and once with k"),
    ):
        (root / "manifest.csv").write_text(f"{text}{row}\n")
        with pytest.raises(TrainingError, match=rf"line 2 \(00.*line 4 \(copy.*bytes, .*{named}"):
            prepare(listed, tmp_path / "b", smoke, workers=0)


def test_a_corrupt_medium_is_counted_and_stops_nothing(
    manifest: Path, smoke: Config, tmp_path: Path
) -> None:
    root = tmp_path / "media"
    root.mkdir()
    shutil.copy(manifest.parent / "00.mp4", root / "good.mp4")
    (root / "bad.mp4").write_bytes(b"no video")
    (root / "m.csv").write_text(
        "media,label,method,dataset,group,fold\n"
        "bad.mp4,real,original,d,a,0\ngood.mp4,real,original,d,b,0\n"
    )
    summary = prepare([Manifest(root / "m.csv")], tmp_path / "crops", smoke, workers=0)
    assert (summary.media, summary.failed) == (1, 1)


def test_a_medium_whose_decoder_failed_is_tried_again(
    few: Manifest, crops: Path, smoke: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "crops"
    no_time = DecodeLimits(timeout_s=1e-9)
    with monkeypatch.context() as patch:
        patch.setattr(cutting, "ProcessDecoder", partial(ProcessDecoder, no_time))
        summary = prepare([few], out, smoke, workers=0)
        assert summary.failed > 0
        assert summary.media == 0
    assert prepare([few], out, smoke, workers=0).failed == 0
    assert CropStore(out).index.equals(of_few(crops))


def test_an_index_without_a_face_is_not_learnt_from(smoke: Config, tmp_path: Path) -> None:
    Image.new("RGB", (96, 96), (90, 120, 60)).save(tmp_path / "empty.png")
    (tmp_path / "m.csv").write_text(
        "media,label,method,dataset,group,fold\n"
        "empty.png,real,original,d,a,0\ngone.png,real,original,d,b,0\n"
    )
    summary = prepare([Manifest(tmp_path / "m.csv")], tmp_path / "crops", smoke, workers=0)
    assert (summary.without_face, summary.absent) == (1, 1)
    with pytest.raises(TrainingError, match="crops: No face was found in the media"):
        CropStore(tmp_path / "crops")


def test_another_root_than_that_of_the_manifest_is_told(smoke: Config, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(
        "media,label,method,dataset,group,fold\na/b.png,real,original,d,a,0\nc.png,fake,m,d,b,0\n"
    )
    with pytest.raises(TrainingError, match=r"None of the 2 files .* exists, .*a/b\.png\. .*ROOT"):
        prepare([Manifest(tmp_path / "m.csv")], tmp_path / "crops", smoke, workers=0)


def test_several_manifests_give_one_index(manifest: Path, smoke: Config, tmp_path: Path) -> None:
    """Files of one name, a copy in another data set, and crops that were cut before."""
    header = "media,label,method,dataset,group,fold"
    one, two, out = tmp_path / "one", tmp_path / "two", tmp_path / "crops"
    for folder, files in ((one, {"a": "00", "b": "01"}), (two, {"a": "02", "copy": "01"})):
        folder.mkdir()
        for name, source in files.items():
            shutil.copy(manifest.parent / f"{source}.mp4", folder / f"{name}.mp4")
    (one / "m.csv").write_text(
        f"{header}\na.mp4,real,original,film,g,0\nb.mp4,real,original,film,h,0\n"
    )
    (tmp_path / "two.csv").write_text(
        f"{header},terms\na.mp4,fake,tint,tool,g,0,MIT\ncopy.mp4,real,original,web,h,0,MIT\n"
    )
    prepare([Manifest(one / "m.csv")], out, smoke, workers=0)
    before = {p.name: p.stat().st_mtime_ns for p in (out / "records").iterdir()}
    (tmp_path / "c.toml").write_text(short_smoke_text())
    command = ["prepare", "--config", tmp_path / "c.toml", "--crops", out]
    command += ["--manifest", one / "m.csv"]
    command += ["--manifest", f"{tmp_path / 'two.csv'}:{two}", "--workers", 0]
    done = CliRunner().invoke(app, [*map(str, command)])
    assert done.exit_code == 0, done.output
    assert "3 media" in done.output
    assert "1 duplicates" in done.output
    after = {p.name: p.stat().st_mtime_ns for p in (out / "records").iterdir()}
    assert before.items() <= after.items()
    index = CropStore(out).index
    media = index.drop_duplicates("media").set_index("media")
    assert set(media.index) == {"film/a.mp4", "tool/a.mp4", "b.mp4"}
    assert media["terms"].to_dict() == {"film/a.mp4": "", "tool/a.mp4": "MIT", "b.mp4": ""}
    assert not_used(out) == ["copy.mp4"]
    assert [(m["name"], m["rows"]) for m in json.loads((out / MANIFESTS).read_text())] == [
        ("m.csv", 2),
        ("two.csv", 2),
    ]


def with_detector(config: Config, **changes: float) -> Config:
    detector = config.bundle.detector.model_copy(update=changes)
    bundle = config.bundle.model_copy(update={"detector": detector})
    return config.model_copy(update={"bundle": bundle})


def test_turned_tight_crops_are_stored_upright(smoke: Config, tmp_path: Path) -> None:
    tight = footage.grace_hopper()[135:330, 184:346]
    rows = ["media,label,method,dataset,group,fold"]
    for k in range(4):
        Image.fromarray(np.rot90(tight, k)).save(tmp_path / f"{k}.png")
        rows.append(f"{k}.png,real,original,made,g{k},1")
    listed = [Manifest(tmp_path / "manifest.csv")]
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    assert prepare(listed, tmp_path / "without", smoke, workers=0).without_face == 4
    config = with_detector(smoke, border=1 / 3, turn_above=60)
    out = tmp_path / "with"
    assert prepare(listed, out, config, workers=0).crops == 4
    index = pd.read_parquet(out / INDEX)
    upright, *turned = [np.asarray(Image.open(out / "crops" / c)) for c in index["crop"]]
    for crop, points, inside in zip(turned, index["points"][1:], index["inside"][1:], strict=True):
        assert np.abs(crop.astype(float) - upright).mean() < 2
        assert points == pytest.approx(index["points"][0], abs=4)
        assert inside == pytest.approx(index["inside"][0], abs=4)
    assert index["dense"].notna().all()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("media,label\na.mp4,real\n", "no column method and no column dataset and"),
        ("media,label,method,dataset,group,fold\na,1,m,d,g,0\n", "label"),
        (
            "media,label,method,dataset,group,fold\na,real,m,d,g,0\nb,fake,m,d,g,1\n",
            "Group g is in more than one fold",
        ),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(TrainingError, match=named):
        read_manifests([Manifest(tmp_path / "m.csv")])


def test_items_depend_on_their_number_alone(crops: Path, smoke: Config) -> None:
    first = PairDataset(CropStore(crops), smoke, 8)
    second = PairDataset(CropStore(crops), smoke, 8)
    expected = [first[i] for i in range(8)]
    for i in (5, 2, 7):
        assert all(np.array_equal(a, b) for a, b in zip(second[i], expected[i], strict=True))
    assert expected[0][0].shape == (64, 64, 3)
    assert expected[0][0].dtype == np.uint8


def test_how_a_pair_is_made_is_known_without_making_it(crops: Path, smoke: Config) -> None:
    store = CropStore(crops)
    mix = MixConfig(real_fakes=0.5, self_blended=0.5, swapped=0.0, regenerated=0.0)
    data = PairDataset(store, smoke.model_copy(update={"mix": mix}), 16)
    made_from = [store.index["label"].iat[data.pair(item)[0][1]] for item in range(16)]
    kinds = [drawn_kind(mix, pair_rng(smoke.fit.seed, item)) for item in range(16)]
    assert set(kinds) == {REAL_FAKE, SELF_BLENDED}
    assert kinds == [REAL_FAKE if label == "fake" else SELF_BLENDED for label in made_from]


def test_training_never_sees_the_held_out_folds(crops: Path, smoke: Config) -> None:
    store = CropStore(crops)
    held = set(np.flatnonzero(store.index["fold"].isin(smoke.validation_folds)))
    seen: set[int] = set()
    read = store.read
    store.read = lambda row: seen.add(row) or read(row)  # type: ignore[method-assign, func-returns-value]
    data = PairDataset(store, smoke, 64)
    for i in range(64):
        data[i]
    assert seen
    assert not seen & held


def test_both_halves_of_a_pair_are_framed_alike(crops: Path) -> None:
    store = CropStore(crops)
    wide = store.read(0)
    size = len(wide.pixels)
    narrow = type(wide)(wide.pixels, wide.points, np.array([20, 10, size - 30, size]))
    a, b = framed_alike(wide, narrow)
    assert np.array_equal(a, b)
    assert a.shape == wide.pixels.shape
    assert np.array_equal(a[:, 19], a[:, 21])


def test_a_class_without_a_sample_is_named(crops: Path, smoke: Config) -> None:
    store = CropStore(crops)
    store.index = store.index[store.index["label"] == "real"]
    with pytest.raises(TrainingError, match="there are no fake crops"):
        PairDataset(store, smoke, 8)
    # Self-blended images need only real faces.
    mix = MixConfig(real_fakes=0.0, self_blended=1.0, swapped=0.0, regenerated=0.0)
    real, fake = PairDataset(store, smoke.model_copy(update={"mix": mix}), 8)[0]
    assert real.shape == fake.shape
