"""``report.html`` of ``deepfake-eval robustness``."""

from __future__ import annotations

from collections.abc import Mapping
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

HEADER = (
    "", "AUC", "change", "worst case AUC", "FPR", "TPR", "scored", "real: decided",
    "manip.: decided", "not judged or failed",
)  # fmt: skip


def write_robustness_report(
    path: Path, result: Mapping[str, Any], plots: Mapping[str, str]
) -> None:
    """Write the report of one sweep; ``plots`` are SVG texts by degradation."""
    atomic_write_text(path, render_robustness(result, plots))


def render_robustness(result: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    """Return the report of one sweep as HTML; ``result`` is the content of ``robustness.json``."""
    settings = result["settings"]
    drawn = f"{result['media']} media"
    if settings["limit"] is not None:
        drawn += f", drawn with seed {settings['seed']}"
    return page(
        "Robustness",
        result,
        [
            datasets_section(settings["datasets"]),
            f"<p>Scored unchanged and at every level: {escape(drawn)}.</p>",
            "<h2>Figures</h2>"
            + _explanation(result["bundle"]["min_groups"], settings["clip_frames"]),
            *(_section(curve, result["baseline"], plots) for curve in result["degradations"]),
        ],
    )


def _explanation(min_groups: int, clip_frames: int) -> str:
    return (
        "<p>An item is a picture or a video. Degradations apply to whole frames, before face "
        "detection. AUC covers scored items. “Change” covers items that were scored both unchanged "
        "and degraded, with the same groups resampled in both. “Worst case” counts every "
        "abstention against the bundle. FPR (of scored reals) and TPR (of all fakes) are at the "
        f"threshold of the bundle. † marks fewer than {min_groups} groups in a class. For H.264, "
        f"each frame of a video is encoded together with the {clip_frames - 1} frames around it, "
        "and a picture alone. The videos were already compressed once before.</p>"
    )


def _section(
    curve: Mapping[str, Any], baseline: Mapping[str, Any], plots: Mapping[str, str]
) -> str:
    rows = [_row("unchanged", baseline)]
    rows += [
        _row(f"{entry['level']:g}", entry)
        for entry in curve["levels"]
        if entry["level"] != curve["identity"]
    ]
    heading = f"{curve['title']}: {curve['unit']}"
    caption = f"AUC and rates by {curve['unit']}, from mild to harsh, with 95% intervals."
    plot = [(plots[curve["name"]], heading, caption)] if curve["name"] in plots else []
    return f"<h3>{escape(heading)}</h3>" + figures(plot) + table(HEADER, rows)


def _row(name: str, entry: Mapping[str, Any]) -> list[str]:
    coverage = entry["coverage"]
    lost = sum(coverage[c][k] for c in ("real", "fake") for k in ("not_judged", "failed"))
    counts: dict[str, int] = {}
    for label in ("real", "fake"):
        for reason, count in coverage[label]["reasons"].items():
            counts[reason] = counts.get(reason, 0) + count
    reasons = ", ".join(f"{k} {v}" for k, v in sorted(counts.items(), key=lambda r: -r[1]))
    return [
        cell(name),
        estimate_cell(entry["auc"]),
        estimate_cell(entry["auc_change"]),
        number_cell(entry["worst_case_auc"]),
        rate_cell(entry["false_positive_rate"]),
        rate_cell(entry["true_positive_rate"]),
        rate_cell(entry["scored_rate"]),
        *(rate_cell(coverage[label]["decided_rate"]) for label in ("real", "fake")),
        cell(str(lost), reasons),
    ]
