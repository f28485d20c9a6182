"""PDFs in any script: glyphs where a font has them, code points and a note where none has."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader

from deepfake_service.platform.texts import typesetting
from deepfake_service.platform.texts.characters import readable
from deepfake_service.platform.texts.i18n import words
from deepfake_service.platform.texts.typesetting import pdf_of

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEMPLATE = b"""#let d = json(bytes(sys.inputs.data))
#set document(title: "t", date: auto)
#set text(font: d.fonts, lang: d.lang)
#d.text
#if d.characters_note != none [#d.characters_note]
"""
SCRIPTS = {
    "Arabic": "محمد الفاسي",
    "Persian, with a non-joiner": "می\u200cخواهم",
    "Hebrew": "דוד לוי",
    "Korean": "김신고",
    "Greek and Cyrillic": "Ελληνικά Привет",
}
CUNEIFORM = "\U00012000"


def characters_in(pdf: bytes) -> set[str]:
    """Return the characters that the fonts of the first page have glyphs for."""
    found: set[str] = set()
    page = PdfFileReader(io.BytesIO(pdf)).root["/Pages"]["/Kids"][0]
    fonts = page["/Resources"]["/Font"]
    for name in fonts:
        cmap = fonts[name]["/ToUnicode"].data.decode("ascii")
        # Each line of a bfchar or bfrange section ends with the text of a glyph.
        for line in re.findall(r"^<[0-9A-Fa-f]+>.*$", cmap, re.MULTILINE):
            code = re.findall(r"<([0-9A-Fa-f]+)>", line)[-1]
            found |= set(bytes.fromhex(code).decode("utf-16-be"))
    return found


def made(text: str, language: str = "en") -> bytes:
    data = {
        "text": readable(text),
        "lang": language,
        "characters_note": words(language)("characters_note"),
    }
    return pdf_of(TEMPLATE, data, AT)


@pytest.mark.parametrize("script", SCRIPTS)
def test_letters_of_other_scripts_have_glyphs(script: str) -> None:
    letters = {c for c in SCRIPTS[script] if c.isalpha()}
    assert letters <= characters_in(made(SCRIPTS[script]))


@pytest.mark.parametrize(("language", "note"), [("en", "font"), ("ko", "글꼴")])
def test_a_character_without_a_glyph_is_named_and_the_document_says_so(
    language: str, note: str
) -> None:
    shown = characters_in(made(f"a{CUNEIFORM}b", language))
    assert CUNEIFORM not in shown
    assert set("[U+12000]") <= shown
    assert set(note) <= shown
    assert "…" not in characters_in(made("ab", language))  # no note where nothing is missing


def test_a_message_of_typst_that_is_not_understood_leaves_the_main_font(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever Typst calls a missing glyph, a document is made."""
    monkeypatch.setattr(typesetting, "_UNSHOWN", re.compile("no such message (.)"))
    shown = characters_in(made(f"가{CUNEIFORM}א"))
    assert "가" in shown
    assert not {CUNEIFORM, "א"} & shown


def test_the_same_data_make_the_same_bytes() -> None:
    assert made("가 א م" + CUNEIFORM) == made("가 א م" + CUNEIFORM)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a\u202eb", "a[U+202E]b"),
        ("a\x00b", "a[U+0000]b"),
        ("a\nb\tc", "a b c"),
        (" a" + "\n" * 9 + " " * 90 + "b ", "a b"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("Jose\u0301", "José"),
    ],
)
def test_a_text_is_made_readable(given: str, shown: Any) -> None:
    assert readable(given) == shown


@pytest.mark.parametrize(
    "markup",
    [
        "#str(6*7)", '#read("/etc/passwd")', "#panic()", "$6 dot 7$", "*b* _i_ `r`", "@x <y>",
        "= H", "\\u{34}", "/* c */ //d", "[#x]",
    ],
)  # fmt: skip
def test_markup_in_a_text_is_shown_and_not_evaluated(markup: str) -> None:
    shown = characters_in(made(markup))
    assert set(markup) - {" "} <= shown
    assert "2" not in shown or "2" in markup  # 42, the result of the first one
