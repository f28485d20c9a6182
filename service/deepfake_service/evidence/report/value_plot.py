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

from deepfake_service.platform.texts.formatting import percent, signed
from deepfake_service.platform.texts.i18n import Words
from deepfake_service.platform.texts.svg import FONT, Picture, along

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

    place = along(LEFT, SPAN, high, low)

    def x(at: float) -> str:
        return f"{place(at):.2f}%"

    axis, foot = TOP + HALF, TOP + 2 * HALF + GAP
    title = f"{words('spread_label')}: {signed(value)}"
    picture = Picture(title, class_="spread", width=width, height=HEIGHT, **FONT)
    picture.rect(0, 0, "100%", HEIGHT, class_="paper", fill=PAPER)
    shares = {name: _shares(histogram[name]) for name in ("real", "fake")}
    most = max(*shares["real"], *shares["fake"])
    for name, colour in (("real", REAL), ("fake", FAKE)):
        for start, end, share in zip(edges, edges[1:], shares[name], strict=False):
            if share:
                size = max(HALF * share / most, 1.0)
                top = axis - size if name == "real" else axis + GAP
                wide = f"{place(end) - place(start) - 0.2:.2f}%"
                picture.rect(x(start), top, wide, size, class_=name, fill=colour)
    for name in ("no_manipulation_found", "likely_manipulated"):
        at = x(thresholds[name])
        picture.line((at, at), (TOP, foot), class_="cut", stroke=SOFT, stroke_dasharray="3 3")
    centred = {"class_": "soft", "text_anchor": "middle", "fill": SOFT}
    for tick in range(math.ceil(low), math.floor(high) + 1):
        text = signed(float(tick)).removesuffix(".00") if tick else "0"
        picture.text(x(tick), axis + 13, text, **centred)
    here = x(value)
    anchor = "start" if place(value) < 20 else "end" if place(value) > 80 else "middle"
    picture.line((here, here), (TOP - 4, foot), class_="at", stroke=INK, stroke_width=2)
    bold = {"class_": "ink", "text_anchor": anchor, "font_weight": 600, "fill": INK}
    picture.text(here, 13, words("spread_here", value=signed(value)), **bold)
    for name, colour, anchor, side in (("real", REAL, "start", low), ("fake", FAKE, "end", high)):
        text = words(f"spread_{name}", count=f"{sum(histogram[name]):,}")
        picture.text(x(side), foot + 16, text, class_=name, text_anchor=anchor, fill=colour)
    return str(picture)


def _shares(counts: list[int]) -> list[float]:
    return [count / sum(counts) for count in counts]
