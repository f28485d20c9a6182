"""Typesetting with Typst: a template and data become a PDF/A-3, in a font that has Hangul."""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime
from functools import cache
from typing import Any

import typst
from fontTools.ttLib import TTFont
from pylopdf_fonts_ko import sans_path

MAX_TEXT_CHARS = 6000
_REPLACEMENT = "□"


@cache
def _glyphs() -> frozenset[int]:
    with TTFont(sans_path(), lazy=True) as font:
        return frozenset(font.getBestCmap())


@cache
def _fonts() -> typst.Fonts:
    return typst.Fonts(
        include_system_fonts=False,
        include_embedded_fonts=False,
        font_paths=[str(sans_path().parent)],
    )


def readable(text: str) -> str:
    """Return text of unknown origin in a form that a document can show.

    A single glyph that the font lacks makes Typst refuse the whole PDF/A, and bidirectional marks
    can make a URL read as another one. So control and formatting characters are removed, and a
    character without a glyph becomes a box.
    """
    shown_chars = []
    for char in unicodedata.normalize("NFC", text[:MAX_TEXT_CHARS]):
        category = unicodedata.category(char)
        if char in "\n\t" or category.startswith("Z"):
            shown_chars.append(" ")
        elif category.startswith("C"):
            continue
        else:
            shown_chars.append(char if ord(char) in _glyphs() else _REPLACEMENT)
    shown = "".join(shown_chars).strip()
    return f"{shown} …" if len(text) > MAX_TEXT_CHARS else shown


def pdf_of(template: bytes, data: dict[str, Any], at: datetime) -> bytes:
    """Return the PDF/A-3b (ISO 19005-3) that ``template`` makes of ``data``, dated ``at``.

    The same arguments give the same bytes.
    """
    pdf: bytes = typst.compile(
        template,
        font_paths=_fonts(),
        sys_inputs={"data": json.dumps(data, ensure_ascii=False)},
        pdf_standards=["a-3b"],
        timestamp=at.replace(microsecond=0),  # Typst takes whole seconds
    )
    # Typst ends the file with "%%EOF" and no newline. A signature is appended as an incremental
    # update, and without a newline before it the signed file would not be a PDF/A (ISO 19005-3,
    # 6.1.9).
    return pdf + b"\n"
