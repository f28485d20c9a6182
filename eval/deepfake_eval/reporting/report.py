"""``report.html`` of ``deepfake-eval run``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from deepfake_eval.reporting.page import (
    cell,
    datasets_section,
    estimate_cell,
    figures,
    number_cell,
    page,
    rate_cell,
    table,
)
from deepfake_models.machine import atomic_write_text

CAPTIONS = {
    "roc": "ROC curves of items (pictures and videos) and of frames.",
    "scores": "Distribution of item scores by class. Between the thresholds nothing is decided.",
    "reliability": "Reliability diagram: of the media with a score s, a share s is manipulated if "
    "the scores are calibrated.",
    "methods": "AUC of items by manipulation method.",
}

COLUMNS = (
    ("auc", "AUC"),
    ("average_precision", "AP"),
    ("eer", "EER"),
    ("accuracy", "accuracy at 0.5"),
    ("tpr_at_1_fpr", "TPR at 1% FPR"),
    ("tpr_at_5_fpr", "TPR at 5% FPR"),
    ("ece", "ECE"),
)


LEANINGS = {
    "towards_manipulated_rate": "towards manipulated",
    "towards_untouched_rate": "towards untouched",
}
"""Rates of leaning by their key in ``metrics.json``, and their headings."""


def write_report(path: Path, metrics: Mapping[str, Any], plots: Mapping[str, str]) -> None:
    """Write the report of one run; ``plots`` are SVG texts by name."""
    atomic_write_text(path, render(metrics, plots))


def render(metrics: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    """Return the report of one run as HTML; ``metrics`` is the content of ``metrics.json``."""
    return page(
        "Evaluation",
        metrics,
        [
            _headline(metrics),
            datasets_section(metrics["settings"]["datasets"]),
            _plots(plots),
            "<h2>Figures</h2>" + _explanation(metrics["bundle"]),
            _panels(metrics, "item", "Items: pictures and videos"),
            _panels(metrics, "frame", "Frames"),
            _operating_point(metrics),
            _coverage(metrics["coverage"]),
            _false_positives(metrics["false_positives"]),
            _limits(),
        ],
    )


def _headline(metrics: Mapping[str, Any]) -> str:
    overall = metrics["levels"]["item"][0]
    auc = overall["auc"]
    if auc["value"] is None:
        scored = overall["real"]["scored"] + overall["fake"]["scored"]
        subject = "Only one class" if scored else "No medium"
        return f'<p class="warn">{subject} was scored, so there is no AUC.</p>'
    interval = "" if auc["low"] is None else f" ({auc['low']:.3f} to {auc['high']:.3f})"
    text = (
        f"Item AUC {auc['value']:.3f}{interval} on {overall['real']['scored']} real and "
        f"{overall['fake']['scored']} manipulated media from {overall['groups']} groups."
    )
    if any(entry.get("in_sample") for entry in metrics["settings"]["datasets"]):
        text += " In-sample: the weights were fitted on a data set that is measured here."
    if overall["indicative"]:
        text += (
            f" At least one class has fewer than {metrics['bundle']['min_groups']} groups: the "
            "figure is only indicative."
        )
    return f"<p><strong>{escape(text)}</strong></p>"


def _explanation(bundle: Mapping[str, Any]) -> str:
    return (
        "<p>The interval is given below each figure. AUC, AP, EER, accuracy and ECE cover scored "
        "media only. In TPR at a fixed FPR, a fake that was not scored counts as missed. ECE is "
        f"weighted to a prior of {bundle['prior']:g}, at which the scores are calibrated. “Worst "
        "case” is the AUC if every fake that was not scored ranked lowest and every real that was "
        f"not scored ranked highest. † marks fewer than {bundle['min_groups']} groups in a class. "
        "Do not compare frame figures with item figures. If an interval has no width, as for a "
        "perfect AUC, all resamples gave the same value; the figure is still uncertain.</p>"
    )


def _panels(metrics: Mapping[str, Any], level: str, title: str) -> str:
    rows: list[list[str]] = []
    if not metrics["levels"][level]:
        return ""
    for entry in metrics["levels"][level]:
        name = entry["name"]
        detail = entry["scope"]
        if entry["scope"] == "method":
            detail = f"{entry['dataset']}, against reals of {entry['against']}"
        elif entry["scope"] == "all":
            name, detail = "all", ""
        mark = "†" if entry["indicative"] else ""
        counts = [
            cell(str(count["scored"]), f"+ {count['not_scored']} not scored")
            if count["not_scored"]
            else cell(str(count["scored"]))
            for count in (entry["real"], entry["fake"])
        ]
        rows.append(
            [
                cell(name + mark, detail),
                *counts,
                str(entry["groups"]),
                *(estimate_cell(entry[key]) for key, _ in COLUMNS),
                number_cell(entry["worst_case_auc"]),
            ]
        )
    header = ("", "real", "manip.", "groups", *(t for _, t in COLUMNS), "worst case AUC")
    return f"<h3>{escape(title)}</h3>" + table(header, rows)


def _operating_point(metrics: Mapping[str, Any]) -> str:
    thresholds = metrics["bundle"]["thresholds"]
    if not thresholds:
        return ""
    entries = metrics["operating_point"]
    header = ["", "TPR", "FPR", "no_manipulation_found"]
    leanings = [k for k in LEANINGS if any(k in entry for entry in entries)]
    rows = [
        [
            cell(_source_name(entry), entry.get("dataset", "")),
            rate_cell(entry.get("true_positive_rate")),
            rate_cell(entry.get("false_positive_rate")),
            rate_cell(entry["cleared_rate"]),
            *(rate_cell(entry.get(k)) for k in leanings),
        ]
        for entry in entries
    ]
    return (
        "<h2>At the thresholds</h2>"
        + _limits_table(thresholds)
        + "<p>TPR counts every fake: those that are inconclusive, not judged or failed are missed. "
        "FPR counts scored reals only. The columns on leaning include what is decided that way; a "
        "leaning ranks what to review first and proves nothing.</p>"
        + table([*header, *(LEANINGS[k] for k in leanings)], rows)
    )


def _limits_table(thresholds: Mapping[str, Any]) -> str:
    """Return the thresholds of pictures and videos, and the edges and rates of their leanings."""
    names: dict[str, list[str]] = {}
    for kind, limits in thresholds.items():
        leaning = limits.get("leaning") or {}
        for name, value in {**limits, **{f"leaning: {k}": v for k, v in leaning.items()}}.items():
            if isinstance(value, float):
                names.setdefault(name, []).append(f"{value:.3f} ({kind})")
    return table(
        ("threshold", "log10 likelihood ratio, score or rate"),
        [[cell(name.replace("_", " ")), cell(", ".join(values))] for name, values in names.items()],
    )


def _source_name(entry: Mapping[str, Any]) -> str:
    label = "manipulated" if entry["label"] == "fake" else "real"
    return f"all {label}" if entry["scope"] == "all" else str(entry["name"])


def _coverage(coverage: Sequence[Mapping[str, Any]]) -> str:
    if not coverage:
        return ""
    counts = ("media", "scored", "flagged", "cleared", "inconclusive", "not_judged", "failed")
    rows = [
        [
            cell(_source_name(entry), entry.get("dataset", "")),
            *(str(entry[key]) for key in counts),
            rate_cell(entry["decided_rate"]),
            escape(", ".join(f"{k} {v}" for k, v in entry["reasons"].items())),
        ]
        for entry in coverage
    ]
    header = ("", *(name.replace("_", " ") for name in counts), "decided", "reasons")
    return "<h2>Coverage</h2>" + table(header, rows)


def _false_positives(entries: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        [cell(f"{e['attribute']}: {e['value']}"), rate_cell(e["false_positive_rate"])]
        for e in entries
    ]
    return "<h2>False positives by attribute</h2>" + table(("", "FPR"), rows) if rows else ""


def _plots(plots: Mapping[str, str]) -> str:
    drawn = figures((plots[name], text, text) for name, text in CAPTIONS.items() if name in plots)
    return f"<h2>Plots</h2>{drawn}" if drawn else ""


def _limits() -> str:
    return (
        "<h2>What these figures do not show</h2><p>They hold for media like those above: the same "
        "methods, people and compression. Media made by other methods, or recompressed by other "
        "platforms, may be judged less reliably. A score is evidence, not proof, and it says "
        "nothing about consent.</p>"
    )
