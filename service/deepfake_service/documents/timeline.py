"""A timeline of an examination as an SVG: a row for each person, and the frames examined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from deepfake_service.documents.i18n import Words

WIDTH, LEFT, RIGHT, ROW, BAR = 900.0, 96.0, 16.0, 46.0, 30.0
MAX_ROWS = 20
"""Of a crowd, the people with the highest values are drawn, and the number of the others given."""
SUSPECT, PLAIN, UNSEEN, INK = "#c2410c", "#64748b", "#e2e8f0", "#1e293b"


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

    def x(at: float) -> float:
        return round(LEFT + span * min(max(at / duration, 0.0), 1.0), 2)

    logits = [f["logit"] for f in faces if f["logit"] is not None] or [0.0]
    low, high = min(*logits, -2.0), max(*logits, 2.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" '
        f'width="{WIDTH:g}" height="{height:g}" font-family="Noto Sans KR, sans-serif" '
        'font-size="12" role="img">',
        f"<title>{escape(words('people_label'))}</title>",
        f'<rect width="{WIDTH:g}" height="{height:g}" fill="#ffffff"/>',
    ]
    for number, track in enumerate(drawn):
        top = ROW * number + 8
        label = f"{words('person')} {track['track'] + 1}"
        parts.append(
            f'<text x="8" y="{top + 20:g}" fill="{INK}">{escape(label)}</text>'
            f'<rect x="{LEFT:g}" y="{top:g}" width="{span:g}" height="{BAR:g}" fill="#f8fafc"/>'
        )
        for moment in track["moments"]:
            start, end = x(moment["start_s"]), x(moment["end_s"])
            parts.append(
                f'<rect x="{start - 2:g}" y="{top:g}" width="{max(end - start, 0) + 4:g}" '
                f'height="{BAR:g}" fill="{SUSPECT}" opacity="0.22"/>'
            )
        for face in faces:
            if face["track"] != track["track"] or face["logit"] is None:
                continue
            size = round(3 + (BAR - 3) * (face["logit"] - low) / (high - low), 2)
            suspect = any(m["start_s"] <= face["time_s"] <= m["end_s"] for m in track["moments"])
            parts.append(
                f'<rect x="{x(face["time_s"]) - 1:g}" y="{top + BAR - size:g}" width="2" '
                f'height="{size:g}" fill="{SUSPECT if suspect else PLAIN}"/>'
            )
    axis = ROW * len(drawn) + 16
    parts.append(
        f'<text x="8" y="{axis + 10:g}" fill="{INK}">{escape(words("examined"))}</text>'
        f'<rect x="{LEFT:g}" y="{axis:g}" width="{span:g}" height="12" fill="{UNSEEN}"/>'
    )
    parts.extend(
        f'<rect x="{x(t) - 0.5:g}" y="{axis:g}" width="1" height="12" fill="{INK}"/>'
        for t in examined_s
    )
    for step in range(5):
        at = duration * step / 4
        anchor = "start" if step == 0 else "end" if step == 4 else "middle"
        parts.append(
            f'<text x="{x(at):g}" y="{axis + 30:g}" fill="{INK}" text-anchor="{anchor}">'
            f"{_clock(at)}</text>"
        )
    if len(tracks) > MAX_ROWS:
        more = words("more", count=len(tracks) - MAX_ROWS)
        parts.append(f'<text x="8" y="{axis + 44:g}" fill="{INK}">{escape(more)}</text>')
    parts.append("</svg>\n")
    return "\n".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60.0)
    return f"{int(minutes)}:{rest:04.1f}"
