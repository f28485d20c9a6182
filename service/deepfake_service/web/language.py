"""The language of a page: the one chosen with the switch, else the browser's."""

from __future__ import annotations

from babel.core import negotiate_locale
from starlette.requests import Request

from deepfake_service.documents.i18n import LANGUAGES

COOKIE = "language"
MAX_HEADER = 500


def language_of(request: Request) -> str:
    """Return ``ko`` or ``en``: by the switch's cookie, else ``Accept-Language``, else Korean."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    accepted = request.headers.get("accept-language", "")[:MAX_HEADER]
    preferred = [part.partition(";")[0].strip() for part in accepted.split(",")]
    return negotiate_locale(preferred, LANGUAGES, sep="-") or LANGUAGES[0]
