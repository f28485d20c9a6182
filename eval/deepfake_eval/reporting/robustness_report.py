"""The page of a robustness sweep: one file that needs nothing from outside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from deepfake_eval.reporting.report import (
    POLICY,
    STYLE,
    cell,
    datasets_section,
    estimate_cell,
    facts_section,
    plain,
    rate_cell,
    table,
)
from deepfake_models.files import atomic_write_text

HEADER = (
    "", "AUC", "change", "worst case AUC", "FPR", "TPR", "scored", "real: decided",
    "manip.: decided", "not judged or failed",
)  # fmt: skip


def write_robustness_report(
    path: Path, result: Mapping[str, Any], plots: Mapping[str, str]
) -> None:
    """Write the page of one sweep; ``plots`` are SVG texts by degradation."""
    atomic_write_text(path, render_robustness(result, plots))


def render_robustness(result: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    """The page as HTML text."""
    bundle, settings = result["bundle"], result["settings"]
    title = f"Robustness of {bundle['bundle']} {bundle['version']}"
    drawn = f"{result['media']} media"
    if settings["limit"] is not None:
        drawn += f", drawn with seed {settings['seed']}"
    sections = [
        f"<h1>{escape(title)}</h1>",
        facts_section(result),
        f'<p class="terms">Terms of the bundle: <strong>{escape(bundle["terms"])}</strong></p>',
        datasets_section(settings["datasets"]),
        f"<p>Scored as they are and at every level: {escape(drawn)}.</p>",
        "<h2>Figures</h2>" + _reading(settings["clip_frames"]),
        *(_section(curve, result["baseline"], plots) for curve in result["degradations"]),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _reading(clip_frames: int) -> str:
    return (
        "<p>Items: pictures and videos. A degradation is applied to whole frames before faces are "
        "sought. AUC is that of scored items; “change” is that of items scored both as they are "
        "and degraded, with groups resampled together; “worst case” counts every abstention "
        "against the bundle. FPR (of scored reals) and TPR (of all fakes) are at the bundle’s own "
        "threshold. † marks fewer than ten groups in a class. Before H.264 a video’s frames have "
        f"been compressed once already; each is encoded again with the {clip_frames - 1} around "
        "it, a picture alone.</p>"
    )


def _section(
    curve: Mapping[str, Any], baseline: Mapping[str, Any], plots: Mapping[str, str]
) -> str:
    rows = [_row("as it is", baseline)]
    rows += [
        _row(f"{entry['level']:g}", entry)
        for entry in curve["levels"]
        if entry["level"] != curve["identity"]
    ]
    heading = f"{curve['title']}: {curve['unit']}"
    figure = ""
    if curve["name"] in plots:
        text = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>", "", plots[curve["name"]], flags=re.DOTALL)
        text = text.replace("<svg ", f'<svg role="img" aria-label="{escape(heading)}" ', 1)
        caption = escape(f"AUC and rates by {curve['unit']}, mild to harsh; bands: 95%.")
        figure = (
            f'<div class="plots"><figure>{text}<figcaption>{caption}</figcaption></figure></div>'
        )
    return f"<h3>{escape(heading)}</h3>" + figure + table(HEADER, rows)


def _row(name: str, entry: Mapping[str, Any]) -> list[str]:
    coverage = entry["coverage"]
    lost = sum(coverage[c][k] for c in ("real", "fake") for k in ("not_judged", "failed"))
    reasons: dict[str, int] = {}
    for label in ("real", "fake"):
        for reason, count in coverage[label]["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + count
    stated = ", ".join(f"{k} {v}" for k, v in sorted(reasons.items(), key=lambda r: -r[1]))
    mark = "†" if entry["auc"]["indicative"] else ""
    return [
        cell(name + mark, ""),
        estimate_cell(entry["auc"]),
        estimate_cell(entry["auc_change"]),
        plain(entry["worst_case_auc"]),
        rate_cell(entry["false_positive_rate"]),
        rate_cell(entry["true_positive_rate"]),
        rate_cell(entry["scored_rate"]),
        *(rate_cell(coverage[label]["decided_rate"]) for label in ("real", "fake")),
        cell(str(lost), stated),
    ]
