"""``report.html``: one file that needs nothing from outside, in which every name is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from deepfake_models.files import atomic_write_text

STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --warn: #b45309; }
@media (prefers-color-scheme: dark) { :root { --warn: #fbbf24; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
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
"""The page may load nothing and run nothing, whatever a name in it says."""

CAPTIONS = {
    "roc": "ROC curves of items (pictures and videos) and of frames.",
    "scores": "Scores of items by class, and the thresholds between which nothing is decided.",
    "reliability": "Reliability: in a bin of score s, a share of s should be manipulated.",
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


def write_report(path: Path, metrics: Mapping[str, Any], plots: Mapping[str, str]) -> None:
    """Write the report of one run; ``plots`` are SVG texts by name."""
    atomic_write_text(path, render(metrics, plots))


def render(metrics: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    """The report as HTML text."""
    bundle, settings = metrics["bundle"], metrics["settings"]
    title = f"Evaluation of {bundle['bundle']} {bundle['version']}"
    sections = [
        f"<h1>{escape(title)}</h1>",
        facts_section(metrics),
        f'<p class="terms">Terms of the bundle: <strong>{escape(bundle["terms"])}</strong></p>',
        _headline(metrics),
        datasets_section(settings["datasets"]),
        "<h2>Figures</h2>" + _reading(metrics),
        _panels(metrics, "item", "Items: pictures and videos"),
        _panels(metrics, "frame", "Frames"),
        _operating_point(metrics),
        _coverage(metrics["coverage"]),
        _false_positives(metrics["false_positives"]),
        _plots(plots),
        _limits(),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(s for s in sections if s)
        + "\n</main>\n</body>\n</html>\n"
    )


def facts_section(metrics: Mapping[str, Any]) -> str:
    """What was measured, with what: bundle, split, frames, terms."""
    bundle, settings = metrics["bundle"], metrics["settings"]
    frames = settings["frames"]
    facts = {
        "Bundle": f"{bundle['bundle']} {bundle['version']}",
        "SHA-256": bundle["sha256"],
        "Split": settings["split"],
        "Frames": f"{frames} a video, evenly spread" if frames else "as the bundle samples",
        "Intervals": f"{settings['confidence']:.0%}, {settings['draws']} resamples of whole groups",
        "Written": metrics["created"],
    }
    pairs = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items())
    return f"<dl>{pairs}</dl>"


def _headline(metrics: Mapping[str, Any]) -> str:
    overall = metrics["levels"]["item"][0]
    if overall["auc"]["value"] is None:
        return '<p class="warn">Only one class was scored: no AUC can be stated.</p>'
    text = (
        f"Item AUC {_number(overall['auc'])} on {overall['real']['scored']} real and "
        f"{overall['fake']['scored']} manipulated media of {overall['groups']} groups."
    )
    if overall["indicative"]:
        text += " Fewer than ten groups stand behind a class: take this as indicative."
    return f"<p><strong>{escape(text)}</strong></p>"


def datasets_section(datasets: Sequence[Mapping[str, Any]]) -> str:
    """The material: counts by data set, what is absent, and the adapters' notes."""
    rows = []
    notes: list[str] = []
    for entry in datasets:
        chosen = ", ".join(f"{k}={v}" for k, v in entry["options"].items())
        name = ", ".join(entry["names"]) or entry["adapter"]
        rows.append(
            [
                cell(name, f"{entry['adapter']}{' ' + chosen if chosen else ''}"),
                *(str(entry[k]) for k in ("real", "fake", "groups", "missing")),
            ]
        )
        notes += entry["notes"]
    listing = table(("data set", "real", "manipulated", "groups", "listed, absent"), rows)
    listed = "".join(f"<li>{escape(n)}</li>" for n in notes)
    return "<h2>Material</h2>" + listing + (f"<ul>{listed}</ul>" if listed else "")


def _reading(metrics: Mapping[str, Any]) -> str:
    prior = metrics["bundle"]["prior"]
    return (
        "<p>Below each figure stands its interval. AUC, AP, EER, accuracy and ECE are those of "
        "scored media. In TPR at a fixed FPR a fake that was not scored counts as missed. "
        f"ECE is weighted to the prior of {prior:g} at which scores are stated. "
        "“Worst case” is the AUC if every fake that was not scored ranked lowest and every real "
        "that was not scored highest. † marks fewer than ten groups in a class. "
        "Frame figures and item figures are not comparable. An interval without width, such as "
        "that of a perfect AUC, says that no resample differed, not that the figure is certain.</p>"
    )


