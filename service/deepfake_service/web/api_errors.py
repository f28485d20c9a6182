"""Errors of the HTTP API in the language of a page, for forms that scripts send to the API."""

from __future__ import annotations

from deepfake_service.documents.i18n import LANGUAGES, translations
from deepfake_service.http.problems import problem_of
from deepfake_service.web.submit import CELL_MESSAGES, SHOWN_PROBLEMS

SCREENSHOT_FORMAT = "send a PNG, JPEG or WebP picture"
_ENGLISH = LANGUAGES[1]
_DETAILS = {
    SCREENSHOT_FORMAT: SCREENSHOT_FORMAT,
    "use printable characters only": CELL_MESSAGES["not_printable"],
    "send a time in ISO 8601, for example 2026-01-31T12:00:00Z": CELL_MESSAGES["not_a_time"],
    "add a time zone; end the time with Z for UTC": CELL_MESSAGES["no_time_zone"],
    "send a time that is not in the future": CELL_MESSAGES["in_the_future"],
    "send a URL that begins with http:// or https://": CELL_MESSAGES["not_a_url"],
    "The occurrence is empty. Send a field or a screenshot with it.": (
        "The occurrence is empty. Send a field or a screenshot with it."
    ),
}
"""What the API says of a field, and the console's text for it."""


def api_errors(language: str) -> dict[str, str]:
    """Return the console's texts by the English detail, and for other details by the code.

    It is empty for English pages, which show what the API says.
    """
    if language == _ENGLISH:
        return {}
    translate = translations(language).gettext
    problems = [problem_of(kind()) for kind in SHOWN_PROBLEMS]
    return {
        **{problem.code: translate(problem.detail) for problem in problems},
        **{detail: translate(text) for detail, text in _DETAILS.items()},
    }
