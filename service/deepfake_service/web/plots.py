"""Plots of the console: measured error rates, and the faces of a video over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from deepfake_service.platform.texts.i18n import Words
from deepfake_service.platform.texts.svg import FONT, INK, Picture, along

SERIES = (("false_positive_rate", "#1d4ed8", -7.0), ("true_positive_rate", "#c2410c", 7.0))
COLOURS = 6
"""Colours of people in the style sheet; further people have them again."""


def rates_by_width(
    bins: Sequence[dict[str, Any]], words: dict[str, str], *, min_groups: int
) -> str:
    """Draw false and true positive rates by face width, with 95% intervals, as an SVG.

    Points based on fewer than ``min_groups`` groups are hollow. ``words`` holds the labels ``fpr``,
    ``tpr`` and ``rates``.
    """
    width, height, left, right, top, bottom = 640.0, 260.0, 48.0, 12.0, 28.0, 44.0
    y = along(height - bottom, top + bottom - height, 1.0)
    box = f"0 0 {width:g} {height:g}"
    picture = Picture(words["rates"], viewBox=box, **FONT)
    picture.rect(0, 0, width, height, fill="#ffffff")
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = y(tick)
        picture.line((left, width - right), (at, at), stroke="#e2e8f0")
        picture.text(left - 6, at + 4, f"{tick:.0%}", text_anchor="end", fill="#475569")
    for at, label, (_, colour, _) in zip((48, 218), ("fpr", "tpr"), SERIES, strict=True):
        picture.circle(at + 6, 12, 5, fill=colour)
        picture.text(at + 16, 16, words[label], fill=INK)
    step = (width - left - right) / max(len(bins), 1)
    for number, part in enumerate(bins):
        middle = left + step * (number + 0.5)
        low, high = part["face_px"]
        text = f"{low:g}–{high:g} px" if high is not None else f"≥ {low:g} px"
        picture.text(middle, height - 24, text, text_anchor="middle", fill=INK)
        for name, colour, shift in SERIES:
            rate = part[name]
            if rate["value"] is None:
                continue
            at = middle + shift
            fill = colour if rate["groups"] >= min_groups else "#ffffff"
            stroke = {"stroke": colour, "stroke_width": 2}
            picture.line((at, at), (y(rate["low"]), y(rate["high"])), **stroke)
            picture.circle(at, y(rate["value"]), 4.5, fill=fill, **stroke)
    return str(picture)


def log10_ratio(document: dict[str, Any], face: dict[str, Any]) -> float | None:
    """Return the calibrated log10 likelihood ratio of a face, or ``None`` if it has no value."""
    if face["logit"] is None:
        return None
    calibration = document["method"]["calibration"]["face"]
    ratio = calibration["slope"] * face["logit"] + calibration["intercept"]
    limit: float = calibration["limit"]
    return float(min(max(ratio / math.log(10), -limit), limit))


def moments_plot(document: dict[str, Any], words: Words) -> str:
    """Draw the log10 likelihood ratios of the faces of a video, with the thresholds, as an SVG.

    Each point has its time, value, person and box. Horizontal positions are percentages and the
    text has a size of its own, so that the plot can be read at any width without being scaled.
    Colours come from the style sheet.
    """
    height, top, bottom, left, span = 240.0, 14.0, 200.0, 5.0, 92.0
    result, levels = document["result"], document["method"]["thresholds"]["face"]
    lines = {"high": levels["likely_manipulated"], "low": levels["no_manipulation_found"]}
    points = [
        (face, ratio)
        for face in document["exact"]["faces"]
        if (ratio := log10_ratio(document, face)) is not None
    ]
    most: float = max([abs(r) for _, r in points] + [abs(v) for v in lines.values()] + [1.0]) * 1.1
    examined = document["examined_s"]
    duration: float = max(result["media"].get("duration_s") or 0.0, *examined, 0.001)
    place, y = along(left, span, duration), along(bottom, top - bottom, most, -most)

    def x(at: float) -> str:
        return f"{place(at):.2f}%"

    picture = Picture(words("people_label"), class_="plot", width="100%", height=height)
    for moment in (moment for track in result["tracks"] for moment in track["moments"]):
        width = f"{max(place(moment['end_s']) - place(moment['start_s']), 0.6):.2f}%"
        picture.rect(x(moment["start_s"]), top, width, bottom - top, class_="moment")
    across = x(0.0), x(duration)
    for value in range(-int(most), int(most) + 1):
        picture.line(across, (y(value), y(value)), class_="grid")
        picture.text(2, y(value) + 4, f"{value:+}" if value else "0", class_="tick")
    for name, level in lines.items():
        picture.line(across, (y(level), y(level)), class_=f"cut {name}")
        label = {"class_": f"cut {name}", "text_anchor": "end"}
        picture.text(across[1], y(level) - 4, f"{level:+.2f}", **label)
    for at in examined:
        picture.line((x(at), x(at)), (bottom + 4, bottom + 10), class_="seen")
    picture.time_axis(x, height - 12, duration, class_="tick")
    for face, ratio in sorted(points, key=lambda point: point[0]["time_s"]):
        told = {
            "data_t": f"{face['time_s']:.3f}",
            "data_v": f"{ratio:+.2f}",
            "data_p": face["track"] + 1,
            "data_b": ",".join(f"{v:.0f}" for v in face["box"]),
        }
        shade = f"p{face['track'] % COLOURS}"
        picture.circle(x(face["time_s"]), y(ratio), 4, class_=shade, **told)
    return str(picture)
