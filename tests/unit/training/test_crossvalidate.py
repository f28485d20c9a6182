"""The weights of the runs of a cross-validation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from deepfake_training.config import BesideConfig, BundleConfig, Config, MixConfig
from deepfake_training.data.splits import fold_splits
from deepfake_training.errors import TrainingError
from deepfake_training.train.checkpoints import (
    BEST,
    CHECKPOINT,
    CHECKPOINT_FORMAT,
    chosen_weights,
)

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


def weights_of(runs: Path, config: Config = CONFIG, data: str = DATA) -> dict[str, float]:
    """Return the first weight of each run of a cross-validation of ``config``."""
    return {
        split.name: chosen_weights(runs / split.name, split.config, data)["w"][0].item()
        for split in fold_splits(INDEX, config)
    }


def test_each_run_has_the_weights_that_it_chose(runs: Path) -> None:
    assert weights_of(runs) == RUNS


@pytest.mark.parametrize("file", [BEST, CHECKPOINT])
def test_a_missing_run_is_named(runs: Path, file: str) -> None:
    (runs / "fold-2" / file).unlink()
    with pytest.raises(TrainingError, match="fold-2: There is no run"):
        weights_of(runs)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"mix": MixConfig(real_fakes=0.1)}, r"mix\.real_fakes differs"),
        ({"beside": BesideConfig(name="swin", blocks=(1,))}, r"beside\.name differs"),
    ],
)
def test_runs_of_another_recipe_are_refused(
    runs: Path, changed: dict[str, object], named: str
) -> None:
    with pytest.raises(TrainingError, match=rf"fold-0: This .* another recipe\. Its {named}"):
        weights_of(runs, CONFIG.model_copy(update=changed))


def test_fields_that_do_not_influence_weights_may_differ(runs: Path) -> None:
    fit = CONFIG.fit.model_copy(update={"workers": 7, "checkpoint_every": 3})
    assert weights_of(runs, CONFIG.model_copy(update={"fit": fit})) == RUNS


def test_runs_on_other_data_are_refused(runs: Path) -> None:
    with pytest.raises(TrainingError, match="fold-0: The prepared data have changed"):
        weights_of(runs, data="1" * 64)
