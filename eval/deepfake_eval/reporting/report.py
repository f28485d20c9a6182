"""The results folder of a run, and its ``report.html``: one file that loads nothing from outside.

All names in the report are escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_eval.analysis.plots import write_plots
from deepfake_eval.analysis.training_sources import in_sample_warnings
from deepfake_eval.reporting.tables import write_tables
from deepfake_models.machine import atomic_write_text

PREDICTIONS = "predictions.parquet"
METRICS = "metrics.json"
MISSING = "missing.txt"
REPORT = "report.html"
PLOTS = "plots"
TABLES = "tables"

STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --warn: #b45309; }
@media (prefers-color-scheme: dark) { :root { --warn: #fbbf24; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; }
p { max-width: 46rem; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .3rem 0; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 11rem;
  overflow-wrap: break-word; }
thead th { border-bottom-width: 2px; } small { opacity: .8; display: block; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; }
dt { opacity: .8; } dd { margin: 0; overflow-wrap: anywhere; }
.terms, .warn { border-left: 4px solid var(--warn); background: var(--soft);
  padding: .5rem .9rem; margin: .8rem 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr));
  gap: 1.5rem; } figure { margin: 0; } figure svg { width: 100%; height: auto; }
figcaption { font-size: .9rem; }
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Content Security Policy: the page may load and run nothing, whatever a name in it contains."""

