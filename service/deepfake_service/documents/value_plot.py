"""Where a value lies among the values of measured media: two histograms and a mark, as an SVG.

Model bundles may carry histograms of the values of held-out media. Authentic media are drawn above
the axis and manipulated ones below it, each as shares of its class, in the same scale. Horizontal
positions are percentages, so that the text has the same size at any width. The colours are those of
paper; a style sheet can replace them by class.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any
from xml.sax.saxutils import escape

from deepfake_service.documents.formatting import percent, signed
from deepfake_service.documents.i18n import Words

HEIGHT, TOP, HALF, GAP = 208.0, 22.0, 72.0, 18.0
"""Of the whole, above the bars, of each histogram, and of the axis between them; in pixels."""
LEFT, SPAN = 2.0, 96.0
"""Where the bars begin, and how much of the width they take, in per cent."""
REAL, FAKE, INK, SOFT, PAPER = "#15803d", "#b91c1c", "#0f172a", "#475569", "#ffffff"


def histogram_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return the histogram of media like the item; ``None`` without one, or without a value."""
    media = document["result"]["media"]
    if not media or document["result"]["log_likelihood_ratio"] is None:
        return None
    unit = "picture" if media["kind"] == "image" else "item"
    found: dict[str, Any] | None = (document["method"].get("histograms") or {}).get(unit)
    return found


def bin_of(histogram: dict[str, Any], value: float) -> int:
    """Return the number of the bin in which a value is, from 0."""
    last = len(histogram["edges"]) - 2
    return min(max(bisect_right(histogram["edges"], value) - 1, 0), last)


def value_note(document: dict[str, Any], words: Words) -> str | None:
    """Return what the plot shows, in words; ``None`` if there is none."""
    histogram = histogram_of(document)
    if histogram is None:
        return None
    value = document["result"]["log_likelihood_ratio"]
    here = bin_of(histogram, value)
    return words(
        "spread_note",
        value=signed(value),
        low=signed(histogram["edges"][here]),
        real=percent(sum(histogram["real"][here:]) / sum(histogram["real"])),
        fake=percent(sum(histogram["fake"][here:]) / sum(histogram["fake"])),
        real_groups=f"{histogram['real_groups']:,}",
        fake_groups=f"{histogram['fake_groups']:,}",
    )


def value_plot(
    document: dict[str, Any], thresholds: dict[str, Any], words: Words, *, width: str
) -> str | None:
    """Draw the histograms with the thresholds and the item's value; ``None`` if there are none.

    Args:
        thresholds: those that decided on the item.
        width: of the SVG, such as ``100%`` or ``900``.
    """
    histogram = histogram_of(document)
    if histogram is None:
        return None
    value = document["result"]["log_likelihood_ratio"]
    edges: list[float] = histogram["edges"]
    low, high = edges[0], edges[-1]

    def x(at: float) -> float:
        return round(LEFT + SPAN * min(max((at - low) / (high - low), 0.0), 1.0), 2)

    axis = TOP + HALF
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT:g}" role="img" '
        'class="spread" font-family="Noto Sans KR, sans-serif" font-size="12">',
        f"<title>{escape(words('spread_label'))}: {escape(signed(value))}</title>",
        f'<rect class="paper" width="100%" height="{HEIGHT:g}" fill="{PAPER}"/>',
    ]
    shares = {name: _shares(histogram[name]) for name in ("real", "fake")}
    most = max(*shares["real"], *shares["fake"])
    for name, colour in (("real", REAL), ("fake", FAKE)):
        for start, end, share in zip(edges, edges[1:], shares[name], strict=False):
            if not share:
                continue
            size = round(max(HALF * share / most, 1.0), 1)
            top = axis - size if name == "real" else axis + GAP
            wide = round(x(end) - x(start) - 0.2, 2)
            parts.append(
                f'<rect class="{name}" x="{x(start)}%" width="{wide}%" y="{top:g}" '
                f'height="{size:g}" fill="{colour}"/>'
            )
    for name in ("no_manipulation_found", "likely_manipulated"):
        at = x(thresholds[name])
        parts.append(
            f'<line class="cut" x1="{at}%" x2="{at}%" y1="{TOP:g}" y2="{axis + GAP + HALF:g}" '
            f'stroke="{SOFT}" stroke-dasharray="3 3"/>'
        )
    for tick in range(math.ceil(low), math.floor(high) + 1):
        parts.append(
            f'<text class="soft" x="{x(tick)}%" y="{axis + 13:g}" text-anchor="middle" '
            f'fill="{SOFT}">{signed(float(tick)).removesuffix(".00") if tick else 0}</text>'
        )
    here = x(value)
    anchor = "start" if here < 20 else "end" if here > 80 else "middle"
    parts.append(
        f'<line class="at" x1="{here}%" x2="{here}%" y1="{TOP - 4:g}" '
        f'y2="{axis + GAP + HALF:g}" stroke="{INK}" stroke-width="2"/>'
        f'<text class="ink" x="{here}%" y="13" text-anchor="{anchor}" font-weight="600" '
        f'fill="{INK}">{escape(words("spread_here", value=signed(value)))}</text>'
    )
    foot = axis + GAP + HALF + 16
    for name, colour, place in (("real", REAL, "start"), ("fake", FAKE, "end")):
        label = words(f"spread_{name}", count=f"{sum(histogram[name]):,}")
        side = LEFT if place == "start" else LEFT + SPAN
        parts.append(
            f'<text class="{name}" x="{side:g}%" y="{foot:g}" text-anchor="{place}" '
            f'fill="{colour}">{escape(label)}</text>'
        )
    parts.append("</svg>\n")
    return "\n".join(parts)


def _shares(counts: list[int]) -> list[float]:
    return [count / sum(counts) for count in counts]
