"""Plots of measured error rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640.0, 260.0, 48.0, 12.0, 28.0, 44.0
SERIES = (("false_positive_rate", "#1d4ed8", -7.0), ("true_positive_rate", "#c2410c", 7.0))


def rates_by_width(
    bins: Sequence[dict[str, Any]], words: dict[str, str], *, min_groups: int
) -> str:
    """Draw false and true positive rates by face width, with 95% intervals, as an SVG.

    Points based on fewer than ``min_groups`` groups are hollow. ``words`` holds the labels ``fpr``,
    ``tpr`` and ``rates``.
    """
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def y(share: float) -> float:
        return round(TOP + inner_height * (1.0 - share), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        'font-family="Noto Sans KR, sans-serif" font-size="12">',
        f"<title>{escape(words['rates'])}</title>",
        f'<rect width="{WIDTH:g}" height="{HEIGHT:g}" fill="#ffffff"/>',
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(
            f'<line x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{y(tick)}" y2="{y(tick)}" '
            f'stroke="#e2e8f0"/><text x="{LEFT - 6:g}" y="{y(tick) + 4}" text-anchor="end" '
            f'fill="#475569">{tick:.0%}</text>'
        )
    for number, (name, colour, _) in enumerate(SERIES):
        label = escape(words["fpr" if name == "false_positive_rate" else "tpr"])
        at = LEFT + 170 * number
        parts.append(
            f'<circle cx="{at + 6:g}" cy="12" r="5" fill="{colour}"/>'
            f'<text x="{at + 16:g}" y="16" fill="#1e293b">{label}</text>'
        )
    step = inner_width / max(len(bins), 1)
    for number, part in enumerate(bins):
        middle = LEFT + step * (number + 0.5)
        low, high = part["face_px"]
        text = f"{low:g}–{high:g} px" if high is not None else f"≥ {low:g} px"
        parts.append(
            f'<text x="{middle:g}" y="{HEIGHT - 24:g}" text-anchor="middle" fill="#1e293b">'
            f"{escape(text)}</text>"
        )
        for name, colour, shift in SERIES:
            rate = part[name]
            if rate["value"] is None:
                continue
            at = round(middle + shift, 1)
            fill = colour if rate["groups"] >= min_groups else "#ffffff"
            parts.append(
                f'<line x1="{at}" x2="{at}" y1="{y(rate["low"])}" y2="{y(rate["high"])}" '
                f'stroke="{colour}" stroke-width="2"/><circle cx="{at}" cy="{y(rate["value"])}" '
                f'r="4.5" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
            )
    parts.append("</svg>\n")
    return "\n".join(parts)
