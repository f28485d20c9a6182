"""Fitting: resuming, and checkpoints that are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
import timm
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deepfake_training.config import Config, InputSpec
from deepfake_training.data.prepare import INDEX
from deepfake_training.errors import ConfigError, TrainingError
from deepfake_training.export.bundle import check_exportable
from deepfake_training.networks.backbone import create_backbone
from deepfake_training.train.checkpoints import BEST, CHECKPOINT, StepReport, read_checkpoint
from deepfake_training.train.loop import STOP, fit
from tests.support.training import head_config

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def test_a_stopped_run_resumes_to_the_same_weights(
    crops: Path, smoke: Config, fitted_run: Path, tmp_path: Path
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
        fit(crops, tmp_path, smoke, progress=stop_after(8))
    assert read_checkpoint(tmp_path / CHECKPOINT)["step"] == 6
    fit(crops, tmp_path, smoke)
    whole, resumed = (read_checkpoint(d / CHECKPOINT) for d in (fitted_run, tmp_path))
    assert whole["step"] == resumed["step"] == smoke.fit.steps
    for name, tensor in whole["model"].items():
        assert torch.equal(tensor, resumed["model"][name]), name
    for name, tensor in whole["ema"].items():
        assert torch.equal(tensor, resumed["ema"][name]), name


@pytest.fixture(scope="module")
def learning(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A small transformer that learns its layer norms and the heads of two blocks."""
    config = head_config()
    file = tmp_path_factory.mktemp("initial") / "vit.pth"
    torch.save(timm.create_model(config.backbone.name, img_size=64).state_dict(), file)
    initial = {
        "weights": "file",
        "file": str(file),
        "sha256": sha256(file.read_bytes()).hexdigest(),
    }
    config = config.model_copy(update={"backbone": config.backbone.model_copy(update=initial)})
    return config.model_copy(
        update={
            "validation_folds": (0,),
            "backbone": config.backbone.model_copy(update={"tune": "norm"}),
            "bundle": config.bundle.model_copy(update={"arithmetic": "float32"}),
            "probe": config.probe.model_copy(update={"heads": ("linear",), "kinds": ()}),
            "fit": config.fit.model_copy(
                update={
                    "steps": 20, "pairs": 2, "first_pairs": 24, "learning_rate": 1e-2,
                    "checkpoint_every": 10, "validate_every": 20,
                }
            ),
        }
    )  # fmt: skip


def test_norms_learn_and_go_on_where_a_file_stopped_them(
    head_crops: Path, learning: Config, tmp_path: Path
) -> None:
    figures: dict[int, float] = {}

    def note(report: StepReport) -> None:
        if report.validation:
            figures[report.step] = report.validation["auc_all"]

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit(head_crops, whole, learning, progress=note)
    assert set(figures) == {0, 20}, "the heads are measured before anything is learnt"

    def ask(report: StepReport) -> None:
        if report.step == 10 and not report.doing:
            (parts / STOP).touch()

    with pytest.raises(TrainingError, match="after step 10"):
        fit(head_crops, parts, learning, progress=ask)
    (parts / STOP).unlink()
    fit(head_crops, parts, learning)
    one, two = (read_checkpoint(run / CHECKPOINT) for run in (whole, parts))
    assert one["step"] == two["step"] == 20
    for part in ("model", "ema"):
        assert all("norm" in name or "heads" in name for name in one[part]), (
            "what stays is not kept"
        )
        for name, tensor in one[part].items():
            assert torch.equal(tensor, two[part][name]), name

    spec = InputSpec(height=64, width=64)
    frozen = learning.backbone.model_copy(update={"tune": "head", "learnt": str(whole)})
    state = create_backbone(frozen, spec).state_dict()
    initial = create_backbone(frozen.model_copy(update={"learnt": None}), spec).state_dict()
    chosen = read_checkpoint(whole / BEST)["weights"]
    assert not any("qkv" in name for name in chosen), "what stays is not kept"
    for name, tensor in state.items():
        assert torch.equal(tensor, chosen.get(f"tokens.{name}", initial[name])), name
    nothing = frozen.model_copy(update={"learnt": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"backbone\.learnt: .* no run of this network"):
        create_backbone(nothing, spec)
    with pytest.raises(ConfigError, match="not exported"):
        check_exportable(learning)
    assert fit(head_crops, tmp_path / "own", head_config(backbone=frozen))["step"] == 4
    heads = head_config(backbone=frozen, taught_datasets=("elsewhere",))
    with pytest.raises(ConfigError, match="has another teaching set"):
        fit(head_crops, tmp_path / "heads", heads)
    for changed in ({"blocks": (1, 3)}, {"weights": "none", "file": None, "sha256": None}):
        heads = head_config(backbone=frozen.model_copy(update=changed))
        with pytest.raises(ConfigError, match="began from other weights, or has other blocks"):
            fit(head_crops, tmp_path / "heads", heads)


def losses(run: Path) -> list[float]:
    events = EventAccumulator(str(run / "log"))
    events.Reload()
    return [e.value for e in events.Scalars("loss")]


def test_an_interrupted_run_has_logged_all_its_steps(
    crops: Path, smoke: Config, tmp_path: Path
) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(report: StepReport) -> None:
        if report.step == 2:
            raise Interrupted

    with pytest.raises(Interrupted) as raised:
        fit(crops, tmp_path, smoke, progress=interrupt)
    assert len(losses(tmp_path)) == 2, raised  # which holds the writer that was not closed


def test_a_checkpoint_of_another_config_is_refused(
    crops: Path, smoke: Config, fitted_run: Path, tmp_path: Path
) -> None:
    shutil.copy(fitted_run / CHECKPOINT, tmp_path / CHECKPOINT)
    other = smoke.model_copy(update={"fit": smoke.fit.model_copy(update={"learning_rate": 1e-5})})
    with pytest.raises(TrainingError, match="another recipe"):
        fit(crops, tmp_path, other)


def test_a_run_on_other_data_is_refused(
    crops: Path, smoke: Config, fitted_run: Path, tmp_path: Path
) -> None:
    """The crops are the same, and ``prepare`` has moved a group to another fold."""
    other = tmp_path / "crops"
    shutil.copytree(crops, other)
    run = tmp_path / "run"
    shutil.copytree(fitted_run, run)
    index = pd.read_parquet(crops / INDEX)
    shuffled = index.sample(frac=1.0, random_state=0)
    shuffled.to_parquet(other / INDEX)
    fit(other, run, smoke)  # nothing is left to do, whatever the order of the manifests
    index.loc[index["group"] == "g11", "fold"] = 0
    index.to_parquet(other / INDEX)
    with pytest.raises(TrainingError, match="The prepared data have changed"):
        fit(other, run, smoke)


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
