"""Notices as PDFs: a letter, or the statutory form where the law has one."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib.resources import files
from typing import Any

from deepfake_service.notices.compose import Composed, Section
from deepfake_service.notices.kinds import Kind
from deepfake_service.platform.texts.characters import readable, revealed_url
from deepfake_service.platform.texts.formatting import day, to_the_second
from deepfake_service.platform.texts.i18n import Words, words
from deepfake_service.platform.texts.typesetting import pdf_of


@dataclass(frozen=True, slots=True)
class Post:
    """Where and when a screenshot was taken, as far as is known."""

    url: str | None
    captured_at: str | None
    """According to who captured it."""
    recorded_at: str

    def __repr__(self) -> str:
        return "Post()"


@dataclass(frozen=True, slots=True)
class Capture:
    """A screenshot of a post, as a page of the PDF shows it."""

    post: Post
    sha256: str | None = None
    """Of the stored file; ``None`` if it was deleted."""
    jpeg: bytes | None = None
    """The picture; ``None`` if it was deleted or could not be decoded."""
    size: tuple[int, int] = (0, 0)
    blurred: bool = False

    def __repr__(self) -> str:
        return "Capture()"


@dataclass(frozen=True, slots=True)
class Imprint:
    """Who sends a notice, and when it was made."""

    issuer: str
    at: datetime
    sender: str | None
    """The name of the organisation in the language of the notice."""
    reached_at: Sequence[str]
    """How the organisation is reached."""


def notice_pdf(
    kind: Kind,
    composed: Composed,
    language: str,
    imprint: Imprint,
    captures: Sequence[Capture] = (),
) -> bytes:
    """Return a notice as a PDF/A, with a page for each capture."""
    data = notice_data(kind, composed, language, imprint, captures)
    room = files("deepfake_service.notices")
    shared, letter = room / "templates" / "shared.typ", room / "templates" / "letter.typ"
    folder = room / "kinds" / kind.id.replace("-", "_")
    template = folder / kind.template if kind.template else letter
    return pdf_of(shared.read_bytes() + template.read_bytes(), data, imprint.at)


def notice_data(
    kind: Kind,
    composed: Composed,
    language: str,
    imprint: Imprint,
    captures: Sequence[Capture] = (),
) -> dict[str, Any]:
    """Return the texts and pictures of a notice's PDF: the cells of a form, or rows of a letter."""
    t = words(language, "notice", polite=True)
    return {
        "title": composed.title,
        "opening": composed.opening,
        "lang": language,
        "characters_note": words(language, polite=True)("characters_note"),
        "issuer": readable(imprint.sender or imprint.issuer),
        "sender": [readable(line) for line in imprint.reached_at],
        "date": day(imprint.at, language),
        "captures": [_capture(c, number, len(captures), t) for number, c in enumerate(captures, 1)],
        **(
            _form(kind, composed, t)
            if kind.template
            else {"rows": [_row(s) for s in composed.sections]}
        ),
    }


def _row(section: Section) -> dict[str, Any]:
    return {
        "label": readable(section.heading),
        "provision": section.provision and readable(section.provision),
        "lines": [readable(line) for line in section.lines],
    }


def _form(kind: Kind, composed: Composed, t: Words) -> dict[str, Any]:
    """Return the cells of a statutory form, by the names of the notice's fields."""
    cells = {s.name: [readable(line) for line in s.lines] for s in composed.sections}
    texts = {name: text.of(t.language) for name, text in kind.form.items()}
    dates = {
        name: date.fromisoformat(cells[name][0])
        for name, field in kind.fields.items()
        if field.type == "date" and name in cells
    }
    return {
        "cells": cells,
        "choices": {
            name: [
                {"text": c.of(t.language), "is_marked": c.of(t.language) in cells.get(name, ())}
                for c in field.choices
            ]
            for name, field in kind.fields.items()
            if field.choices
        },
        "dates": {
            name: texts["date"].format(year=at.year, month=at.month, day=at.day)
            for name, at in dates.items()
        },
        "addressee": texts["addressee"].format(name=cells["to"][0]) if "to" in cells else None,
        "texts": texts,
        "words": t.plain,
    }


def _capture(capture: Capture, number: int, count: int, t: Words) -> dict[str, Any]:
    post = capture.post
    url = readable(revealed_url(post.url)) if post.url else t("no_url")
    when = "captured_at" if post.captured_at else "recorded_at"
    at = to_the_second(post.captured_at or post.recorded_at, t.language)
    rows = [(t("capture_url"), url), (t(when), at)]
    if capture.sha256:
        rows.append((t("capture_sha256"), capture.sha256))
    note = t("capture_blurred") if capture.blurred else None
    if capture.jpeg is None:
        note = t("capture_unreadable" if capture.sha256 else "capture_gone")
    return {
        "heading": t("capture_heading", number=number, count=count),
        "rows": rows,
        "picture": capture.jpeg and _svg(capture.jpeg, *capture.size),
        "alt": t("capture_heading", number=number, count=count),
        "note": note,
    }


def _svg(jpeg: bytes, width: int, height: int) -> str:
    """Return an SVG that holds a picture: texts are all that Typst takes from its caller."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><image width="{width}" height="{height}" '
        f'href="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"/></svg>'
    )
