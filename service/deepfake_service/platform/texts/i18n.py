"""The languages of reports, notices and pages, and their texts.

Texts are in three gettext catalogues in ``locale/``, each of which holds English and Korean side by
side. In ``console.ko.po`` the English is that of the templates. In ``report.ko.po`` and
``notice.ko.po`` the context (``msgctxt``) is a key, by which the code asks for a text. Run
``make catalogue`` after changing a text: it reports what does not match.
"""

from __future__ import annotations

import io
from functools import cache
from importlib.resources import files

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

from deepfake_service.platform.texts.speech_levels import to_polite

LANGUAGES = ("ko", "en")
"""The first is the one used where a reader states no preference."""
CATALOGUES = ("console", "report", "notice")
_ENGLISH = "en"
_TRANSLATION = "ko"


class Words:
    """The texts of one catalogue in one language: ``words("key", value=...)``."""

    def __init__(self, language: str, texts: dict[str, str]) -> None:
        self.language = language
        self._texts = texts

    def __call__(self, key: str, /, **values: object) -> str:
        text = self._texts[key]
        return text.format(**values) if values else text

    def of(self, group: str, name: str) -> str:
        """Return the text with the key ``group.name``, or ``name`` if there is none."""
        return self._texts.get(f"{group}.{name}", name)

    def stored(self, english: str) -> str:
        """Translate a sentence that an examination stored in English, if it is a known one."""
        english_texts = words("en")._texts  # noqa: SLF001 - of this class
        keys = {text: key for key, text in english_texts.items() if key.startswith("stored.")}
        return self._texts[keys[english]] if english in keys else english

    def list(self, group: str) -> list[str]:
        """Return all texts of a group in the catalogue's order, their placeholders unfilled."""
        return [text for key, text in self._texts.items() if key.startswith(f"{group}.")]

    @property
    def plain(self) -> dict[str, str]:
        """The texts that belong to no group, by key."""
        return {key: text for key, text in self._texts.items() if "." not in key}


@cache
def words(language: str, catalogue: str = "report", *, polite: bool = False) -> Words:
    """Return the texts of a catalogue that has keys, ``report`` or ``notice``, in a language.

    Korean texts are in the plain style of documents; with ``polite`` in that of the
    console and of letters.
    """
    texts = {}
    for message in load(catalogue):
        if message.context:
            text = message.id if language == _ENGLISH else message.string
            assert isinstance(text, str)  # only the console's catalogue has plurals
            texts[message.context] = to_polite(text) if polite else text
    return Words(language, texts)


@cache
def translations(language: str) -> NullTranslations:
    """Return gettext's functions for the console's pages; English texts are the templates' own."""
    if language == _ENGLISH:
        return NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, load("console"))
    compiled.seek(0)
    return Translations(compiled)


def load(catalogue: str) -> Catalog:
    """Read one of ``CATALOGUES``."""
    path = files("deepfake_service.platform.texts") / "locale" / f"{catalogue}.{_TRANSLATION}.po"
    with path.open("rb") as file:
        return read_po(file, locale=_TRANSLATION)