CAPTIONS = {
    "roc": "ROC curves of items (pictures and videos) and of frames.",
    "scores": "Distribution of item scores by class. Between the thresholds nothing is decided.",
    "reliability": "Reliability diagram: of the media with a score s, a share s is manipulated if "
    "the scores are calibrated.",
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


def render(metrics: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    """Return the report of one run as HTML.

    ``metrics`` is the content of ``metrics.json``; ``plots`` are SVG texts by name.
    """
    return _page(
        metrics,
        [
            _headline(metrics),
            _datasets_section(metrics["settings"]["datasets"]),
            _plots(plots),
            "<h2>Figures</h2>" + _explanation(metrics["bundle"]),
            _panels(metrics, "item", "Items: pictures and videos"),
            _panels(metrics, "frame", "Frames"),
            _operating_point(metrics),
            _coverage(metrics["coverage"]),
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
            _cell(str(count["scored"]), f"+ {count['not_scored']} not scored")
            if count["not_scored"]
            else _cell(str(count["scored"]))
            for count in (entry["real"], entry["fake"])
        ]
        rows.append(
            [
                _cell(name + mark, detail),
                *counts,
                str(entry["groups"]),
                *(_estimate_cell(entry[key]) for key, _ in COLUMNS),
                _number_cell(entry["worst_case_auc"]),
            ]
        )
    header = ("", "real", "manip.", "groups", *(t for _, t in COLUMNS), "worst case AUC")
    return f"<h3>{escape(title)}</h3>" + _table(header, rows)


def _operating_point(metrics: Mapping[str, Any]) -> str:
    thresholds = metrics["bundle"]["thresholds"]
    if not thresholds:
        return ""
    entries = metrics["operating_point"]
    header = ["", "TPR", "FPR", "no_manipulation_found"]
    leanings = [k for k in LEANINGS if any(k in entry for entry in entries)]
    rows = [
        [
            _cell(_source_name(entry), entry.get("dataset", "")),
            _rate_cell(entry.get("true_positive_rate")),
            _rate_cell(entry.get("false_positive_rate")),
            _rate_cell(entry["cleared_rate"]),
            *(_rate_cell(entry.get(k)) for k in leanings),
        ]
        for entry in entries
    ]
    return (
        "<h2>At the thresholds</h2>"
        + _limits_table(thresholds)
        + "<p>TPR counts every fake: those that are inconclusive, not judged or failed are missed. "
        "FPR counts scored reals only. The columns on leaning include what is decided that way; a "
        "leaning ranks what to review first and proves nothing.</p>"
        + _table([*header, *(LEANINGS[k] for k in leanings)], rows)
    )


def _limits_table(thresholds: Mapping[str, Any]) -> str:
    names: dict[str, list[str]] = {}
    for kind, limits in thresholds.items():
        leaning = limits.get("leaning") or {}
        for name, value in {**limits, **{f"leaning: {k}": v for k, v in leaning.items()}}.items():
            if isinstance(value, float):
                names.setdefault(name, []).append(f"{value:.3f} ({kind})")
    return _table(
        ("threshold", "log10 likelihood ratio, score or rate"),
        [
            [_cell(name.replace("_", " ")), _cell(", ".join(values))]
            for name, values in names.items()
        ],
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
            _cell(_source_name(entry), entry.get("dataset", "")),
            *(str(entry[key]) for key in counts),
            _rate_cell(entry["decided_rate"]),
            escape(", ".join(f"{k} {v}" for k, v in entry["reasons"].items())),
        ]
        for entry in coverage
    ]
    header = ("", *(name.replace("_", " ") for name in counts), "decided", "reasons")
    return "<h2>Coverage</h2>" + _table(header, rows)


def _plots(plots: Mapping[str, str]) -> str:
    drawn = []
    for name, caption in CAPTIONS.items():
        if name in plots:
            svg = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>", "", plots[name], flags=re.DOTALL)
            label = f'<svg role="img" aria-label="{escape(caption)}" '
            svg = svg.replace("<svg ", label, 1)
            drawn.append(f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>")
    return f'<h2>Plots</h2><div class="plots">{"".join(drawn)}</div>' if drawn else ""


def _limits() -> str:
    return (
        "<h2>What these figures do not show</h2><p>They hold for media like those above: the same "
        "methods, people and compression. Media made by other methods, or recompressed by other "
        "platforms, may be judged less reliably. A score is evidence, not proof, and it says "
        "nothing about consent.</p>"
    )


def _page(metrics: Mapping[str, Any], sections: Iterable[str]) -> str:
    """Return a whole HTML page: the title, the facts of the run, the terms of the bundle, and
    ``sections``, which are HTML. Empty sections are left out."""
    bundle, terms = metrics["bundle"], metrics["bundle"]["terms"]
    title = f"Evaluation of {bundle['bundle']} {bundle['version']}".rstrip()
    body = [
        f"<h1>{escape(title)}</h1>",
        _facts(metrics),
        f'<p class="terms">Terms of the bundle: <strong>{escape(terms)}</strong></p>'
        if terms
        else "",
        *(section for section in sections if section),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _facts(metrics: Mapping[str, Any]) -> str:
    bundle, settings = metrics["bundle"], metrics["settings"]
    frames = settings["frames"]
    is_bundle = bool(bundle["version"])
    facts = {
        "Bundle" if is_bundle else "Detector": f"{bundle['bundle']} {bundle['version']}".rstrip(),
        "SHA-256" if is_bundle else "SHA-256 of the scores": bundle["sha256"],
        "Split": settings["split"],
        "Frames": f"{frames} per video, evenly spread"
        if frames
        else ("as the bundle samples" if is_bundle else "as the detector chose"),
        "Intervals": f"{settings['confidence']:.0%}, {settings['draws']} resamples of whole "
        "groups, and for rates exact binomial ones with a design effect",
        "Created": metrics["created"],
    }
    pairs = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items())
    return f"<dl>{pairs}</dl>"


def _datasets_section(datasets: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    notes: list[str] = []
    for entry in datasets:
        chosen = ", ".join(f"{k}={v}" for k, v in entry["options"].items())
        name = ", ".join(entry["names"]) or entry["adapter"]
        detail = f"{entry['adapter']}{' ' + chosen if chosen else ''}"
        if entry.get("in_sample"):
            detail += "; in-sample"
        rows.append(
            [
                _cell(name, detail),
                *(str(entry[k]) for k in ("real", "fake", "groups", "missing")),
            ]
        )
        notes += entry["notes"]
    listing = _table(("data set", "real", "manipulated", "groups", "listed but absent"), rows)
    remarks = "".join(f"<li>{escape(n)}</li>" for n in notes)
    warnings = "".join(f'<p class="warn">{escape(w)}</p>' for w in in_sample_warnings(datasets))
    return "<h2>Media</h2>" + warnings + listing + (f"<ul>{remarks}</ul>" if remarks else "")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in header)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(text: str, detail: str = "") -> str:
    """Return a cell with ``text`` and, in small print below it, ``detail``; both are escaped."""
    return escape(text) + (f"<small>{escape(detail)}</small>" if detail else "")


def _estimate_cell(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "–"
    low, high = estimate["low"], estimate["high"]
    interval = f"{low:.3f} to {high:.3f}" if low is not None else "no interval"
    return _cell(f"{estimate['value']:.3f}", interval)


def _rate_cell(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate["value"] is None:
        return "–"
    mark = "†" if estimate["indicative"] else ""
    return _cell(
        f"{estimate['value']:.1%}{mark}",
        f"{estimate['low']:.1%} to {estimate['high']:.1%}; {estimate['groups']} groups",
    )


def _number_cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
