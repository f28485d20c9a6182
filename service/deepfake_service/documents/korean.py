"""Korean speech levels: reports use the plain style (한다체), the console the polite one (합쇼체).

The texts of reports are also shown in the console. They are written once, in the plain style, and
their final endings are converted here. Only declarative sentences occur, whose endings follow from
the last syllable of the stem:

=====================  =========  ==========  ==========================
stem of the verb       plain      polite      example
=====================  =========  ==========  ==========================
any, with 는            -는다      -습니다      않는다 → 않습니다
final consonant ㄴ      -ㄴ다      -ㅂ니다      나타낸다 → 나타냅니다
other final consonant  -다        -습니다      있다 → 있습니다
no final consonant     -다        -ㅂ니다      아니다 → 아닙니다
=====================  =========  ==========  ==========================
"""

from __future__ import annotations

import re

_ENDING = re.compile(r"([가-힣]?)([가-힣])다(?=\s*[.(]|$)")
"""A final ending, before a full stop, a parenthesis or the end of the text."""
_SYLLABLES = 0xAC00
"""The first Hangul syllable; the final consonant varies fastest (Unicode, section 3.12)."""
_FINALS = 28
_NO_FINAL, _NIEUN, _BIEUP = 0, 4, 17
"""Indices of final consonants: none, ㄴ, ㅂ."""


def to_polite(text: str) -> str:
    """Return ``text`` with the endings of its sentences in the polite style."""
    return _ENDING.sub(_polite_ending, text)


def _polite_ending(match: re.Match[str]) -> str:
    before, stem = match.groups()
    if stem == "는":
        return f"{before}습니다"
    if stem == "니" and before and _final(before) == _BIEUP:
        return match[0]  # polite already
    if _final(stem) in (_NO_FINAL, _NIEUN):
        return f"{before}{chr(ord(stem) - _final(stem) + _BIEUP)}니다"
    return f"{before}{stem}습니다"


def _final(syllable: str) -> int:
    """Return the index of the final consonant of a Hangul syllable."""
    return (ord(syllable) - _SYLLABLES) % _FINALS
