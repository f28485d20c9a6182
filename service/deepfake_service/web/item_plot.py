"""The plot of a video's faces over time: log10 likelihood ratio, with the thresholds as lines.

Horizontal positions are percentages and the text has a size of its own, so that the plot can be
read at any width without being scaled. Colours come from the style sheet.
"""

from __future__ import annotations

import math
from typing import Any
from xml.sax.saxutils import escape

from deepfake_service.documents.i18n import Words

HEIGHT, TOP, BOTTOM = 240.0, 14.0, 40.0
LEFT, SPAN = 5.0, 92.0
"""Where time begins, and how much of the width it takes, in per cent."""
COLOURS = 6
"""Colours of people in the style sheet; further people have them again."""
TICKS = 4


def log10_ratio(document: dict[str, Any], face: dict[str, Any]) -> float | None:
    """Return the calibrated log10 likelihood ratio of a face, or ``None`` if it has no value."""
    if face["logit"] is None:
        return None
    calibration = document["method"]["calibration"]["face"]
    ratio = calibration["slope"] * face["logit"] + calibration["intercept"]
    limit: float = calibration["limit"]
    return float(min(max(ratio / math.log(10), -limit), limit))


def moments_plot(document: dict[str, Any], words: Words) -> str:
    """Draw the faces of a video as an SVG. Each point has its time, value, person and box."""
    result, levels = document["result"], document["method"]["thresholds"]["face"]
    lines = {
        "high": levels["likely_manipulated"],
        "low": levels["no_manipulation_found"],
    }
    points = [
        (face, ratio)
        for face in document["exact"]["faces"]
        if (ratio := log10_ratio(document, face)) is not None
    ]
    most: float = max([abs(r) for _, r in points] + [abs(v) for v in lines.values()] + [1.0]) * 1.1
    examined = document["examined_s"]
    duration: float = max(result["media"].get("duration_s") or 0.0, *examined, 0.001)

    def x(at: float) -> str:
        return f"{LEFT + SPAN * min(max(at / duration, 0.0), 1.0):.2f}%"

    def y(ratio: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (most - ratio) / (2 * most), 1)

    parts = [
        f'<svg class="plot" width="100%" height="{HEIGHT:g}" role="img">'
        f"<title>{escape(words('people_label'))}</title>"
    ]
    for track in result["tracks"]:
        for moment in track["moments"]:
            width = SPAN * (moment["end_s"] - moment["start_s"]) / duration
            parts.append(
                f'<rect class="moment" x="{x(moment["start_s"])}" width="{max(width, 0.6):.2f}%" '
                f'y="{TOP:g}" height="{HEIGHT - TOP - BOTTOM:g}"/>'
            )
    for value in sorted({0.0, *(float(n) for n in range(-int(most), int(most) + 1))}):
        parts.append(
            f'<line class="grid" x1="{LEFT}%" x2="{LEFT + SPAN}%" y1="{y(value)}" y2="{y(value)}"/>'
            f'<text class="tick" x="2" y="{y(value) + 4}">{_tick(value)}</text>'
        )
    for name, value in lines.items():
        parts.append(
            f'<line class="cut {name}" x1="{LEFT}%" x2="{LEFT + SPAN}%" y1="{y(value)}" '
            f'y2="{y(value)}"/><text class="cut {name}" x="{LEFT + SPAN}%" y="{y(value) - 4}" '
            f'text-anchor="end">{value:+.2f}</text>'
        )
    parts.extend(
        f'<line class="seen" x1="{x(t)}" x2="{x(t)}" y1="{HEIGHT - BOTTOM + 4:g}" '
        f'y2="{HEIGHT - BOTTOM + 10:g}"/>'
        for t in examined
    )
    for step in range(TICKS + 1):
        at = duration * step / TICKS
        anchor = "start" if step == 0 else "end" if step == TICKS else "middle"
        parts.append(
            f'<text class="tick" x="{x(at)}" y="{HEIGHT - 12:g}" text-anchor="{anchor}">'
            f"{_clock(at)}</text>"
        )
    for face, ratio in sorted(points, key=lambda point: point[0]["time_s"]):
        box = ",".join(f"{v:.0f}" for v in face["box"])
        parts.append(
            f'<circle class="p{face["track"] % COLOURS}" cx="{x(face["time_s"])}" '
            f'cy="{y(ratio)}" r="4" data-t="{face["time_s"]:.3f}" data-v="{ratio:+.2f}" '
            f'data-p="{face["track"] + 1}" data-b="{box}"/>'
        )
    parts.append("</svg>")
    return "".join(parts)


def _tick(value: float) -> str:
    return f"{value:+.0f}" if value else "0"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60.0)
    return f"{int(minutes)}:{rest:04.1f}"
