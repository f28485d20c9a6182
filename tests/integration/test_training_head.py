"""A head on a frozen network: what a run may see, and that its features are computed once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from deepfake_models.classifier import KIND_LOGITS, LOGIT
from deepfake_training.config import Config
from deepfake_training.data.datasets import SWAPPED, CropStore
from deepfake_training.data.manifests import COLUMNS
from deepfake_training.data.splits import fold_splits
from deepfake_training.errors import TrainingError
from deepfake_training.evaluate.crossvalidate import run_splits
from deepfake_training.heads import heads_of, logits_of
from deepfake_training.heads.head import Examples, Material
from deepfake_training.heads.linear import LinearHead
from deepfake_training.train import feature_store, frozen
from deepfake_training.train.checkpoints import (
    BEST,
    METRICS,
    StepReport,
    read_checkpoint,
)
from deepfake_training.train.feature_store import FeatureStore, PairFeatures
from deepfake_training.train.frozen import fit_frozen
from deepfake_training.train.loop import fit
from deepfake_training.train.material import MainFaces, main_faces, material_of, plain_faces
from deepfake_training.train.method_metrics import mean_aucs
from tests.support.training import head_config, seed_networks, without_features

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

ALL_METHODS = ("reswap", "puppet", "talker", "retouch")


@pytest.fixture(scope="module", autouse=True)
def one_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        seed_networks(patch)
        yield


@pytest.fixture
def store(head_crops: Path) -> CropStore:
    return CropStore(head_crops)


def faces_of(store: CropStore, config: Config) -> MainFaces:
    return main_faces(FeatureStore(store, config), store, config)


def test_folds_are_told_apart_from_features_that_are_computed_once(
    head_crops: Path,
    store: CropStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports: list[StepReport] = []
    splits = fold_splits(store.index, head_config())
    run_splits(head_crops, tmp_path, splits, progress=lambda _, report: reports.append(report))
    figures = [(tmp_path / split.name / METRICS).read_text() for split in splits]
    for text in figures:
        assert json.loads(text)["auc_all"] > 0.9, "the tint is plain"
    assert reports[0].loss is None
    assert [r.doing for r in reports[-2:]] == ["regression", ""]
    assert reports[-1].validation

    def never(*_: object, **__: object) -> None:
        raise AssertionError("features are computed again")

    monkeypatch.setattr(feature_store, "run_tasks", never)
    run_splits(head_crops, tmp_path / "again", splits)
    assert [(tmp_path / "again" / split.name / METRICS).read_text() for split in splits] == figures
    other = head_config(fit=head_config().fit.model_copy(update={"seed": 1}))
    with pytest.raises(AssertionError, match="computed again"):
        fit(head_crops, tmp_path / "other", other)


def test_the_saved_head_is_the_one_that_was_measured(
    head_crops: Path, store: CropStore, tmp_path: Path
) -> None:
    mine = head_config(validation_folds=(0,))
    figures = fit(head_crops, tmp_path, mine)
    heads = heads_of(read_checkpoint(tmp_path / BEST)["weights"])
    faces = faces_of(store, mine)
    held = faces.of(faces.labels[faces.labels["fold"] == 0])
    outputs = logits_of(heads, held.features)
    scores = held.labels.assign(logit=outputs[LOGIT][:, 0])  # all are videos
    measured = mean_aucs(scores, mine.cross_validation.apart)
    assert {name: figures[name] for name in measured} == measured
    assert outputs[KIND_LOGITS].shape == (len(scores), 2)


def test_pairs_and_faces_that_a_run_may_not_see_do_not_move_its_head(
    head_crops: Path, store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = head_config(validation_folds=(0,), left_out_methods=("talker",))
    fit(head_crops, tmp_path / "first", mine)

    def unseen(rows: pd.DataFrame) -> np.ndarray:
        return ((rows["fold"] == 0) | (rows["method"] == "talker")).to_numpy()

    hidden = unseen(store.index)
    pairs = FeatureStore.pairs
    spoilt: list[int] = []

    def spoilt_pairs(self: FeatureStore, *args: object) -> PairFeatures:
        drawn = pairs(self, *args)  # type: ignore[arg-type]
        real, fake = hidden[drawn.rows[:, 0]], hidden[drawn.rows[:, 1]] | hidden[drawn.rows[:, 2]]
        drawn.real[real] = 1000.0
        drawn.fake[fake] = -1000.0
        spoilt.append(int(real.sum() + fake.sum()))
        return drawn

    def spoilt_faces(*args: object) -> MainFaces:
        faces = main_faces(*args)  # type: ignore[arg-type]
        values = faces.features.copy()
        values[unseen(faces.labels)] = -1000.0
        spoilt.append(int(unseen(faces.labels).sum()))
        return MainFaces(values, faces.labels)

    monkeypatch.setattr(FeatureStore, "pairs", spoilt_pairs)
    monkeypatch.setattr(frozen, "main_faces", spoilt_faces)
    fit(head_crops, tmp_path / "second", mine)
    assert all(spoilt), "nothing was spoilt: the test shows nothing"
    first, second = (read_checkpoint(tmp_path / n / BEST)["weights"] for n in ("first", "second"))
    for name, values in first.items():
        assert torch.equal(values, second[name]), name


def test_a_swap_counts_only_where_its_donor_does(store: CropStore) -> None:
    mine = head_config(validation_folds=(0,))
    fold = store.index["fold"].to_numpy()
    inside, outside = int((fold == 1).argmax()), int((fold == 0).argmax())
    size = 4
    pairs = PairFeatures(
        real=np.zeros((2, 1, size), np.float16),
        fake=np.array([[[1.0] * size], [[2.0] * size]], np.float16),
        rows=np.array([[inside, inside, inside], [inside, inside, outside]]),
        kinds=np.array([SWAPPED, SWAPPED]),
    )
    labels = store.index[fold == 1].drop_duplicates("label")[list(COLUMNS)].reset_index(drop=True)
    plain = MainFaces(np.zeros((2, 1, size), np.float16), labels)
    halves = material_of(pairs, plain, store, mine).pairs
    assert halves.features[:, 0, 0].tolist() == [0.0, 0.0, 1.0], "both real halves, the first swap"
    assert halves.truth.tolist() == [0, 0, 1]


def test_the_logit_is_learnt_from_plain_faces_and_from_pairs(store: CropStore) -> None:
    mine = head_config(validation_folds=(0,))
    material = material_of(FeatureStore(store, mine).pairs(32), faces_of(store, mine), store, mine)
    for examples in (material.pairs, material.plain):
        assert examples.weights.sum() == pytest.approx(1.0)
        assert examples.weights[examples.truth == 1].sum() == pytest.approx(0.5)
    head = LinearHead.fit(material, mine)
    logits, truth = head.logits(material.plain.features), material.plain.truth
    for of_faces in logits.T:
        assert roc_auc_score(truth, of_faces) > 0.9
    for name in ("plain", "pairs"):
        examples = getattr(material, name)
        moved = examples.features.copy()
        moved[examples.truth == 1, :, ::2] += np.float16(1.0)
        other = replace(material, **{name: replace(examples, features=moved)})
        assert not np.allclose(LinearHead.fit(other, mine).weight, head.weight), name


def test_blended_faces_move_the_logit_of_videos_and_pictures_by_tools_both(
    store: CropStore,
) -> None:
    mine = head_config(validation_folds=(0,))
    material = material_of(FeatureStore(store, mine).pairs(32), faces_of(store, mine), store, mine)
    assert not material.blended.any(), "its recipe blends no faces"
    assert not material.pictures.any(), "all media are videos"
    blended = np.arange(len(material.blended)) % 2 == 0
    material = replace(material, blended=blended, pictures=~blended)
    head = LinearHead.fit(material, mine)
    for own, moves in ((material.blended, (True, False)), (material.pictures, (True, True))):
        moved = material.pairs.features.copy()
        moved[own & (material.pairs.truth == 1), :, ::2] += np.float16(1.0)
        other = replace(material, pairs=replace(material.pairs, features=moved))
        fitted = LinearHead.fit(other, mine)
        same = [np.allclose(*rows) for rows in zip(fitted.weight, head.weight, strict=True)]
        assert tuple(same) == tuple(not one for one in moves)


def test_what_tells_sources_apart_hardly_moves_the_logit() -> None:
    """Real faces of six sources that differ in one feature; fakes differ in it and in another."""
    rng = np.random.default_rng(0)
    source = np.repeat(np.arange(8), 50)
    truth = (source >= 6).astype(np.int64)
    features = rng.normal(size=(400, 1, 2))
    features[:, 0, 0] += np.where(truth, 3.0, 3.0 * (source % 3 - 1))
    features[:, 0, 1] += truth
    examples = Examples(features, truth, np.where(truth, 0.5 / 100, 0.5 / 300))
    halves = rng.normal(size=(400, 1, 2))
    halves[:, 0, 1] += truth
    pairs = Examples(halves, truth, examples.weights)

    def share(sources: NDArray[np.int64]) -> float:
        """Return the weight of what differs between sources, for one of what fakes have alone."""
        none = np.zeros(400, bool)
        material = Material(pairs, none, none, examples, pd.DataFrame(), sources)
        by_source, by_trace = LinearHead.fit(material, head_config()).weight[0]
        return float(by_source / by_trace)

    assert 0.0 < share(source) < 0.75 * share(truth), "not less than where sources are unknown"


def test_a_fold_without_a_class_is_reported_before_anything_is_computed(
    store: CropStore, tmp_path: Path
) -> None:
    """Fakes of methods that are measured apart do not count."""
    held = store.index["fold"] == 0
    fake = held & (store.index["label"] == "fake")
    for rows, label, method, missing in (
        (held, "real", "original", "fake"),
        (held, "fake", "reswap", "real"),
        (fake, "fake", "retouch", "fake"),
    ):
        spoilt = CropStore(store.root)
        spoilt.index.loc[rows, ["label", "method"]] = [label, method]
        reports: list[StepReport] = []
        mine = head_config(validation_folds=(0,))
        with pytest.raises(TrainingError, match=f"No {missing} crop is held out"):
            fit_frozen(spoilt, tmp_path, mine, reports.append)
        assert not reports


def test_plain_faces_are_those_that_the_run_may_see(store: CropStore) -> None:
    mine = head_config(validation_folds=(0,))
    plain, labels = plain_faces(faces_of(store, mine), mine)
    seen = store.index[store.index["fold"] == 1]
    assert set(labels["media"]) == set(seen["media"])
    assert plain.weights[plain.truth == 1].sum() == pytest.approx(0.5)
    nothing = head_config(left_out_methods=ALL_METHODS)
    with pytest.raises(TrainingError, match="No fake crop is left"):
        plain_faces(faces_of(store, nothing), nothing)


def test_what_cannot_be_fitted_is_reported(head_crops: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="No fake crop is left"):
        fit(head_crops, tmp_path / "nothing", head_config(left_out_methods=ALL_METHODS))
    one_kind = head_config(left_out_methods=("puppet", "talker"))
    with pytest.raises(TrainingError, match="No fake of the kind reenactment is left"):
        fit(head_crops, tmp_path / "one-kind", one_kind)
    figures = fit(head_crops, tmp_path / "run", head_config())
    fewer = head_config().fit.model_copy(update={"workers": 1})
    assert fit(head_crops, tmp_path / "run", head_config(fit=fewer)) == figures
    with pytest.raises(TrainingError, match="another recipe"):
        fit(head_crops, tmp_path / "run", head_config(validation_folds=(1,)))
    other = CropStore(head_crops)
    other.index = other.index.assign(method=other.index["method"].replace("puppet", "talker"))
    with pytest.raises(TrainingError, match="The prepared data have changed"):
        fit_frozen(other, tmp_path / "run", head_config())


def test_pairs_of_crops_with_other_labels_are_drawn_anew(head_crops: Path, tmp_path: Path) -> None:
    """Which half of a pair a stored feature was of is known by the label of its crop alone."""
    crops = without_features(head_crops, tmp_path / "crops")
    store = CropStore(crops)
    FeatureStore(store, head_config()).pairs(2)
    corrected = CropStore(crops)
    real = (corrected.index["media"] == "02.mp4").to_numpy()
    corrected.index.loc[real, ["label", "method"]] = ["real", "original"]
    drawn = FeatureStore(corrected, head_config()).pairs(2)
    assert len(list(crops.glob("features/*/pairs-*"))) == 2
    assert not real[drawn.rows[:, 1]].any()
