"""The language of a page: the browser's, unless somebody has switched; texts by gettext."""

from __future__ import annotations

import io
from functools import cache
from importlib.resources import files

from babel.core import negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from starlette.requests import Request

LANGUAGES = ("ko", "en")
COOKIE = "language"
MAX_HEADER = 500


def language_of(request: Request) -> str:
    """``ko`` or ``en``: by the switch's cookie, else as the browser prefers, else Korean."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    accepted = request.headers.get("accept-language", "")[:MAX_HEADER]
    wanted = [part.partition(";")[0].strip() for part in accepted.split(",")]
    return negotiate_locale(wanted, LANGUAGES, sep="-") or LANGUAGES[0]


@cache
def translations(language: str) -> NullTranslations:
    """The texts of a language, read from its catalogue; English is what the templates say."""
    catalogue = files("deepfake_service.web") / "locale" / f"{language}.po"
    if not catalogue.is_file():
        return NullTranslations()
    compiled = io.BytesIO()
    with catalogue.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return Translations(compiled)
