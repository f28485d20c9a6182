"""The weights of the runs of a cross-validation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from deepfake_training.config import BundleConfig, Config, MixConfig
from deepfake_training.data.splits import fold_splits
from deepfake_training.errors import TrainingError
from deepfake_training.evaluate.crossvalidate import split_weights
from deepfake_training.train.checkpoints import BEST, CHECKPOINT, CHECKPOINT_FORMAT

pytestmark = pytest.mark.torch

RUNS = {"fold-0": 1.0, "fold-2": 2.0}
INDEX = pd.DataFrame({"fold": [2, 0, 2], "dataset": "d"})
DATA = "0" * 64
CONFIG = Config(bundle=BundleConfig(name="n", version="1", terms="t"))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    splits = fold_splits(INDEX, CONFIG)
    assert {s.name for s in splits} == set(RUNS)
    for split in splits:
        name, value = split.name, RUNS[split.name]
        (tmp_path / name).mkdir()
        state = {
            "format": CHECKPOINT_FORMAT, "config": split.config.model_dump_json(), "data": DATA
        }  # fmt: skip
        torch.save(state, tmp_path / name / CHECKPOINT)
        weights = {"w": torch.full((2,), value)}
        torch.save({"format": CHECKPOINT_FORMAT, "weights": weights}, tmp_path / name / BEST)
    return tmp_path


def test_each_part_has_the_weights_of_the_run_that_held_it_out(runs: Path) -> None:
    parts = {
        config.validation_folds: weights["w"][0].item()
        for config, weights in split_weights(runs, fold_splits(INDEX, CONFIG), DATA)
    }
    assert parts == {(0,): 1.0, (2,): 2.0}


def test_a_missing_run_is_named(runs: Path) -> None:
    (runs / "fold-2" / BEST).unlink()
    with pytest.raises(TrainingError, match="fold-2 is missing"):
        list(split_weights(runs, fold_splits(INDEX, CONFIG), DATA))


def test_runs_of_another_recipe_are_refused(runs: Path) -> None:
    changed = CONFIG.model_copy(update={"mix": MixConfig(real_fakes=0.1)})
    with pytest.raises(TrainingError, match="fold-0 is a run of another recipe"):
        list(split_weights(runs, fold_splits(INDEX, changed), DATA))


def test_fields_that_do_not_influence_weights_may_differ(runs: Path) -> None:
    fit = CONFIG.fit.model_copy(update={"workers": 7, "checkpoint_every": 3})
    splits = fold_splits(INDEX, CONFIG.model_copy(update={"fit": fit}))
    assert len(list(split_weights(runs, splits, DATA))) == 2


def test_runs_on_other_data_are_refused(runs: Path) -> None:
    with pytest.raises(TrainingError, match="fold-0: The prepared data have changed"):
        list(split_weights(runs, fold_splits(INDEX, CONFIG), "1" * 64))
