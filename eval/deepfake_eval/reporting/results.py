"""The results folder of a run: predictions, figures, tables, plots and report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_eval.analysis.plots import write_plots
from deepfake_eval.reporting.report import render
from deepfake_eval.reporting.tables import write_tables
from deepfake_models.machine import atomic_write_text

PREDICTIONS = "predictions.parquet"
METRICS = "metrics.json"
MISSING = "missing.txt"
REPORT = "report.html"
PLOTS = "plots"
TABLES = "tables"


def write_results(out: Path, predictions: pd.DataFrame, metrics: Mapping[str, Any]) -> None:
    """Write all files of a run to the folder ``out``; older ones are replaced.

    ``predictions`` are those of ``predictions.assemble`` or ``score_table.read``, and ``metrics``
    is the result of ``summarise`` for them.
    """
    out.mkdir(parents=True, exist_ok=True)
    predictions.to_parquet(out / PREDICTIONS)
    atomic_write_text(out / METRICS, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
    write_tables(out / TABLES, metrics)
    plots = write_plots(predictions, metrics, out / PLOTS)
    atomic_write_text(out / REPORT, render(metrics, plots))
