"""The plots of a report as SVGs: the faces over time, and a value among those of measured media."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from deepfake_models.bundle.spec import ValueHistogram
from deepfake_service.evidence.bundle.documents import VerdictDocument
from deepfake_service.evidence.report.reading import Reading, value_of
from deepfake_service.platform.texts.formatting import percent, signed
from deepfake_service.platform.texts.i18n import Words
from deepfake_service.platform.texts.svg import FONT, INK, Picture, along

WIDTH, LEFT, RIGHT, ROW, BAR = 900.0, 96.0, 16.0, 46.0, 30.0
MAX_ROWS = 20
"""Of a crowd, the people with the highest values are drawn, and the number of the others given."""
SUSPECT, PLAIN, UNSEEN, PAPER = "#c2410c", "#64748b", "#e2e8f0", "#ffffff"


def timeline(document: VerdictDocument, words: Words) -> str:
    """Draw the faces of a ``verdict.json`` document over time.

    The height of a bar is a face's logit, on a scale from the lowest to the highest one drawn; a
    tick on the axis marks an examined frame.
    """
    result, faces, examined_s = document.result, document.exact.faces, document.examined_s
    duration = max((result.media and result.media.duration_s) or 0.0, *examined_s, 0.001)
    # A person who passes by has a face or two, too few for a value: there is nothing to draw.
    valued = (t for t in result.tracks if t.log_likelihood_ratio is not None)
    tracks = sorted(valued, key=value_of, reverse=True)
    drawn = sorted(tracks[:MAX_ROWS], key=lambda t: t.track)
    height = ROW * len(drawn) + 62
    span = WIDTH - LEFT - RIGHT
    x = along(LEFT, span, duration)
    logits = [f.logit for f in faces if f.logit is not None] or [0.0]
    tall = along(3.0, BAR - 3, max(*logits, 2.0), min(*logits, -2.0))

    box = f"0 0 {WIDTH:g} {height:g}"
    picture = Picture(words("people_label"), viewBox=box, width=WIDTH, height=height, **FONT)
    picture.rect(0, 0, WIDTH, height, fill=PAPER)
    for number, track in enumerate(drawn):
        top = ROW * number + 8
        picture.text(8, top + 20, f"{words('person')} {track.track + 1}", fill=INK)
        picture.rect(LEFT, top, span, BAR, fill="#f8fafc")
        for moment in track.moments:
            start, end = x(moment.start_s), x(moment.end_s)
            width = max(end - start, 0) + 4
            picture.rect(start - 2, top, width, BAR, fill=SUSPECT, opacity=0.22)
        for face in faces:
            if face.track != track.track or face.logit is None:
                continue
            size = tall(face.logit)
            suspect = any(m.start_s <= face.time_s <= m.end_s for m in track.moments)
            fill = SUSPECT if suspect else PLAIN
            picture.rect(x(face.time_s) - 1, top + BAR - size, 2, size, fill=fill)
    axis = ROW * len(drawn) + 16
    picture.text(8, axis + 10, words("examined"), fill=INK)
    picture.rect(LEFT, axis, span, 12, fill=UNSEEN)
    for at in examined_s:
        picture.rect(x(at) - 0.5, axis, 1, 12, fill=INK)
    picture.time_axis(x, axis + 30, duration, fill=INK)
    if len(tracks) > MAX_ROWS:
        more = words("more", count=len(tracks) - MAX_ROWS)
        picture.text(8, axis + 44, more, fill=INK)
    return str(picture)


HEIGHT, TOP, HALF, GAP = 208.0, 22.0, 72.0, 18.0
"""Of the whole, above the bars, of each histogram, and of the axis between them; in pixels."""
START, SPAN = 2.0, 96.0
"""Where the bars begin, and how much of the width they take, in per cent."""
REAL, FAKE, BLACK, SOFT = "#1d4ed8", "#b91c1c", "#0f172a", "#475569"
"""Authentic media are not green: that is the colour of what people cleared."""


def bin_of(histogram: ValueHistogram, value: float) -> int:
    """Return the number of the bin in which a value is, from 0."""
    last = len(histogram.edges) - 2
    return min(max(bisect_right(histogram.edges, value) - 1, 0), last)


def value_note(r: Reading) -> str | None:
    """Return what the plot shows, in words; ``None`` if there is none."""
    histogram, words, value = r.histogram, r.words, r.result.log_likelihood_ratio
    if histogram is None or value is None:
        return None
    here = bin_of(histogram, value)
    # Of a low value, what matters is how many manipulated media have one as low.
    is_low = r.strength is None
    bins = slice(here + 1) if is_low else slice(here, None)
    where = words(
        "spread_below" if is_low else "spread_above",
        value=signed(value),
        edge=signed(histogram.edges[here + is_low]),
        real=_share(histogram.real, histogram.real[bins], histogram.real_groups, words),
        fake=_share(histogram.fake, histogram.fake[bins], histogram.fake_groups, words),
    )
    real, fake = f"{histogram.real_groups:,}", f"{histogram.fake_groups:,}"
    return f"{where} {words('spread_note', real_groups=real, fake_groups=fake)}"


def _share(counts: Sequence[int], inside: Sequence[int], groups: int, words: Words) -> str:
    """Return the share of media of a class that are in some bins; of none, its upper bound."""
    count, samples = sum(inside), sum(counts)
    if count:
        return percent(count / samples)
    # Clopper and Pearson (1934), one-sided; media of one group count as one.
    upper = 1 - 0.05 ** (1 / groups)
    return words("spread_none", count=f"{samples:,}", upper=f"{upper:.1%}")


def value_plot(r: Reading, *, width: str) -> str | None:
    """Draw the histograms with the thresholds that decided on the item, and its value; ``None`` if
    there are none. ``width`` is that of the SVG, such as ``100%`` or ``900``."""
    histogram, words, value = r.histogram, r.words, r.result.log_likelihood_ratio
    if histogram is None or value is None:
        return None
    edges = histogram.edges
    low, high = edges[0], edges[-1]

    place = along(START, SPAN, high, low)

    def x(at: float) -> str:
        return f"{place(at):.2f}%"

    axis, foot = TOP + HALF, TOP + 2 * HALF + GAP
    title = f"{words('spread_label')}: {signed(value)}"
    picture = Picture(title, class_="spread", width=width, height=HEIGHT, **FONT)
    picture.rect(0, 0, "100%", HEIGHT, class_="paper", fill=PAPER)
    counts = {"real": histogram.real, "fake": histogram.fake}
    shares = {name: [count / sum(each) for count in each] for name, each in counts.items()}
    most = max(*shares["real"], *shares["fake"])
    for name, colour in (("real", REAL), ("fake", FAKE)):
        for start, end, share in zip(edges, edges[1:], shares[name], strict=False):
            if share:
                size = max(HALF * share / most, 1.0)
                top = axis - size if name == "real" else axis + GAP
                wide = f"{place(end) - place(start) - 0.2:.2f}%"
                picture.rect(x(start), top, wide, size, class_=name, fill=colour)
    for cut in (r.thresholds.no_manipulation_found, r.thresholds.likely_manipulated):
        at = x(cut)
        picture.line((at, at), (TOP, foot), class_="cut", stroke=SOFT, stroke_dasharray="3 3")
    centred = {"class_": "soft", "text_anchor": "middle", "fill": SOFT}
    for tick in range(math.ceil(low), math.floor(high) + 1):
        text = signed(float(tick)).removesuffix(".00") if tick else "0"
        picture.text(x(tick), axis + 13, text, **centred)
    here = x(value)
    anchor = "start" if place(value) < 20 else "end" if place(value) > 80 else "middle"
    picture.line((here, here), (TOP - 4, foot), class_="at", stroke=BLACK, stroke_width=2)
    bold = {"class_": "ink", "text_anchor": anchor, "font_weight": 600, "fill": BLACK}
    picture.text(here, 13, words("spread_here", value=signed(value)), **bold)
    for name, colour, anchor, side in (("real", REAL, "start", low), ("fake", FAKE, "end", high)):
        text = words(f"spread_{name}", count=f"{sum(counts[name]):,}")
        picture.text(x(side), foot + 16, text, class_=name, text_anchor=anchor, fill=colour)
    return str(picture)
