"""The report of an evidence edition: a PDF/A-3 whose first page a layperson understands.

``present`` returns all that it says, which Typst sets from a template that takes texts and values
as data only. The same data gives the same bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any

from deepfake_service.evidence.report.reading import Reading, read
from deepfake_service.evidence.report.summary import Summary, summary_of
from deepfake_service.evidence.report.tables import Tables, tables_of
from deepfake_service.evidence.report.timeline import timeline
from deepfake_service.evidence.report.value_plot import value_plot
from deepfake_service.platform.texts.formatting import signed, tenths, to_the_second
from deepfake_service.platform.texts.i18n import LANGUAGES, Words
from deepfake_service.platform.texts.typesetting import pdf_of

SPREAD_WIDTH = "720"


@dataclass(frozen=True, slots=True)
class Signing:
    """How a report is signed."""

    certificate_sha256: str
    """The SHA-256 of the certificate of its electronic signature."""
    line: bool = False
    """Whether it also has a line on paper for whoever hands it in."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A face that is shown, plain and with its overlay, as SVGs."""

    plain: str
    heat: str
    line: str
    alt: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report says and shows, in the words of one language."""

    lang: str
    words: dict[str, str]
    """The labels of the template."""
    characters_note: str
    """What a code point stands for, where the report has one."""
    title: str
    subtitle: str
    case: str
    digest: str
    """The beginning of the file's SHA-256."""
    issuer: str
    issued: str
    reached_at: list[tuple[str, str]]
    """How the organisation is reached."""
    footer: str
    summary: Summary
    tables: Tables
    pictures: list[Picture]
    pictures_note: str | None
    """Why there are no pictures."""
    spread: str | None
    """Where the value lies among those of measured media, as an SVG."""
    timeline: str | None
    """The faces over time as an SVG; ``None`` for a still."""
    files: list[tuple[str, str]]
    """The SHA-256 of the bundle's other files by name, which a reader can compare."""
    certificate: str
    signature_line: bool


def report(
    document: dict[str, Any],
    pictures: Mapping[str, bytes],
    custody: dict[str, Any],
    digests: Mapping[str, str],
    words: Words,
    signing: Signing,
) -> bytes:
    """Return the unsigned PDF of a ``verdict.json`` document in the language of ``words``.

    Args:
        digests: the SHA-256 of the bundle's other files by name.
    """
    model = present(document, pictures, custody, digests, words, signing)
    template = (files("deepfake_service.evidence.report") / "report.typ").read_bytes()
    return pdf_of(template, asdict(model), datetime.fromisoformat(document["created_at"]))


def present(
    document: dict[str, Any],
    pictures: Mapping[str, bytes],
    custody: dict[str, Any],
    digests: Mapping[str, str],
    words: Words,
    signing: Signing,
) -> Report:
    """Return all that the report of a ``verdict.json`` document says. See ``report``."""
    reading = read(document, words, custody)
    d = reading.document
    known = d.get("organisation", {})
    names = (known.get(f"name_{language}") for language in (words.language, *LANGUAGES))
    name = next(filter(None, names), d["issuer"])
    created = to_the_second(d["created_at"], words.language)
    shown = [p for p in d["pictures"] if p["crop"] in pictures]
    return Report(
        lang=words.language,
        words=words.plain,
        characters_note=words("characters_note"),
        title=words("title"),
        subtitle=words("subtitle", edition=d["edition"], date=created),
        case=d["case"]["reference"] or d["case"]["id"],
        digest=f"SHA-256 {d['item']['sha256'][:16]}…",
        issuer=d["issuer"],
        issued=words("issuer", issuer=name),
        reached_at=[
            (words(f"organisation_{key}"), known[key])
            for key in ("address", "contact", "phone", "email")
            if known.get(key)
        ],
        footer=f"{name} · {d['job']['id']} · {d['edition']}",
        summary=summary_of(reading),
        tables=tables_of(reading),
        pictures=[
            _picture(reading, p, pictures)
            for p in sorted(shown, key=lambda p: (-p["log_likelihood_ratio"], p["number"]))
        ],
        pictures_note=_pictures_note(reading, are_shown=bool(shown)),
        spread=value_plot(d, reading.thresholds, words, width=SPREAD_WIDTH),
        timeline=timeline(d["result"], d["exact"]["faces"], d["examined_s"], words)
        if reading.is_video
        else None,
        files=sorted(digests.items()),
        certificate=signing.certificate_sha256,
        signature_line=signing.line,
    )


def _picture(reading: Reading, picture: dict[str, Any], files_: Mapping[str, bytes]) -> Picture:
    words, face = reading.words, reading.document["exact"]["faces"][picture["face"]]
    crop, person = files_[picture["crop"]], face["track"] + 1
    return Picture(
        plain=layered(crop),
        heat=layered(crop, files_[picture["heatmap"]]),
        line=words(
            "picture_line" if reading.is_video else "still_line",
            time=tenths(face["time_s"]),
            person=person,
            llr=signed(picture["log_likelihood_ratio"]),
        ),
        alt=f"{words('person')} {person}",
    )


def _pictures_note(reading: Reading, *, are_shown: bool) -> str | None:
    document, words = reading.document, reading.words
    if document["case"]["minor"]:
        return words("pictures_withheld")
    if not document["pictures"]:
        return words("pictures_none")
    return None if are_shown else words("pictures_left_out", edition=document["edition"])


def layered(picture: bytes, overlay: bytes | None = None) -> str:
    """Return an SVG that holds a PNG and, over it, another one of the same size."""
    layers = "".join(
        f'<image width="100" height="100" href="data:image/png;base64,'
        f'{base64.b64encode(layer).decode()}"/>'
        for layer in (picture, overlay)
        if layer is not None
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{layers}</svg>'
