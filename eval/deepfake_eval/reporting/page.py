"""Parts that the HTML reports share: the page, tables, figures, and the facts of a run.

A page is one file that loads nothing from outside. All names in it are escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from deepfake_eval.analysis.training_sources import in_sample_warnings

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


def page(subject: str, results: Mapping[str, Any], sections: Iterable[str]) -> str:
    """Return a whole HTML page about the bundle of ``results``; ``sections`` are HTML.

    The page begins with the title ("``subject`` of NAME VERSION"), the facts of the run and the
    terms of the bundle. Empty sections are left out.
    """
    bundle = results["bundle"]
    title = f"{subject} of {bundle['bundle']} {bundle['version']}".rstrip()
    body = [
        f"<h1>{escape(title)}</h1>",
        _facts(results),
        _terms(bundle["terms"]),
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


def _terms(terms: str) -> str:
    if not terms:
        return ""
    return f'<p class="terms">Terms of the bundle: <strong>{escape(terms)}</strong></p>'


def _facts(results: Mapping[str, Any]) -> str:
    """Return what was measured and how: bundle, split, frames, intervals, date."""
    bundle, settings = results["bundle"], results["settings"]
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
        "Created": results["created"],
    }
    pairs = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items())
    return f"<dl>{pairs}</dl>"


def datasets_section(datasets: Sequence[Mapping[str, Any]]) -> str:
    """Return the section on the media: counts by data set, absent media, and remarks.

    It begins with a warning for each data set that the bundle's weights were fitted on.
    """
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
                cell(name, detail),
                *(str(entry[k]) for k in ("real", "fake", "groups", "missing")),
            ]
        )
        notes += entry["notes"]
    listing = table(("data set", "real", "manipulated", "groups", "listed but absent"), rows)
    remarks = "".join(f"<li>{escape(n)}</li>" for n in notes)
    warnings = "".join(f'<p class="warn">{escape(w)}</p>' for w in in_sample_warnings(datasets))
    return "<h2>Media</h2>" + warnings + listing + (f"<ul>{remarks}</ul>" if remarks else "")


def figures(plots: Iterable[tuple[str, str, str]]) -> str:
    """Return figures from triples of SVG text, label for screen readers, and caption."""
    drawn = []
    for svg, label, caption in plots:
        text = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>", "", svg, flags=re.DOTALL)
        text = text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)
        drawn.append(f"<figure>{text}<figcaption>{escape(caption)}</figcaption></figure>")
    return f'<div class="plots">{"".join(drawn)}</div>' if drawn else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. The cells of ``rows`` are HTML, such as from ``cell``; ``header`` is text."""
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in header)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def cell(text: str, detail: str = "") -> str:
    """Return a cell with ``text`` and, in small print below it, ``detail``; both are escaped."""
    return escape(text) + (f"<small>{escape(detail)}</small>" if detail else "")


def estimate_cell(estimate: Mapping[str, Any]) -> str:
    """Return a cell with a figure and its interval, or a dash if there is no figure.

    A figure that says of itself that it is indicative is marked.
    """
    if estimate["value"] is None:
        return "–"
    mark = "†" if estimate.get("indicative") else ""
    low, high = estimate["low"], estimate["high"]
    interval = f"{low:.3f} to {high:.3f}" if low is not None else "no interval"
    return cell(f"{estimate['value']:.3f}{mark}", interval)


def rate_cell(estimate: Mapping[str, Any] | None) -> str:
    """Return a cell with a rate in per cent, its interval and its number of groups, or a dash."""
    if estimate is None or estimate["value"] is None:
        return "–"
    mark = "†" if estimate["indicative"] else ""
    return cell(
        f"{estimate['value']:.1%}{mark}",
        f"{estimate['low']:.1%} to {estimate['high']:.1%}; {estimate['groups']} groups",
    )


def number_cell(value: float | None) -> str:
    """Return a cell with a number to three decimals, or a dash for ``None``."""
    return "–" if value is None else f"{value:.3f}"
