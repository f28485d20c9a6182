"""A head on a frozen network: what a run may see, and features that are computed once."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from deepfake_models.spec import CropSpec, InputSpec
from deepfake_training.config import (
    REMOVED,
    BackboneConfig,
    BundleConfig,
    Config,
    CrossValidationConfig,
    FitConfig,
    LeaveOut,
    MixConfig,
    PrepareConfig,
    ProbeConfig,
)
from deepfake_training.data.datasets import CropStore, numbered
from deepfake_training.data.splits import fold_splits, leave_out_splits, trained_on
from deepfake_training.errors import ConfigError, TrainingError
from deepfake_training.evaluate.crossvalidate import run_splits
from deepfake_training.networks.backbone import ExportGraph, create_backbone
from deepfake_training.train import linear_probe as probe
from deepfake_training.train import loop as fitting
from deepfake_training.train.checkpoints import (
    BEST,
    CHECKPOINT,
    HELD_OUT,
    StepReport,
    read_checkpoint,
)
from deepfake_training.train.linear_probe import FeatureStore
from deepfake_training.train.loop import fit

pytestmark = pytest.mark.torch

SIDE = 96


def config(**changes: object) -> Config:
    base = Config(
        augmentation="light",
        prepare=PrepareConfig(store_size=SIDE),
        mix=MixConfig(real_fakes=1.0, self_blended=0.0, swapped=0.0, regenerated=0.0),
        backbone=BackboneConfig(
            name="vit_tiny_patch16_224",
            weights="none",
            blocks=(1, 2),
            tune="head",
            drop_rate=0.0,
            drop_path_rate=0.0,
        ),
        fit=FitConfig(steps=6, pairs=8, workers=0, bf16=False),
        probe=ProbeConfig(inverse_regularisation=0.1),
        cross_validation=CrossValidationConfig(
            folds=((0,), (1,)),
            leave_out_steps=6,
            leave_out=(LeaveOut(name="a", folds=(0,), methods=("green",)),),
        ),
        bundle=BundleConfig(
            name="probe",
            version="0",
            terms="for tests",
            crop=CropSpec(size=64),
            input=InputSpec(height=64, width=64),
        ),
    )
    return base.model_copy(update=changes)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in warm colours, green or blue if manipulated; one group per medium, two folds."""
    root = tmp_path_factory.mktemp("crops")
    (root / "crops").mkdir()
    rng = np.random.default_rng(0)
    tints = {"original": (0.9, 0.8, 0.6), "green": (0.5, 0.9, 0.5), "blue": (0.5, 0.6, 0.9)}
    rows = []
    for number in range(24):
        method = ("original", "green", "original", "blue")[number % 4]
        for moment in range(2):
            name = f"{number:02d}-{moment}.png"
            pixels = rng.uniform(60, 255, (SIDE, SIDE, 1)) * tints[method]
            cv2.imwrite(str(root / "crops" / name), pixels[..., ::-1].astype(np.uint8))
            rows.append(
                {
                    "media": f"{number:02d}.mp4",
                    "label": "real" if method == "original" else "fake",
                    "method": method,
                    "dataset": "made",
                    "group": f"g{number}",
                    "fold": number // 4 % 2,
                    "crop": name,
                    "time_s": float(moment),
                    "face_px": 60.0,
                    "inside": [0, 0, SIDE, SIDE],
                    "points": [30.0, 40.0, 60.0, 40.0, 48.0, 52.0, 36.0, 64.0, 60.0, 64.0],
                    "dense": None,
                }
            )
    pd.DataFrame(rows).to_parquet(root / "index.parquet")
    cut = {"prepare": config().prepare.model_dump(mode="json")}
    (root / "cut.json").write_text(json.dumps(cut), encoding="utf-8")
    return root


