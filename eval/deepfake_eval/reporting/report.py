"""The results folder of a run, and ``report.html`` in it, which loads nothing from outside."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_eval.analysis.intervals import NO_INTERVAL
from deepfake_eval.analysis.metrics import TITLES
from deepfake_eval.analysis.plots import figures, write_plots
from deepfake_eval.analysis.summary import LEVELS, headline
from deepfake_eval.reporting.tables import write_tables
from deepfake_eval.reporting.templates import filled
from deepfake_models.machine import atomic_write_text

PREDICTIONS = "predictions.parquet"
METRICS = "metrics.json"
MISSING = "missing.txt"
REPORT = "report.html"
PLOTS = "plots"
TABLES = "tables"

CAPTIONS = {
    "roc": "ROC curves of items (pictures and videos), and of frames if there are any.",
    "scores": "Distribution of item scores by class. Nothing is decided between thresholds.",
    "reliability": "Reliability diagram: of the media with a score s, a share s is manipulated if "
    "the scores are calibrated.",
}


def write_results(out: Path, predictions: pd.DataFrame, metrics: Mapping[str, Any]) -> None:
    """Write all files of a run to the folder ``out``; older ones are replaced.

    ``predictions`` are those of ``predictions.assemble`` or ``score_table.read``, and ``metrics``
    is the result of ``summarise`` for them.
    """
    out.mkdir(parents=True, exist_ok=True)
    predictions.to_parquet(out / PREDICTIONS)
    atomic_write_text(out / METRICS, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
    write_tables(out / TABLES, metrics)
    plots = write_plots(figures(predictions, metrics), out / PLOTS)
    atomic_write_text(out / REPORT, render(metrics, plots))


def render(metrics: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    """Return the report of one run as HTML.

    ``metrics`` is the content of ``metrics.json``; ``plots`` are SVG texts by name.
    """
    return filled(
        "report.html",
        metrics=metrics,
        bundle=metrics["bundle"],
        settings=metrics["settings"],
        headline=headline(metrics),
        levels=LEVELS,
        titles=TITLES,
        no_interval=NO_INTERVAL,
        limits=_limits(metrics["bundle"]["thresholds"]),
        plots=[
            (caption, _labelled(plots[name], caption))
            for name, caption in CAPTIONS.items()
            if name in plots
        ],
    )


def _labelled(svg: str, caption: str) -> str:
    """Return an SVG document as an element of a page, read aloud as its ``caption``."""
    element = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>", "", svg, flags=re.DOTALL)
    return element.replace("<svg ", f'<svg role="img" aria-label="{caption}" ', 1)


def _limits(thresholds: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the thresholds of pictures and videos by name, those of leaning among them."""
    names: dict[str, list[str]] = {}
    for kind, limits in thresholds.items():
        leaning = limits.get("leaning") or {}
        for name, value in {**limits, **{f"leaning: {k}": v for k, v in leaning.items()}}.items():
            if isinstance(value, float):
                names.setdefault(name, []).append(f"{value:.3f} ({kind})")
    return names
