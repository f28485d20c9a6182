"""Averages of runs: what is measured saw nothing of what it is measured on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deepfake_training.config import (
    BundleConfig,
    Config,
    CrossValidationConfig,
    LeaveOut,
    MixConfig,
)
from deepfake_training.data.splits import everything_split, fold_splits
from deepfake_training.errors import ConfigError, TrainingError
from deepfake_training.evaluate.crossvalidate import (
    averaged,
    averaging_splits,
    fold_weights,
    shipped_weights,
)
from deepfake_training.train.checkpoints import BEST, CHECKPOINT, CHECKPOINT_FORMAT

RUNS = {"fold-0-1": 1.0, "fold-2": 2.0, "without-a": 4.0, "without-b": 8.0, "everything": 32.0}


def config(*, average: bool) -> Config:
    return Config(
        bundle=BundleConfig(name="n", version="1", terms="t"),
        cross_validation=CrossValidationConfig(
            folds=((0, 1), (2,)),
            # a saw nothing of either fold of the first part; b saw one of them.
            leave_out=(LeaveOut(name="a", folds=(0, 1)), LeaveOut(name="b", folds=(2, 1))),
            average=average,
        ),
    )


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    splits = [
        *fold_splits(config(average=True), short=False),
        *averaging_splits(config(average=True)),
    ]
    assert {s.name for s in splits} == set(RUNS)
    for split in splits:
        name, value = split.name, RUNS[split.name]
        (tmp_path / name).mkdir()
        ran = {"format": CHECKPOINT_FORMAT, "config": split.config.model_dump_json()}
        torch.save(ran, tmp_path / name / CHECKPOINT)
        ema = {"w": torch.full((2,), value), "n": torch.tensor(int(value))}
        torch.save({"format": CHECKPOINT_FORMAT, "ema": ema}, tmp_path / name / BEST)
    return tmp_path


def test_floating_tensors_are_averaged_and_counters_are_the_first_ones() -> None:
    mean = averaged([{"w": torch.tensor([1.0]), "n": torch.tensor(3)},
                     {"w": torch.tensor([2.0]), "n": torch.tensor(9)}])  # fmt: skip
    assert (mean["w"].item(), mean["n"].item()) == (1.5, 3)


def test_a_part_is_measured_by_runs_that_held_all_of_it_out(runs: Path) -> None:
    parts = {
        split.validation_folds: weights["w"][0].item()
        for split, weights in fold_weights(runs, config(average=True))
    }
    assert parts == {(0, 1): (1.0 + 4.0) / 2, (2,): (2.0 + 8.0) / 2}
    alone = [w["w"][0].item() for _, w in fold_weights(runs, config(average=False))]
    assert alone == [1.0, 2.0]


def test_what_is_shipped_is_an_average_of_the_kind_that_was_measured(runs: Path) -> None:
    own = {"w": torch.full((2,), 16.0), "n": torch.tensor(16)}
    weights, names = shipped_weights(runs, config(average=True), own)
    assert weights["w"][0].item() == (16.0 + 32.0) / 2
    assert names == ["everything"]
    other = everything_split(config(average=True)).config
    assert other.fit.seed != config(average=True).fit.seed
    assert other.fit.steps == config(average=True).cross_validation.leave_out_steps
    assert shipped_weights(runs, config(average=False), own) == (own, [])


def test_a_missing_run_is_named(runs: Path) -> None:
    (runs / "everything" / BEST).unlink()
    with pytest.raises(TrainingError, match="everything is missing"):
        shipped_weights(runs, config(average=True), {})


def test_runs_of_another_recipe_are_refused(runs: Path) -> None:
    changed = config(average=False)
    changed = changed.model_copy(update={"mix": MixConfig(real_fakes=0.1)})
    with pytest.raises(TrainingError, match="fold-0-1 is a run of another recipe"):
        list(fold_weights(runs, changed))


def test_an_average_needs_a_run_that_was_blind_to_the_part(runs: Path) -> None:
    crossing = config(average=True).cross_validation.model_copy(
        update={"leave_out": (LeaveOut(name="b", folds=(2, 1)),)}
    )
    changed = config(average=True).model_copy(update={"cross_validation": crossing})
    with pytest.raises(ConfigError, match="holds out all of fold-0-1"):
        list(fold_weights(runs, changed))
