"""Fitting: resuming, several processes, and checkpoints that are refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deepfake_training.config import Config, load_config
from deepfake_training.data.prepare import INDEX
from deepfake_training.errors import ConfigError, TrainingError
from deepfake_training.train.checkpoints import CHECKPOINT, StepReport, read_checkpoint
from deepfake_training.train.distributed import Workers
from deepfake_training.train.loop import fit
from tests.support.training import SMALL, short_smoke_text

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


TORCHRUN = """
import sys
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
import deepfake_training.train.loop
from deepfake_training.cli import app

two = LaunchConfig(
    1, 1, nproc_per_node=2, run_id="test", rdzv_backend="c10d", rdzv_endpoint="localhost:0",
    start_method="fork", monitor_interval=0.05,
)
elastic_launch(two, lambda: app(sys.argv[1:], standalone_mode=False))()
"""
"""Starts ``deepfake-train`` in two processes as torchrun does, but imports torch only once."""


def test_two_processes_train_as_one(crops: Path, tmp_path: Path) -> None:
    # Without BatchNorm, by which each process normalises its own part of a batch.
    text = short_smoke_text().replace(SMALL, "test_convnext").replace("\nsteps = 12", "\nsteps = 4")
    path = tmp_path / "c.toml"
    path.write_text(text.replace("validate_every = 12", "validate_every = 4"))
    config, _ = load_config(path)
    fit(crops, tmp_path / "one", config)
    command = ["fit", "--config", path, "--crops", crops, "--checkpoints", tmp_path / "two"]
    done = subprocess.run(
        [sys.executable, "-c", TORCHRUN, *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
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
    crops: Path, smoke: Config, fitted_run: Path, tmp_path: Path
) -> None:
    shutil.copy(fitted_run / CHECKPOINT, tmp_path / CHECKPOINT)
    other = smoke.model_copy(update={"fit": smoke.fit.model_copy(update={"learning_rate": 1e-5})})
    with pytest.raises(TrainingError, match="another config"):
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
