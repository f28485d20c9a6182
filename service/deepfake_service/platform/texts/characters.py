"""Characters that a reader cannot see, which can make a text read as another one.

Bidirectional controls reorder what is shown, and invisible characters hide differences or content.
Letters of every script are ordinary, also those of Arabic and Hebrew, which are written from right
to left without any control.

Two invisible characters are part of how some languages are spelt: ZERO WIDTH NON-JOINER (Persian
and Indic scripts) and ZERO WIDTH JOINER (Indic scripts and composed emoji). They change the shape
of their neighbours, never the order, and are ordinary right after a character that they can join.
Elsewhere, as between Latin or Korean letters, they cannot be seen and are refused.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from typing import TypeVar, cast
from urllib.parse import quote

T = TypeVar("T")
MAX_TEXT_CHARS = 6000
"""More than any field accepts: a statement has up to 5,000 characters. A longer text, as a forged
bundle may have, is cut off."""
JOINERS = "\u200c\u200d"
"""ZERO WIDTH NON-JOINER and ZERO WIDTH JOINER."""
_JOINING_SCRIPTS = frozenset(
    (
        "ARABIC", "SYRIAC", "MONGOLIAN", "NKO", "MANDAIC", "DEVANAGARI", "BENGALI", "GURMUKHI",
        "GUJARATI", "ORIYA", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "MYANMAR",
        "KHMER", "TIBETAN",
    )
)  # fmt: skip
"""First words of the Unicode names of the characters of scripts in which letters are joined."""
_VISIBLE_FORMAT = frozenset(
    (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD)
)
"""Format characters (Cf) that are shown: Arabic and other signs around numbers."""
_BLANK = frozenset((0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0))
"""Letters, marks and symbols that are shown as nothing, for instance the Hangul fillers."""
_SELECTORS = frozenset((*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
"""Variation selectors, which choose a form of the character before them."""
_SINGLE = str.maketrans(dict.fromkeys('"“”„‟«»「」『』＂〝〞', "'"))
"""Double quotation marks of all scripts that documents here have, as a single one."""


def hidden(text: str, *, lines: bool = True) -> Iterator[tuple[int, str]]:
    """Yield the index of every character that is not shown, and the character. With ``lines``, line
    breaks and tabs are ordinary."""
    for index, char in enumerate(text):
        if char in "\n\t" and lines:
            continue
        if _is_hidden(char, text[index - 1] if index else " "):
            yield index, char


class HiddenCharacter(ValueError):
    """A text has a character that is not shown. The message names it and its position."""

    TEMPLATE = "contains the invisible character {code} at position {position}; delete it"

    def __init__(self, char: str, index: int) -> None:
        self.values: dict[str, str | int] = {"code": code_point(char), "position": index + 1}
        super().__init__(self.TEMPLATE.format_map(self.values))


def shown(text: str, *, lines: bool) -> str:
    """Return ``text``, or raise ``HiddenCharacter`` if a character of it is not shown. With
    ``lines``, line breaks and tabs are ordinary."""
    for index, char in hidden(text, lines=lines):
        raise HiddenCharacter(char, index)
    return text


def code_point(char: str) -> str:
    """Return the code point of a character as Unicode writes it, for instance ``U+202E``."""
    return f"U+{ord(char):04X}"


def revealed(text: str) -> str:
    """Return ``text`` with the code points of characters that are not shown, as ``[U+202E]``. This
    is for what others wrote, for instance the name of an account."""
    found = dict(hidden(text, lines=False))
    return "".join(f"[{code_point(c)}]" if i in found else c for i, c in enumerate(text))


def revealed_url(url: str) -> str:
    """Return ``url`` with percent codes (RFC 3987, 3.1) for characters that are not shown. The URL
    leads to the same place."""
    found = dict(hidden(url, lines=False))
    return "".join(quote(c) if i in found else c for i, c in enumerate(url))


def readable(text: str) -> str:
    """Return text of unknown origin in a form that a document can show, on one line.

    Bidirectional marks can make a URL read as another one: characters that are not shown become
    their code points. Runs of spaces, which would break a line and begin another one that reads as
    the document's own, become one space.
    """
    normal = unicodedata.normalize("NFC", text[:MAX_TEXT_CHARS])
    spaced = (" " if c in "\n\t" or unicodedata.category(c).startswith("Z") else c for c in normal)
    shown = revealed(" ".join("".join(spaced).split()))
    return f"{shown} …" if len(text) > MAX_TEXT_CHARS else shown


def quoted(text: str) -> str:
    """Return what an unknown author wrote between quotation marks that it cannot close, so that it
    does not read as a sentence of the document."""
    return f"“{text.translate(_SINGLE)}”"


def with_texts(value: T, change: Callable[[str], str]) -> T:
    """Return JSON data with every text in it changed, but no names."""
    changed: object = value
    if isinstance(value, dict):
        changed = {name: with_texts(each, change) for name, each in value.items()}
    elif isinstance(value, list | tuple):
        changed = [with_texts(each, change) for each in value]
    elif isinstance(value, str):
        changed = change(value)
    return cast(T, changed)


def _is_hidden(char: str, before: str) -> bool:
    category = unicodedata.category(char)
    if char in JOINERS:
        return not _joins(before)
    if ord(char) in _SELECTORS:
        return unicodedata.category(before)[0] in "CZ" or ord(before) in _SELECTORS
    if ord(char) in _VISIBLE_FORMAT:
        return False
    return category[0] == "C" or category in ("Zl", "Zp") or ord(char) in _BLANK


def _joins(before: str) -> bool:
    """Return whether a joiner after this character changes how it is written."""
    if unicodedata.category(before) in ("So", "Sk") or ord(before) == 0xFE0F:
        return True  # an emoji, its skin tone, or its selector
    return unicodedata.name(before, "").partition(" ")[0] in _JOINING_SCRIPTS
