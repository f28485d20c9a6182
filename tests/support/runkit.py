"""What the tests of ``deepfake-eval run`` share: few draws, and predictions as stored."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from deepfake_eval.reporting.results import PREDICTIONS

DRAWS = 40


def stored(predictions: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return ``predictions`` as they are read from the file that ``run`` writes."""
    predictions.to_parquet(folder / PREDICTIONS)
    return pd.read_parquet(folder / PREDICTIONS)
