"""What the page of an item shows of the ``verdict.json`` in its evidence."""

from __future__ import annotations

from collections.abc import Collection

from deepfake_models.bundle.results import input_at_fault
from deepfake_models.decision.level import log_likelihood_ratio
from deepfake_service.evidence.bundle.artifacts import margin_of
from deepfake_service.evidence.bundle.documents import VerdictDocument
from deepfake_service.evidence.report.plots import value_plot
from deepfake_service.evidence.report.reading import Reading
from deepfake_service.evidence.report.summary import reasons_of_people, summary_of
from deepfake_service.evidence.report.tables import tables_of
from deepfake_service.platform.texts.formatting import signed
from deepfake_service.platform.texts.i18n import words
from deepfake_service.platform.texts.svg import Picture, along
from deepfake_service.web.pages import evidence_time, safe

COLOURS = 6
"""Colours of people in the style sheet; further people have them again."""


def result_view(stored: VerdictDocument, language: str) -> dict[str, object]:
    """Return the result in an edition of evidence as the page shows it."""
    reading = Reading(stored, words(language, polite=True), evidence_time)
    document, result = reading.document, reading.result
    high = reading.thresholds.likely_manipulated
    codes = list(dict.fromkeys(r.code for r in result.reasons))
    faces, spread = document.exact.faces, value_plot(reading, width="100%")
    valued = list(zip(faces, _values_of_faces(reading), strict=True))
    is_video = reading.kind == "video"
    unvalued = {t.track for t in reading.people if t.log_likelihood_ratio is None}
    is_animation = is_video and str(document.item.mime).startswith("image/")
    return {
        **summary_of(reading),
        **tables_of(reading),
        "verdict": result.verdict,
        "codes": codes,
        "broken": any(map(input_at_fault, codes)),
        "has_value": result.log_likelihood_ratio is not None,
        "high": high,
        "spread": safe(spread) if spread else None,
        "plot": safe(moments_plot(reading, unvalued)) if is_video else None,
        "plays": is_video and not is_animation,  # an animation is shown as a picture that moves
        "is_jpeg": document.item.mime == "image/jpeg",
        "frame_s": _frame_s(reading),
        "faces": []
        if is_animation
        else [
            (f.time_s, f.track + 1, f.box, ratio is not None and ratio >= high)
            for f, ratio in valued
        ],
        "moment_of": _moments_of(reading, unvalued) if is_video else {},
        "unpictured": unvalued - {faces[p.face].track for p in reading.pictures},
        "people_reasons": reasons_of_people(document),
        "pictures": _pictures(reading),
        "is_video": is_video,
        "sampled": result.frames.sampled,
        "media": reading.media,
        "minor": document.case.minor,
    }


def _frame_s(reading: Reading) -> float:
    """Return how many seconds a frame of a video is shown, on average; 0 of a picture."""
    media = reading.media
    return media.duration_s / media.frames if media and media.frames and media.duration_s else 0.0


def _pictures(reading: Reading) -> list[dict[str, object]]:
    d = reading.document
    faces, crop = d.exact.faces, d.method.crop
    return [
        {
            "number": p.number,
            "time_s": faces[p.face].time_s,
            "person": faces[p.face].track + 1,
            "mirrored": bool(margin_of(d.exact, p.face, crop).any()),
            "llr": p.log_likelihood_ratio,
        }
        for p in reading.pictures
    ]


def _moments_of(reading: Reading, tracks: Collection[int]) -> dict[str, float]:
    """Return when the face of each person among ``tracks`` is widest, by the person's number."""
    faces = sorted(reading.document.exact.faces, key=lambda face: face.box[2] - face.box[0])
    return {str(f.track + 1): f.time_s for f in faces if f.track in tracks}


def _values_of_faces(reading: Reading) -> list[float | None]:
    """Return the log10 likelihood ratio of each face, which is ``None`` if it has no value."""
    calibration = reading.document.method.calibration.face
    logits = [face.logit for face in reading.document.exact.faces]
    return [None if at is None else log_likelihood_ratio(at, calibration) for at in logits]


def moments_plot(reading: Reading, unvalued: Collection[int]) -> str:
    """Draw the log10 likelihood ratios of the faces of a video, with the thresholds, as an SVG.

    Each point has its time, value, person and box. The faces of the tracks that are ``unvalued``
    lie at the bottom, so that these people are found as well. Horizontal positions are percentages
    and the text has a size of its own, so that the plot can be read at any width without being
    scaled. Colours come from the style sheet.
    """
    height, top, bottom, left, span = 240.0, 14.0, 200.0, 5.0, 92.0
    document, result = reading.document, reading.result
    levels = document.method.thresholds.face
    lines = {"high": levels.likely_manipulated, "low": levels.no_manipulation_found}
    valued = zip(document.exact.faces, _values_of_faces(reading), strict=True)
    points = [p for p in valued if p[1] is not None or p[0].track in unvalued]
    most = max([abs(r or 0.0) for _, r in points] + [abs(v) for v in lines.values()] + [1.0]) * 1.1
    examined = document.examined_s
    duration = max((result.media and result.media.duration_s) or 0.0, *examined, 0.001)
    place, y = along(left, span, duration), along(bottom, top - bottom, most, -most)

    def x(at: float) -> str:
        return f"{place(at):.2f}%"

    picture = Picture(reading.words("people_label"), class_="plot", width="100%", height=height)
    for moment in (moment for track in result.tracks for moment in track.moments):
        width = f"{max(place(moment.end_s) - place(moment.start_s), 0.6):.2f}%"
        picture.rect(x(moment.start_s), top, width, bottom - top, class_="moment")
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
    for face, ratio in sorted(points, key=lambda point: point[0].time_s):
        told = {
            "data_t": f"{face.time_s:.3f}",
            "data_v": signed(ratio),
            "data_p": face.track + 1,
            "data_b": ",".join(f"{v:.0f}" for v in face.box),
        }
        shade = f"p{face.track % COLOURS}"
        at = bottom if ratio is None else y(ratio)
        picture.circle(x(face.time_s), at, 4, class_=shade, **told)
    return str(picture)
