"""Typesetting by Typst: data and a template to a PDF/A-3, in a font that has Hangul."""

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
    """Text of somebody else's as a document may show it.

    One glyph that the font lacks aborts a whole PDF/A, and marks of direction could make a URL read
    as another one: control and formatting characters go, what has no glyph becomes a box.
    """
    kept = []
    for char in unicodedata.normalize("NFC", text[:MAX_TEXT_CHARS]):
        category = unicodedata.category(char)
        if char in "\n\t" or category.startswith("Z"):
            kept.append(" ")
        elif category.startswith("C"):
            continue
        else:
            kept.append(char if ord(char) in _glyphs() else _REPLACEMENT)
    shown = "".join(kept).strip()
    return f"{shown} …" if len(text) > MAX_TEXT_CHARS else shown


def pdf_of(template: bytes, data: dict[str, Any], at: datetime) -> bytes:
    """The PDF/A-3b that ``template`` makes of ``data``, dated ``at``; the same bytes each time."""
    pdf: bytes = typst.compile(
        template,
        font_paths=_fonts(),
        sys_inputs={"data": json.dumps(data, ensure_ascii=False)},
        pdf_standards=["a-3b"],
        timestamp=at.replace(microsecond=0),  # it takes whole seconds
    )
    # Typst ends with "%%EOF" without a newline, and a signature is appended: without one in between
    # the signed file is no PDF/A any more (ISO 19005-3, 6.1.9).
    return pdf + b"\n"
