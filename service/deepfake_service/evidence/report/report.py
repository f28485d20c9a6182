"""The report of an evidence edition: a PDF/A-3 whose first page a layperson understands.

``present`` returns all that it says, computed once, which Typst sets from a template that takes
texts and values as data only. The same data gives the same bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.resources import files

import numpy as np
from PIL import Image

from deepfake_service.evidence.bundle.artifacts import as_seen, margin_of, png
from deepfake_service.evidence.bundle.documents import (
    Custody,
    Cutout,
    ValuedPicture,
    VerdictDocument,
    read,
)
from deepfake_service.evidence.bundle.signs import sign_lines
from deepfake_service.evidence.report.plots import timeline, value_plot
from deepfake_service.evidence.report.reading import Reading, shown
from deepfake_service.evidence.report.summary import summary_of
from deepfake_service.evidence.report.tables import custody_of, tables_of
from deepfake_service.platform.texts.formatting import signed, tenths, to_the_second
from deepfake_service.platform.texts.i18n import LANGUAGES, Words
from deepfake_service.platform.texts.typesetting import pdf_of


@dataclass(frozen=True, slots=True)
class ReportCopy:
    """How a copy of a report differs from the one in its bundle."""

    faces: bool = True
    """Whether it shows pictures of faces."""
    signature_line: bool = False
    """Whether it has a line for name, date and signature of whoever hands it in, on paper."""
    reasons: bool = True
    """Whether it has the reasons of the reviewers."""


ORIGINAL = ReportCopy()
MAX_PLACE_SIDE = 480
"""Pixels of a cut-out in the report, which prints it 40 mm wide. Its file has more."""


def report(texts: dict[str, object], created_at: str) -> bytes:
    """Return the unsigned PDF of what ``present`` returned."""
    template = (files("deepfake_service.evidence.report") / "report.typ").read_bytes()
    return pdf_of(template, texts, datetime.fromisoformat(created_at))


def present(
    document: VerdictDocument,
    payload: Mapping[str, bytes],
    words: Words,
    certificate: str | None,
    copy: ReportCopy = ORIGINAL,
) -> dict[str, object]:
    """Return all that the report of a ``verdict.json`` document says and shows, in the language of
    ``words``. ``payload`` has the bundle's files by name, without ``data/``, and ``certificate``
    is the SHA-256 of that of its electronic signature, if it has one."""
    if not copy.reasons:
        silent = tuple(r.model_copy(update={"reason": None}) for r in document.reviews)
        document = document.model_copy(update={"reviews": silent})
    reading, custody = Reading(document, words), read(Custody, payload["custody.json"], "custody")
    d = reading.document
    known = d.organisation or {}
    names = (known.get(f"name_{language}") for language in (words.language, *LANGUAGES))
    name = next(filter(None, names), d.issuer)
    created = to_the_second(d.created_at, words.language)
    pictures = [p for p in reading.pictures if copy.faces and p.crop in payload]
    places = [_place(reading, p, payload, copy) for p in d.cutouts or ()]
    return {
        "lang": words.language,
        "words": words.plain,
        "characters_note": words("characters_note"),
        "title": words("title"),
        "subtitle": words("subtitle", edition=d.edition, date=created),
        "case": d.case.reference or d.case.id,
        "digest": f"SHA-256 {d.item.sha256[:16]}…",
        "issuer": d.issuer,
        "issued": words("issuer", issuer=name),
        "reached_at": [
            (words(f"organisation_{key}"), value)
            for key in ("address", "contact", "phone", "email")
            if (value := known.get(f"{key}_{words.language}") or known.get(key))
        ],
        "footer": f"{name} · {d.job.id} · {d.edition}",
        **summary_of(reading),
        **tables_of(reading),
        **custody_of(reading, shown(custody)),
        "pictures": [_picture(reading, p, payload) for p in pictures],
        "pictures_note": None if pictures else _pictures_note(reading),
        "places": places,
        "places_note": _places_note(reading, places),
        "spread": value_plot(reading, width="720"),
        "timeline": timeline(d, words) if reading.kind == "video" else None,
        "files": sorted((name, sha256(content).hexdigest()) for name, content in payload.items()),
        "certificate": certificate,
        "signature_line": copy.signature_line,
    }


def _picture(
    reading: Reading, picture: ValuedPicture, payload: Mapping[str, bytes]
) -> dict[str, object]:
    words, d, face = reading.words, reading.document, reading.document.exact.faces[picture.face]
    person, margin = face.track + 1, margin_of(d.exact, picture.face, d.method.crop)
    crop = as_seen(payload[picture.crop], margin)
    line = words(
        "still_line" if reading.is_still else "picture_line",
        time=tenths(face.time_s),
        person=person,
        llr=signed(picture.log_likelihood_ratio),
    )
    return {
        "plain": layered(crop),
        "heat": layered(crop, payload[picture.heatmap])
        if picture.heatmap and reading.is_likely
        else None,
        "mirrored": bool(margin.any()),
        "line": line,
        "alt": f"{words('person')} {person}",
    }


def _place(
    reading: Reading, place: Cutout, payload: Mapping[str, bytes], copy: ReportCopy
) -> dict[str, object]:
    words, d = reading.words, reading.document
    signs = [sign for review in d.reviews for sign in review.signs]
    here = [sign for sign in signs if (sign.time_s, sign.rect) == (place.time_s, place.rect)]
    picture = _marked(payload[place.name], place) if place.file and copy.faces else None
    note = None  # what keeps the pictures of all places out is said once
    if picture:
        note = words("place_file", name=place.name)
    elif place.left_out not in (None, "minor"):
        note = words.of("place_left_out", place.left_out)
    return {"lines": list(dict.fromkeys(sign_lines(here, words))), "picture": picture, "note": note}


def _places_note(reading: Reading, places: Sequence[Mapping[str, object]]) -> str | None:
    """Return what the pictures of all places are, or what keeps them out."""
    words, d = reading.words, reading.document
    if any(place["picture"] for place in places):
        return words("places_meaning")
    if any(place.left_out in (None, "minor") for place in d.cutouts or ()):
        key = "pictures_withheld" if d.case.minor else "pictures_left_out"
        return words(key, edition=d.edition)
    return None


def _marked(content: bytes, place: Cutout) -> str:
    """Return an SVG that holds a cut-out, reduced for paper, with a line around its place."""
    picture = Image.open(io.BytesIO(content), formats=["PNG"])
    picture.thumbnail((MAX_PLACE_SIDE, MAX_PLACE_SIDE))
    left, top, right, bottom = place.shown
    wide, tall, (x, y, to_x, to_y) = right - left, bottom - top, place.rect
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {tall}">'
        f'<image width="{wide}" height="{tall}" preserveAspectRatio="none" '
        f'href="{_inline(png(np.asarray(picture)))}"/>'
        f'<rect x="{x - left:g}" y="{y - top:g}" width="{to_x - x:g}" height="{to_y - y:g}" '
        f'fill="none" stroke="#e11d48" stroke-width="{max(wide, tall) / 120:g}"/></svg>'
    )


def _pictures_note(reading: Reading) -> str:
    document, words = reading.document, reading.words
    if document.case.minor:
        return words("pictures_withheld")
    if not document.pictures:
        return words("pictures_none")
    return words("pictures_left_out", edition=document.edition)


def layered(*pictures: bytes) -> str:
    """Return an SVG that holds PNGs of the same size, one over the other."""
    layers = "".join(
        f'<image width="100" height="100" href="{_inline(layer)}"/>' for layer in pictures
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{layers}</svg>'


def _inline(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