def _panels(metrics: Mapping[str, Any], level: str, title: str) -> str:
    rows = []
    for entry in metrics["levels"][level]:
        name = entry["name"]
        detail = entry["scope"]
        if entry["scope"] == "method":
            detail = f"{entry['dataset']}, against reals of {entry['against']}"
        elif entry["scope"] == "all":
            name, detail = "all", ""
        mark = "†" if entry["indicative"] else ""
        rows.append(
            [
                cell(name + mark, detail),
                *(
                    cell(
                        f"{entry[c]['scored']}",
                        f"{entry[c]['not_scored']} not" if entry[c]["not_scored"] else "",
                    )
                    for c in ("real", "fake")
                ),
                str(entry["groups"]),
                *(estimate_cell(entry[key]) for key, _ in COLUMNS),
                plain(entry["worst_case_auc"]),
            ]
        )
    header = ("", "real", "manip.", "groups", *(t for _, t in COLUMNS), "worst case AUC")
    return f"<h3>{escape(title)}</h3>" + table(header, rows)


def _operating_point(metrics: Mapping[str, Any]) -> str:
    limits = metrics["bundle"]["thresholds"]
    rows = []
    for entry in metrics["operating_point"]:
        label = "manipulated" if entry["label"] == "fake" else "real"
        name = f"all {label}" if entry["scope"] == "all" else entry["name"]
        rows.append(
            [
                cell(name, entry.get("dataset", "")),
                rate_cell(entry.get("true_positive_rate")),
                rate_cell(entry.get("false_positive_rate")),
                rate_cell(entry["cleared_rate"]),
            ]
        )
    stated = "; ".join(
        f"{kind}s from {limits[kind]['likely_manipulated']:+.2f} on (cleared below "
        f"{limits[kind]['no_manipulation_found']:+.2f})"
        for kind in ("video", "picture")
    )
    return (
        "<h2>At the bundle’s own thresholds</h2><p>likely_manipulated, as log10 likelihood ratio: "
        f"{escape(stated)}. TPR counts every fake: inconclusive, not judged and failed are missed. "
        "FPR counts scored reals alone.</p>"
        + table(("", "TPR", "FPR", "no_manipulation_found"), rows)
    )


def _coverage(coverage: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for entry in coverage:
        everything = entry["scope"] == "all"
        label = "manipulated" if entry["label"] == "fake" else "real"
        reasons = ", ".join(f"{k} {v}" for k, v in entry["reasons"].items())
        keys = ("media", "scored", "flagged", "cleared", "inconclusive", "not_judged", "failed")
        rows.append(
            [
                cell(f"all {label}" if everything else entry["name"], entry.get("dataset", "")),
                *(str(entry[k]) for k in keys),
                rate_cell(entry["decided_rate"]),
                escape(reasons),
            ]
        )
    header = (
        "", "media", "scored", "flagged", "cleared", "inconclusive", "not judged", "failed",
        "decided", "reasons",
    )  # fmt: skip
    return "<h2>Coverage</h2>" + table(header, rows)


def _false_positives(entries: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        [cell(f"{e['attribute']}: {e['value']}", ""), rate_cell(e["false_positive_rate"])]
        for e in entries
    ]
    if not rows:
        return ""
    return "<h2>False positives by attribute</h2>" + table(("", "FPR"), rows)


def _plots(plots: Mapping[str, str]) -> str:
    drawn = []
    for name, caption in CAPTIONS.items():
        if name in plots:
            text = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>", "", plots[name], flags=re.DOTALL)
            text = text.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)
            drawn.append(f"<figure>{text}<figcaption>{escape(caption)}</figcaption></figure>")
    return f'<h2>Plots</h2><div class="plots">{"".join(drawn)}</div>' if drawn else ""


def _limits() -> str:
    return (
        "<h2>What these figures do not say</h2><p>They hold for material like that above: its "
        "methods, people and compression. Media made by methods, or passed through platforms, that "
        "are not here may fare worse. A score is evidence, not proof, and says nothing on "
        "consent.</p>"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; ``header`` is text."""
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in header)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def cell(text: str, detail: str) -> str:
    """A cell's HTML: ``text`` and, small beneath it, ``detail``; both are escaped."""
    return escape(text) + (f"<small>{escape(detail)}</small>" if detail else "")


def _number(estimate: Mapping[str, Any]) -> str:
    value = f"{estimate['value']:.3f}"
    if estimate["low"] is None:
        return value
    return f"{value} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def estimate_cell(estimate: Mapping[str, Any]) -> str:
    """A figure with its interval beneath; a dash where there is none."""
    if estimate["value"] is None:
        return "–"
    low, high = estimate["low"], estimate["high"]
    interval = f"{low:.3f} to {high:.3f}" if low is not None else "no interval"
    return cell(f"{estimate['value']:.3f}", interval)


def rate_cell(estimate: Mapping[str, Any] | None) -> str:
    """A rate in per cent with its interval and groups beneath."""
    if estimate is None or estimate["value"] is None:
        return "–"
    mark = "†" if estimate["indicative"] else ""
    return cell(
        f"{estimate['value']:.1%}{mark}",
        f"{estimate['low']:.1%} to {estimate['high']:.1%}; {estimate['groups']} groups",
    )


def plain(value: float | None) -> str:
    """A figure to three decimals; a dash for none."""
    return "–" if value is None else f"{value:.3f}"
