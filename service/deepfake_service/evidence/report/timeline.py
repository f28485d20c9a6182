"""A timeline of an examination as an SVG: a row for each person, and the frames examined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepfake_service.platform.texts.i18n import Words
from deepfake_service.platform.texts.svg import FONT, INK, Picture, along

WIDTH, LEFT, RIGHT, ROW, BAR = 900.0, 96.0, 16.0, 46.0, 30.0
MAX_ROWS = 20
"""Of a crowd, the people with the highest values are drawn, and the number of the others given."""
SUSPECT, PLAIN, UNSEEN, PAPER = "#c2410c", "#64748b", "#e2e8f0", "#ffffff"


def timeline(
    result: dict[str, Any],
    faces: Sequence[dict[str, Any]],
    examined_s: Sequence[float],
    words: Words,
) -> str:
    """Draw a result with its exact ``faces`` and the times, in seconds, of the examined frames.

    The height of a bar is a face's logit, on a scale from the lowest to the highest one drawn; a
    tick on the axis marks an examined frame.
    """
    duration = max((result["media"] or {}).get("duration_s") or 0.0, *examined_s, 0.001)
    # A person who passes by has a face or two, too few for a value: there is nothing to draw.
    valued = (t for t in result["tracks"] if t["log_likelihood_ratio"] is not None)
    tracks = sorted(valued, key=lambda t: -t["log_likelihood_ratio"])
    drawn = sorted(tracks[:MAX_ROWS], key=lambda t: t["track"])
    height = ROW * len(drawn) + 62
    span = WIDTH - LEFT - RIGHT
    x = along(LEFT, span, duration)
    logits = [f["logit"] for f in faces if f["logit"] is not None] or [0.0]
    tall = along(3.0, BAR - 3, max(*logits, 2.0), min(*logits, -2.0))

    box = f"0 0 {WIDTH:g} {height:g}"
    picture = Picture(words("people_label"), viewBox=box, width=WIDTH, height=height, **FONT)
    picture.rect(0, 0, WIDTH, height, fill=PAPER)
    for number, track in enumerate(drawn):
        top = ROW * number + 8
        picture.text(8, top + 20, f"{words('person')} {track['track'] + 1}", fill=INK)
        picture.rect(LEFT, top, span, BAR, fill="#f8fafc")
        for moment in track["moments"]:
            start, end = x(moment["start_s"]), x(moment["end_s"])
            width = max(end - start, 0) + 4
            picture.rect(start - 2, top, width, BAR, fill=SUSPECT, opacity=0.22)
        for face in faces:
            if face["track"] != track["track"] or face["logit"] is None:
                continue
            size = tall(face["logit"])
            suspect = any(m["start_s"] <= face["time_s"] <= m["end_s"] for m in track["moments"])
            fill = SUSPECT if suspect else PLAIN
            picture.rect(x(face["time_s"]) - 1, top + BAR - size, 2, size, fill=fill)
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
