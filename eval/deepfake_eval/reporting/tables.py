"""The figures of a run as tables for papers and spreadsheets: CSV, LaTeX and BibTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_eval.analysis.in_sample import any_fitted, in_sample_sentence
from deepfake_eval.analysis.intervals import NO_INTERVAL
from deepfake_eval.analysis.metrics import FIGURES, RANKED
from deepfake_eval.analysis.summary import LEVELS
from deepfake_eval.datasets import DATASETS
from deepfake_eval.reporting.templates import filled
from deepfake_models.machine import atomic_write_text

SWEEP_FIGURES = ("auc", "auc_change", "false_positive_rate", "true_positive_rate", "scored_rate")
SCORES = "scores.csv"
SCORE_COLUMNS = ("media", "label", "score", "method", "dataset", "group", "kind", "fitted")
_COLUMNS = (("", "value"), ("_low", "low"), ("_high", "high"), ("_indicative", "indicative"))
_RATES = (
    "true_positive_rate",
    "false_positive_rate",
    "cleared_rate",
    "towards_manipulated_rate",
    "towards_untouched_rate",
)


def write_tables(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write ``figures.csv``, ``rates.csv``, ``figures.tex`` and ``datasets.bib`` to ``folder``.

    ``metrics`` is the content of ``metrics.json``. ``rates.csv`` is left out if the detector has
    no threshold, and ``datasets.bib`` if no measured data set is published.
    """
    texts = {
        "figures.csv": csv_text(figure_rows(metrics)),
        "rates.csv": csv_text(rate_rows(metrics)),
        "figures.tex": latex(metrics),
        "datasets.bib": bibliography(e["adapter"] for e in metrics["settings"]["datasets"]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        if text:
            atomic_write_text(folder / name, text)
        else:
            (folder / name).unlink(missing_ok=True)


def figure_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each level and part of the media, with every figure and its interval.

    A figure that cannot be computed is ``None``. ``indicative`` is 1 if a class has too few groups.
    """
    return [
        {
            "level": level,
            "scope": entry["scope"],
            "dataset": entry.get("dataset", ""),
            "name": entry["name"],
            "against": entry.get("against", ""),
            "real": entry["real"]["scored"],
            "real_not_scored": entry["real"]["not_scored"],
            "fake": entry["fake"]["scored"],
            "fake_not_scored": entry["fake"]["not_scored"],
            "groups": entry["groups"],
            "indicative": int(entry["indicative"]),
            **{
                f"{figure}{suffix}": entry[figure][key]
                for figure in FIGURES
                for suffix, key in _COLUMNS[:3]
            },
            "worst_case_auc": entry["worst_case_auc"],
        }
        for level, entries in metrics["levels"].items()
        for entry in entries
    ]


def scores_csv(predictions: pd.DataFrame) -> str:
    """Return the items of ``predictions`` as a table of scores for ``deepfake-eval detector``.

    The score is the value by which media are ranked; ``fitted`` says whether the weights were
    fitted on the medium, and is empty where that is not known.
    """
    items = predictions[predictions["level"] == "item"]
    table = items.assign(score=items["rank"], kind=items["kind"].replace("image", "picture"))
    text: str = table[list(SCORE_COLUMNS)].to_csv(index=False, lineterminator="\n")
    return text


def rate_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each class, source and rate at the thresholds of the detector.

    Rates of leaning are among them if the detector is a bundle that has edges of leaning.
    """
    return [
        {
            "label": entry["label"],
            "dataset": entry.get("dataset", ""),
            "name": entry["name"],
            "rate": name,
            **{key: entry[name][key] for key in ("value", "low", "high", "samples", "groups")},
            "indicative": int(entry[name]["indicative"]),
        }
        for entry in metrics["operating_point"]
        for name in _RATES
        if name in entry
    ]


def sweep_table(result: Mapping[str, Any]) -> str:
    """Return the content of ``robustness.json`` as CSV: the unchanged media, then each level."""
    entries = [("none", "", result["baseline"])]
    entries += [
        (curve["name"], f"{entry['level']:g}", entry)
        for curve in result["degradations"]
        for entry in curve["levels"]
    ]
    return csv_text(
        [
            {
                "degradation": name,
                "level": level,
                **{
                    f"{figure}{suffix}": entry[figure][key]
                    for figure in SWEEP_FIGURES
                    for suffix, key in _COLUMNS
                },
                "worst_case_auc": entry["worst_case_auc"],
            }
            for name, level, entry in entries
        ]
    )


def latex(metrics: Mapping[str, Any]) -> str:
    """Return a LaTeX table of the figures of items and of the mean of frames.

    Each figure has its interval in brackets. The caption says what was not scored, and what each
    figure makes of it.
    """
    bundle, counts = metrics["bundle"], metrics["in_sample"]
    levels = [(LEVELS[level], metrics["levels"].get(level, [])) for level in ("item", "video")]
    entries = [entry for _, part in levels for entry in part]
    other = {e["against"] for e in entries if e.get("against", "") != e.get("dataset", "")}
    fitted = any_fitted(counts) or not counts["known"]
    return filled(
        "figures.tex",
        subject=f"{bundle['bundle']} {bundle['version']}".strip(),
        bundle=bundle,
        settings=metrics["settings"],
        levels=levels,
        shown={
            figure: heading
            for figure, heading in RANKED.items()
            if any(entry[figure]["value"] is not None for entry in entries)
        },
        against=sorted(other),
        no_interval=NO_INTERVAL,
        without_interval=any(
            e[f]["value"] is not None and e[f]["low"] is None for e in entries for f in RANKED
        ),
        in_sample=in_sample_sentence(counts) if fitted else "",
    )


def bibliography(names: Iterable[str]) -> str:
    """Return the BibTeX entries of published data sets, each once; empty if there is none.

    ``names`` are those of the command line. Data of one's own have no entry.
    """
    known = (DATASETS[name].citation for name in dict.fromkeys(names) if name in DATASETS)
    return "\n".join(filter(None, known))


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    # As objects: a column of whole numbers with a gap stays one.
    table = pd.DataFrame(list(rows), dtype=object)
    return table.to_csv(index=False, lineterminator="\n") if rows else ""
