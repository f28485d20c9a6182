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

from deepfake_eval.analysis.metrics import FIGURES, TITLES
from deepfake_eval.analysis.plots import figures, write_plots
from deepfake_eval.analysis.summary import LEVELS, headline
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
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .3rem 0; }
th, td { padding: .3rem .45rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 9rem;
  overflow-wrap: break-word; }
thead th { border-bottom-width: 2px; white-space: normal; } small { opacity: .8; display: block; }
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
    "roc": "ROC curves of items (pictures and videos), and of frames if there are any.",
    "scores": "Distribution of item scores by class. Nothing is decided between thresholds.",
    "reliability": "Reliability diagram: of the media with a score s, a share s is manipulated if "
    "the scores are calibrated.",
}

LIMITS = (
    "<h2>What these figures do not show</h2><p>They hold for media like those above: the same "
    "methods, people and compression. Media made by other methods, or recompressed by other "
    "platforms, may be judged less reliably. A score is evidence, not proof, and it says nothing "
    "about consent.</p>"
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
    plots = write_plots(figures(predictions, metrics), out / PLOTS)
    atomic_write_text(out / REPORT, render(metrics, plots))


def render(metrics: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    """Return the report of one run as HTML.

    ``metrics`` is the content of ``metrics.json``; ``plots`` are SVG texts by name.
    """
    return _page(
        metrics,
        [
            _stated(metrics["settings"].get("stated", ())),
            _headline(metrics),
            _plots(plots),
            "<h2>Figures</h2>" + _explanation(metrics["bundle"]),
            *(_panels(metrics, level, title) for level, title in LEVELS.items()),
            _datasets_section(metrics),
            _operating_point(metrics),
            _coverage(metrics["coverage"]),
            LIMITS,
        ],
    )


def _stated(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<p>The bundle states of itself:</p><ul>{items}</ul><h2>Here</h2>" if items else ""


def _headline(metrics: Mapping[str, Any]) -> str:
    first, *more = headline(metrics)
    return f"<p><strong>{escape(first)}</strong></p>" + "".join(
        f"<p>{escape(line)}</p>" for line in [*more, *metrics["settings"].get("notes", ())]
    )


def _explanation(bundle: Mapping[str, Any]) -> str:
    return (
        "<p>The interval is given below each figure. AUC, AP, EER, accuracy and ECE leave out "
        "media that were not scored; “worst case” is the AUC if every such fake ranked lowest and "
        "every such real highest. In TPR at an FPR (TPR@5%), a fake that was not scored counts as "
        "missed; it is left out (–) where one real is more than that rate: below 20, 100 and 1,000 "
        "reals. In the mean of frames nothing is left out, and a video without a scored frame "
        f"counts as chance. ECE is weighted to a prior of {bundle['prior']:g}, at which the scores "
        f"are calibrated. † marks fewer than {bundle['min_groups']} groups in a class. Do not "
        "compare figures of different levels. If an interval has no width, as for a perfect AUC, "
        "all resamples gave the same value; the figure is still uncertain.</p>"
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
                _estimate_cell(entry["auc"]),
                "–" if entry["worst_case_auc"] is None else f"{entry['worst_case_auc']:.3f}",
                *(_estimate_cell(entry[figure]) for figure in FIGURES[1:]),
            ]
        )
    header = ("", "real", "manip.", "groups", "AUC", "worst case", *[*TITLES.values()][1:])
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


def _datasets_section(metrics: Mapping[str, Any]) -> str:
    rows = []
    notes: list[str] = []
    for entry in metrics["settings"]["datasets"]:
        chosen = ", ".join(f"{k}={v}" for k, v in entry["options"].items())
        name = ", ".join(entry["names"]) or entry["adapter"]
        counts = (str(entry[k]) for k in ("real", "fake", "groups", "missing"))
        rows.append([_cell(name, f"{entry['adapter']} {chosen}".rstrip()), *counts])
        notes += entry["notes"]
    listing = _table(("data set", "real", "manipulated", "groups", "listed but absent"), rows)
    remarks = "".join(f"<li>{escape(n)}</li>" for n in notes)
    in_sample = [
        [_cell(entry["dataset"]), *(str(entry[k]) for k in ("media", "same_file", "same_picture"))]
        for entry in metrics["in_sample"]["datasets"]
    ]
    if in_sample:
        header = ("data set", "media", "the same file", "begins with the same picture")
        listing += "<h3>Fitted on</h3>" + _table(header, in_sample)
    return "<h2>Media</h2>" + listing + (f"<ul>{remarks}</ul>" if remarks else "")


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
    interval = f"{low:.3f}–{high:.3f}" if low is not None else "no interval"
    return _cell(f"{estimate['value']:.3f}", interval)


def _rate_cell(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate["value"] is None:
        return "–"
    mark = "†" if estimate["indicative"] else ""
    return _cell(
        f"{estimate['value']:.1%}{mark}",
        f"{estimate['low']:.1%} to {estimate['high']:.1%}; {estimate['groups']} groups",
    )
