"""Read what a run has written, to measure or compare it further."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_eval.errors import RunError


def read_run(path: Path, columns: Iterable[str]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the predictions in ``path``, which have ``columns``, and the metrics beside them.

    Raises:
        RunError: a file is unreadable, or was not written by ``deepfake-eval run``.
    """
    metrics_path = path.with_name("metrics.json")
    try:
        table = pd.read_parquet(path)
        metrics: dict[str, Any] = json.loads(metrics_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} or {metrics_path.name} beside it is not readable. Give the results of "
            "deepfake-eval run."
        ) from error
    if not set(columns) <= set(table.columns) or "degradation" in table.columns:
        raise RunError(
            f"{path} was not written by deepfake-eval run. Only its results can be used."
        )
    return table, metrics