@pytest.fixture(autouse=True)
def one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed the random initial weights, which would otherwise differ in every run."""
    made = create_backbone

    def seeded(*args: object, **options: object) -> torch.nn.Module:
        torch.manual_seed(0)
        return made(*args, **options)

    for module in (probe, fitting):
        monkeypatch.setattr(module, "create_backbone", seeded)


def test_folds_are_told_apart_from_features_that_are_computed_once(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[StepReport] = []
    scores = run_splits(
        crops,
        tmp_path,
        fold_splits(config(), short=False),
        progress=lambda _, report: reports.append(report),
    )
    assert sorted(scores["media"].unique()) == sorted(CropStore(crops).index["media"].unique())
    held = scores[scores["split"] == "fold-0"]
    assert set(held["fold"]) == {0}
    real, fake = (held[held["label"] == label]["logit"] for label in ("real", "fake"))
    assert real.max() < fake.min(), "the tint is plain to see"
    assert reports[-1].validation
    assert reports[-1].validation["auc_all"] == 1.0
    assert reports[0].loss is None

    def never(*_: object) -> None:
        raise AssertionError("features are computed again")

    monkeypatch.setattr(FeatureStore, "_forward", never)
    again = run_splits(crops, tmp_path / "again", fold_splits(config(), short=False))
    assert np.allclose(again["logit"], scores["logit"])
    other = config(fit=config().fit.model_copy(update={"seed": 1}))
    with pytest.raises(AssertionError, match="computed again"):
        fit(crops, tmp_path / "other", other)


def test_what_is_kept_is_the_network_with_the_head_that_was_fitted(
    crops: Path, tmp_path: Path
) -> None:
    mine = config(validation_folds=(0,))
    fit(crops, tmp_path, mine)
    model = create_backbone(mine.backbone, mine.bundle.input, initial=False)
    model.load_state_dict(read_checkpoint(tmp_path / BEST)["ema"])
    graph = ExportGraph(model.eval(), mine.bundle.input).eval()
    store = CropStore(crops)
    scores = pd.read_parquet(tmp_path / HELD_OUT)
    seen = np.stack([store.centred(int(row), mine.bundle.crop) for row in scores.index])
    with torch.inference_mode():
        logits = graph(torch.from_numpy(seen))[0].numpy()
    # Features are stored in half precision.
    assert np.abs(logits - scores["logit"]).max() < 0.02


def test_pairs_and_crops_that_a_run_may_not_see_do_not_move_its_head(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (split,) = leave_out_splits(config())
    fit(crops, tmp_path / "first", split.config)
    index = CropStore(crops).index
    hidden = ((index["fold"] == 0) | (index["method"] == "green")).to_numpy()
    pairs, plain = FeatureStore.pairs, FeatureStore.crops

    def spoilt_pairs(self: FeatureStore, *args: object) -> probe.PairFeatures:
        found = pairs(self, *args)
        found.real[hidden[found.rows[:, 0]]] = 1000.0
        found.fake[hidden[found.rows[:, 1]] | hidden[found.rows[:, 2]]] = -1000.0
        return found

    def spoilt_crops(self: FeatureStore, rows: list[int]) -> np.ndarray:
        found = plain(self, rows)
        found[hidden[rows]] = -1000.0
        return found

    monkeypatch.setattr(FeatureStore, "pairs", spoilt_pairs)
    monkeypatch.setattr(FeatureStore, "crops", spoilt_crops)
    fit(crops, tmp_path / "second", split.config)
    first, second = (
        read_checkpoint(tmp_path / name / BEST)["ema"]["head.weight"]
        for name in ("first", "second")
    )
    assert torch.equal(first, second)


def test_a_swap_counts_only_where_its_donor_does(crops: Path) -> None:
    mine = config(validation_folds=(0,))
    store = CropStore(crops)
    fold = store.index["fold"].to_numpy()
    inside, outside = int((fold == 1).argmax()), int((fold == 0).argmax())
    size = 4
    pairs = probe.PairFeatures(
        real=np.zeros((2, size), np.float16),
        fake=np.array([[1.0] * size, [2.0] * size], np.float16),
        rows=np.array([[inside, inside, inside], [inside, inside, outside]]),
    )

    class Plain(FeatureStore):
        def crops(self, rows: object) -> np.ndarray:
            return np.zeros((len(list(rows)), size), np.float16)

    examples = probe._examples(pairs, Plain(store, mine), store, mine)
    varied = examples.features[:3]
    assert varied[:, 0].tolist() == [0.0, 0.0, 1.0], "both real halves, and the first swap alone"


def test_both_classes_weigh_the_same_and_plain_crops_what_is_asked(
    crops: Path,
) -> None:
    mine = config(
        validation_folds=(0,), probe=config().probe.model_copy(update={"plain_share": 0.25})
    )
    store = CropStore(crops)
    features = FeatureStore(store, mine)
    pairs = features.pairs(16)
    examples = probe._examples(pairs, features, store, mine)
    assert examples.weights.sum() == pytest.approx(1.0)
    assert examples.weights[examples.truth == 1].sum() == pytest.approx(0.5)
    plain = (store.index["fold"] == 1).sum()
    assert examples.weights[-plain:].sum() == pytest.approx(0.25)


def test_what_cannot_be_fitted_is_said(crops: Path, tmp_path: Path) -> None:
    nothing = config(left_out_methods=("green", "blue"), mix=config().mix)
    with pytest.raises(TrainingError, match="no fake crop is left"):
        fit(crops, tmp_path / "nothing", nothing)
    fit(crops, tmp_path / "run", config())
    with pytest.raises(TrainingError, match="another config"):
        fit(crops, tmp_path / "run", config(validation_folds=(1,)))
    with pytest.raises(ConfigError, match="one linear layer"):
        probe._set_head(create_backbone(config().backbone, config().bundle.input), np.zeros(3), 0.0)


def test_plain_crops_are_those_that_the_run_may_see(crops: Path) -> None:
    store, mine = CropStore(crops), config(validation_folds=(0,))
    allowed = numbered(store)
    allowed = allowed[trained_on(allowed, mine)]
    plain = probe.plain_crops(store, mine)
    assert set(plain.rows) == set(allowed["row"])
    assert plain.weights[plain.truth == 1].sum() == pytest.approx(0.5)
    with pytest.raises(TrainingError, match="no fake crop is left"):
        probe.plain_crops(store, config(left_out_methods=("green", "blue")))


def test_a_regression_is_not_for_several_processes(crops: Path, tmp_path: Path) -> None:
    several = probe.Workers(0, 2, torch.device("cpu"))
    with pytest.raises(TrainingError, match="one process"):
        probe.fit_head(CropStore(crops), tmp_path, config(), several)


def test_a_checkpoint_from_before_fields_were_added_or_removed_is_read(
    crops: Path, tmp_path: Path
) -> None:
    mine = config(validation_folds=(0,))
    figures = fit(crops, tmp_path, mine)
    state = read_checkpoint(tmp_path / CHECKPOINT)
    older = json.loads(state["config"])
    del older["probe"]["plain_share"], older["card"]
    for field, neutral in REMOVED.items():
        section, name = field.split(".")
        older[section][name] = neutral
    torch.save({**state, "config": json.dumps(older)}, tmp_path / CHECKPOINT)
    assert fit(crops, tmp_path, mine) == figures
    older["fit"]["pair_loss"] = 0.25
    torch.save({**state, "config": json.dumps(older)}, tmp_path / CHECKPOINT)
    with pytest.raises(ConfigError, match=r"fit\.pair_loss is no longer supported"):
        fit(crops, tmp_path, mine)
