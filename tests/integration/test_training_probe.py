"""A head fitted on a frozen network's features: what a run may see, and what is computed once."""

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
from deepfake_training.data.batches import BatchDataset, plain_crops
from deepfake_training.data.datasets import CropStore, PairDataset, numbered
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
    """Noise in warm colours; manipulated, it is green or blue. A group a medium, two folds."""
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
    """Random first weights, but the same ones each time: "none" draws others in every run."""
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
    seen = np.stack([store.centred(int(row), mine) for row in scores.index])
    with torch.inference_mode():
        logits = graph(torch.from_numpy(seen))[0].numpy()
    # Features are kept in half precision.
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

    examples = probe._learnt_from(pairs, Plain(store, mine), store, mine)
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
    examples = probe._learnt_from(pairs, features, store, mine)
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
    with pytest.raises(ConfigError, match="not one linear layer"):
        probe._set_head(create_backbone(config().backbone, config().bundle.input), np.zeros(3), 0.0)


def further(**changes: object) -> Config:
    """A run that fits norms too, from the head of the logistic regression."""
    fit = {"steps": 6, "pairs": 4, "start": "probe", "light_per_pair": 2, "pair_loss": 0.5,
           "learning_rate": 1e-3, "head_rate": 0.1, "warmup_steps": 0, "ema_decay": 0.5,
           "validate_every": 6, "checkpoint_every": 2, "workers": 0, "bf16": False}  # fmt: skip
    base = config()
    return base.model_copy(
        update={
            "validation_folds": (0,),
            "backbone": base.backbone.model_copy(update={"tune": "norm", "tune_from": 2}),
            "probe": base.probe.model_copy(update={"pairs": 48}),
            "fit": FitConfig.model_validate({**fit, **changes}),
        }
    )


def weights(run: Path, part: str = "ema") -> dict[str, torch.Tensor]:
    return read_checkpoint(run / (BEST if part == "ema" else CHECKPOINT))[part]  # type: ignore[no-any-return]


def test_a_run_goes_on_from_the_head_of_the_regression(crops: Path, tmp_path: Path) -> None:
    fit(crops, tmp_path / "head", config(validation_folds=(0,)))
    still = further(steps=1, learning_rate=1e-12)
    fit(crops, tmp_path / "still", still)
    head, started = weights(tmp_path / "head"), weights(tmp_path / "still")
    assert head.keys() == started.keys()
    for name, tensor in head.items():
        assert torch.allclose(tensor, started[name], atol=1e-6), name
    reports: list[StepReport] = []
    fit(crops, tmp_path / "further", further(), progress=reports.append)
    assert reports[0].loss is None, "features come first"
    assert reports[-1].validation
    assert reports[-1].validation["auc_all"] == 1.0
    fitted = weights(tmp_path / "further")
    moved = {name for name, tensor in head.items() if not torch.equal(tensor, fitted[name])}
    norms = {f"vit.blocks.1.norm{i}.{part}" for i in (1, 2) for part in ("weight", "bias")}
    assert moved == {"head.weight", "head.bias"} | norms


def test_a_stopped_run_does_not_start_again_from_the_regression(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):
        pass

    def stop(report: StepReport) -> None:
        if report.loss is not None and report.step == 3:
            raise Stopped

    fit(crops, tmp_path / "whole", further())
    with pytest.raises(Stopped):
        fit(crops, tmp_path / "stopped", further(), progress=stop)

    def never(*_: object) -> None:
        raise AssertionError("the head is fitted again")

    monkeypatch.setattr(fitting, "start_head", never)
    fit(crops, tmp_path / "stopped", further())
    whole, resumed = (weights(tmp_path / name, "model") for name in ("whole", "stopped"))
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_the_last_layer_has_a_learning_rate_of_its_own(crops: Path, tmp_path: Path) -> None:
    fit(crops, tmp_path / "before", further(steps=1, learning_rate=1e-12))
    fit(crops, tmp_path / "after", further(steps=1, learning_rate=1e-3, weight_decay=0.0))
    before, after = (weights(tmp_path / name, "model") for name in ("before", "after"))
    # The first step of Adam is the learning rate, whatever the gradient.
    for name, step in (("head.weight", 1e-4), ("vit.blocks.1.norm2.weight", 1e-3)):
        change = (after[name] - before[name]).abs().median().item()
        assert change == pytest.approx(step, rel=0.05), name


