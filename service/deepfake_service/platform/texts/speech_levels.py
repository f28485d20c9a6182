"""Korean speech levels: plain (한다체) in reports, polite (합쇼체) in the console and in notices.

The console also shows the texts of reports. All texts of reports and notices are written in the
plain style, and their final endings are converted here. The ending of a sentence follows from the
last syllable of the stem:

=====================  =========  ==========  ==========================
stem of the verb       plain      polite      example
=====================  =========  ==========  ==========================
any, with 는            -는다      -습니다      않는다 → 않습니다
final consonant ㄴ      -ㄴ다      -ㅂ니다      나타낸다 → 나타냅니다
final consonant ㄹ      -ㄹ다      -ㅂ니다      길다 → 깁니다
other final consonant  -다        -습니다      있다 → 있습니다
no final consonant     -다        -ㅂ니다      아니다 → 아닙니다
question               -는가?     -ㅂ니까?     틀리는가? → 틀립니까?
=====================  =========  ==========  ==========================
"""

from __future__ import annotations

import re

_ENDING = re.compile(r"([가-힣]?)([가-힣])다(?=\s*[.(:]|$)")
"""A final ending, before a full stop, a colon, a parenthesis or the end of the text."""
_QUESTION = re.compile(r"([가-힣])는가(?=\?)")
_SYLLABLES = 0xAC00
"""The first Hangul syllable; the final consonant varies fastest (Unicode, section 3.12)."""
_FINALS = 28
_NO_FINAL, _NIEUN, _RIEUL, _BIEUP = 0, 4, 8, 17
"""Indices of final consonants: none, ㄴ, ㄹ, ㅂ."""


def to_polite(text: str) -> str:
    """Return ``text`` with the endings of its sentences in the polite style."""
    questions = _QUESTION.sub(lambda m: f"{_polite_stem(m[1])}니까", text)
    return _ENDING.sub(_polite_ending, questions)


def _polite_ending(match: re.Match[str]) -> str:
    before, stem = match.groups()
    if stem == "는":
        return f"{before}습니다"
    if stem == "니" and before and _final(before) == _BIEUP:
        return match[0]  # polite already
    return f"{before}{_polite_stem(stem)}니다"


def _polite_stem(stem: str) -> str:
    """Return the last syllable of a stem in the form it has before 니다 and 니까."""
    if _final(stem) in (_NO_FINAL, _NIEUN, _RIEUL):
        return chr(ord(stem) - _final(stem) + _BIEUP)
    return f"{stem}습"


def _final(syllable: str) -> int:
    """Return the index of the final consonant of a Hangul syllable."""
    return (ord(syllable) - _SYLLABLES) % _FINALS
