"""Check that the run, the crops, the manifests and the config of an export belong together."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from deepfake_training.config import Config
from deepfake_training.data.datasets import CropStore
from deepfake_training.errors import TrainingError
from deepfake_training.evaluate.crossvalidate import recipe_of


def check_run(run: Path, run_config: Config, config: Config) -> None:
    """Check that the weights of a run are those that ``config`` describes.

    Raises:
        TrainingError: if they were fitted otherwise or saw what is held out; the message names the
            field.
    """
    theirs, ours = recipe_of(run_config), recipe_of(config)
    for field in theirs:
        if theirs[field] != ours[field]:
            raise TrainingError(
                f"{run}: a run of another recipe: its {field} differs from that of the config"
            )


def check_prepared(rows: pd.DataFrame, store: CropStore) -> None:
    """Check that the manifests describe media as they did when ``store`` was prepared.

    Another fold or group would have a run measured on people that it saw.

    Raises:
        TrainingError: if they do not; the message names a medium.
    """
    columns = ["label", "method", "dataset", "group", "fold"]
    then = store.index.drop_duplicates("media").set_index("media")[columns]
    now = rows.set_index("media")[columns]
    both = then.index.intersection(now.index)
    differ = (then.loc[both] != now.loc[both]).any(axis=1)
    if differ.any():
        raise TrainingError(
            f"{differ.idxmax()}: the manifests have changed since the crops were prepared; run "
            "deepfake-train prepare again, then fit in other folders"
        )