def test_the_second_loss_is_by_how_much_the_halves_of_pairs_are_apart(
    crops: Path, tmp_path: Path
) -> None:
    first: dict[float, float] = {}
    for weight in (0.0, 0.5, 1.0):
        reports: list[StepReport] = []
        run = further(steps=1, pair_loss=weight, start="weights")
        fit(crops, tmp_path / str(weight), run, progress=reports.append)
        assert reports[-1].loss is not None
        first[weight] = reports[-1].loss
    torch.manual_seed(0)
    mine = further(steps=1, start="weights")
    model = create_backbone(mine.backbone, mine.bundle.input)
    graph = ExportGraph(model, mine.bundle.input)
    batch = BatchDataset(CropStore(crops), mine, 4)
    real, fake = (torch.stack([batch[i][half] for i in range(4)]) for half in (0, 1))
    with torch.inference_mode():
        apart = graph.reference(fake) - graph.reference(real)
    expected = torch.log1p(torch.exp(-apart)).mean().item()
    assert first[1.0] - first[0.0] == pytest.approx(expected, rel=1e-3)
    assert first[0.5] - first[0.0] == pytest.approx(expected / 2, rel=1e-3)


def test_beside_pairs_stand_crops_that_the_run_may_see(
    crops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, mine = CropStore(crops), further()
    allowed = numbered(store)
    allowed = allowed[trained_on(allowed, mine)]
    plain = plain_crops(store, mine)
    assert set(plain.rows) == set(allowed["row"])
    assert plain.weights[plain.truth == 1].sum() == pytest.approx(0.5)
    batch = BatchDataset(store, mine, 40)
    read, pair = store.read, batch._pairs[0]
    rows: list[int] = []
    monkeypatch.setattr(PairDataset, "__getitem__", lambda *_: pair)
    monkeypatch.setattr(CropStore, "read", lambda self, row: rows.append(row) or read(row))
    items = [batch[i] for i in range(len(batch))]
    assert set(rows) == set(allowed["row"]), "of all that the run may see, and of nothing else"
    truth = torch.cat([item[3] for item in items])
    fake = store.index["label"].to_numpy()[rows] == "fake"
    assert truth.tolist() == fake.astype(float).tolist()
    assert 0.3 < truth.mean() < 0.7
    assert items[7][2].shape == (2, 64, 64, 3)
    assert torch.equal(items[7][2], BatchDataset(store, mine, 40)[7][2])
    monkeypatch.undo()
    assert BatchDataset(store, further(light_per_pair=0), 4)[0][2].shape == (0, 64, 64, 3)
    with pytest.raises(TrainingError, match="no fake crop is left"):
        plain_crops(store, config(left_out_methods=("green", "blue")))


def test_a_regression_is_not_for_several_processes(crops: Path, tmp_path: Path) -> None:
    several = probe.Workers(0, 2, torch.device("cpu"))
    with pytest.raises(TrainingError, match="one process"):
        probe.fit_head(CropStore(crops), tmp_path, config(), several)


def test_a_checkpoint_from_before_a_field_was_added_is_gone_on_with(
    crops: Path, tmp_path: Path
) -> None:
    mine = config(validation_folds=(0,))
    figures = fit(crops, tmp_path, mine)
    state = read_checkpoint(tmp_path / CHECKPOINT)
    older = json.loads(state["config"])
    del older["fit"]["pair_loss"]
    torch.save({**state, "config": json.dumps(older)}, tmp_path / CHECKPOINT)
    assert fit(crops, tmp_path, mine) == figures
