"""The report of an evidence edition: a PDF/A-3 whose first page a layperson understands.

``present`` returns all that it says, computed once, which Typst sets from a template that takes
texts and values as data only. The same data gives the same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.resources import files

from deepfake_service.evidence.bundle.artifacts import as_seen, margin_of
from deepfake_service.evidence.bundle.documents import Custody, ValuedPicture, VerdictDocument, read
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
        "heat": layered(crop, payload[picture.heatmap]) if reading.is_likely else None,
        "mirrored": bool(margin.any()),
        "line": line,
        "alt": f"{words('person')} {person}",
    }


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
        f'<image width="100" height="100" href="data:image/png;base64,'
        f'{base64.b64encode(layer).decode()}"/>'
        for layer in pictures
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{layers}</svg>'
