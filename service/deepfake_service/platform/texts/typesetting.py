"""Typesetting with Typst: a template and data become a PDF/A-3, in a font that has Hangul.

Letters that this font lacks are taken from the fonts of the system, and else from those that Typst
includes, which have Hebrew, Arabic, Greek and Cyrillic. Typst shapes them and orders them from
right to left where their script is written so (UAX #9).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

import typst
from fontTools.ttLib import TTFont
from pylopdf_fonts_ko import sans_path

from deepfake_service.platform.texts.characters import code_point, with_texts

FONTS = (
    "Noto Sans KR", "Noto Sans Hebrew", "Noto Sans Arabic", "Noto Naskh Arabic", "DejaVu Sans",
    "Libertinus Serif", "DejaVu Sans Mono",
)  # fmt: skip
"""Families in the order in which they are searched for a glyph; after these, all others."""
_MARK = re.compile(r"\[U\+[0-9A-F]{4,6}\]")
"""The code point of a character that is not shown."""
_UNSHOWN = re.compile(r'the text `"((?:[^"\\]|\\.)+)"` could not be displayed')
"""Typst's message about a text without a glyph, quoted as Rust does."""
_ESCAPED = re.compile(r"\\u\{([0-9a-f]+)\}|\\(.)")
_MAX_ATTEMPTS = 3


@functools.cache
def _glyphs() -> frozenset[int]:
    with TTFont(sans_path(), lazy=True) as font:
        return frozenset(font.getBestCmap())


@functools.cache
def _fonts() -> typst.Fonts:
    return typst.Fonts(
        include_system_fonts=True,
        include_embedded_fonts=True,
        font_paths=[str(sans_path().parent)],
    )


def pdf_of(template: bytes, data: Mapping[str, object], at: datetime) -> bytes:
    """Return the PDF/A-3b (ISO 19005-3) that ``template`` makes of ``data``, dated ``at``.

    A glyph that no font has would make Typst refuse the whole PDF/A. Such characters are set as
    their code points. The same arguments and fonts give the same bytes.

    Args:
        data: all texts; ``characters_note`` says what a code point stands for, and is left out
            where the document has none.
    """
    missing: set[str] = set()
    for _ in range(_MAX_ATTEMPTS):
        try:
            return _compiled(template, data, at, functools.partial(_with_named, missing))
        except typst.TypstError as error:
            unshown = {
                _ESCAPED.sub(lambda m: chr(int(m[1], 16)) if m[1] else m[2], text)
                for text in _UNSHOWN.findall(error.diagnostic)
            }
            if not unshown:
                break
            missing |= unshown
    return _compiled(template, data, at, _in_main_font)


def _compiled(
    template: bytes, data: Mapping[str, object], at: datetime, change: Callable[[str], str]
) -> bytes:
    """Set ``data`` with its texts changed."""
    content = {**with_texts(data, change), "fonts": FONTS}
    if not _MARK.search(json.dumps(content, ensure_ascii=False)):
        content["characters_note"] = None
    pdf: bytes = typst.compile(
        template,
        font_paths=_fonts(),
        sys_inputs={"data": json.dumps(content, ensure_ascii=False)},
        pdf_standards=["a-3b"],
        timestamp=at.replace(microsecond=0),  # Typst takes whole seconds
    )
    # Typst ends the file with "%%EOF" and no newline. A signature is appended as an incremental
    # update, and without a newline before it the signed file would not be a PDF/A (ISO 19005-3,
    # 6.1.9).
    return pdf + b"\n"


def _with_named(missing: Collection[str], text: str) -> str:
    """Return ``text`` with the code points of the characters in ``missing``, longest first."""
    if not missing:
        return text
    pattern = "|".join(re.escape(each) for each in sorted(missing, key=len, reverse=True))
    return re.sub(pattern, lambda match: _named(match[0]), text)


def _named(text: str) -> str:
    """Return the code points of the characters in ``text``."""
    return "".join(f"[{code_point(char)}]" for char in text)


def _in_main_font(text: str) -> str:
    """Return ``text`` with the code points of all characters that the main font lacks."""
    return "".join(c if ord(c) in _glyphs() or c == "\n" else _named(c) for c in text)
