"""The page on which files are submitted: it checks rows before they are sent, and shows what
became of those that were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import JSONResponse
from pydantic import Field, ValidationError

from deepfake_models.bundle.results import input_at_fault
from deepfake_service.examination.submissions import MAX_FRAMES
from deepfake_service.http.auth import CSRF_HEADER, check_csrf
from deepfake_service.http.problems import problem_of
from deepfake_service.http.submission_form import VideoForm
from deepfake_service.platform import errors
from deepfake_service.platform.db.enums import Priority
from deepfake_service.platform.errors import FieldError
from deepfake_service.platform.texts.i18n import translations
from deepfake_service.web.pages import HEADERS, PageRoute, Reader

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MAX_JOBS = 100
"""Jobs of one request: their ids have 30 characters each in its address, of which proxies take
8,000 in all."""
MAX_ROWS = 50
"""Rows of one request: each has up to 8,000 characters, and the body of a request 1 MiB."""
OTHER = "not a valid value"
INPUT_MESSAGES = {
    "string_too_long": "at most {max_length} characters are allowed",
    "string_too_short": "required",
    "literal_error": "choose one",
    "date_from_datetime_parsing": "choose a date",
    "too_long": "choose at most {max_length} posts",
    "not_printable": "use printable characters only",
    "not_a_url": "enter a URL that begins with http:// or https://",
    "not_a_time": "enter a time such as 2026-01-31 21:00",
    "no_time_zone": "add the time and its zone, for example 2026-01-31T21:00+09:00",
    "in_the_future": "enter a time that is not in the future",
    "not_a_number": "enter a whole number from 1 to {most}",
    "greater_than_equal": "enter a whole number from 1 to {most}",
    "less_than_equal": "enter a whole number from 1 to {most}",
}
"""What is wrong with an input, by the type of Pydantic's error."""
SHOWN_PROBLEMS = (
    errors.BeingDeleted, errors.CaseHeld, errors.CrossSiteRequest,
    errors.DatabaseUnavailable, errors.DiskFull, errors.Forbidden, errors.InvalidRequest,
    errors.MalformedRequest, errors.NotAuthenticated, errors.NotFound, errors.NotReady,
    errors.Overloaded, errors.RequestTooLarge, errors.StorageUnavailable,
    errors.TooManyAtOnce, errors.TooManyOccurrences, errors.TooManyRequests, errors.UploadExpired,
    errors.UploadTimeout,
)  # fmt: skip
"""What the API may answer to an upload or to its cancellation; the API answers in English."""

SCREENSHOT_FORMAT = "send a PNG, JPEG or WebP picture"
_DETAILS = {
    SCREENSHOT_FORMAT: SCREENSHOT_FORMAT,
    "use printable characters only": INPUT_MESSAGES["not_printable"],
    "send a time in ISO 8601, for example 2026-01-31T12:00:00Z": INPUT_MESSAGES["not_a_time"],
    "add a time zone; end the time with Z for UTC": INPUT_MESSAGES["no_time_zone"],
    "send a time that is not in the future": INPUT_MESSAGES["in_the_future"],
    "send a URL that begins with http:// or https://": INPUT_MESSAGES["not_a_url"],
    "The occurrence is empty. Send a field or a screenshot with it.": (
        "The occurrence is empty. Send a field or a screenshot with it."
    ),
}
"""What the API says of a field, and the console's text for it."""

Ids = list[Annotated[str, Field(max_length=26)]]
Jobs = Annotated[Ids, Query(alias="job", max_length=MAX_JOBS, default_factory=list)]
Known = Annotated[Ids, Query(alias="known", max_length=MAX_JOBS, default_factory=list)]
Rows = Annotated[
    list[Annotated[dict[str, str], Field(max_length=len(VideoForm.model_fields))]],
    Body(max_length=MAX_ROWS),
]


@router.get("/submit")
def get_submit(visit: Reader) -> Response:
    """Show the form for uploads. Scripts make the table of files."""
    return visit.page(
        "submit.html",
        most=visit.state.settings.max_video_bytes,
        problems=api_errors(visit.language),
        opens_links=visit.state.settings.capture_links,
        priorities=[str(p) for p in Priority],
        default_priority=str(VideoForm.model_fields["priority"].default),
    )


@router.post("/submit/check")
def post_check(visit: Reader, rows: Rows) -> Response:
    """Return what is wrong with the cells of rows, by the rules of ``POST /v1/videos``. Neither
    stores nor logs anything of them."""
    check_csrf(visit.request, visit.request.headers.get(CSRF_HEADER))
    found = [
        [{"field": e.field, "detail": e.translated(visit.translate)} for e in _invalid_cells(row)]
        for row in rows
    ]
    return JSONResponse({"rows": found}, headers=HEADERS)


@router.get("/submit/jobs")
def get_submitted(visit: Reader, jobs: Jobs, known: Known) -> Response:
    """Return the rows of jobs that the account submitted. ``known`` are those that existed before
    the browser sent their file: they are not offered for cancellation."""
    listed = visit.services.queries.jobs_of(visit.caller, jobs, submitted=True)
    for job in listed:
        job["unreadable"] = any(map(input_at_fault, job["reasons"]))
    return visit.page("submitted.html", jobs=listed, known=set(known))


def _invalid_cells(row: Mapping[str, str]) -> list[FieldError]:
    try:
        VideoForm.model_validate({name: value for name, value in row.items() if value})
    except ValidationError as error:
        return input_errors(error)
    return []


def input_errors(error: ValidationError) -> list[FieldError]:
    """Return what is wrong with inputs, in the words of the console."""
    found = []
    for problem in error.errors(include_url=False, include_input=False):
        template = INPUT_MESSAGES.get(problem["type"], OTHER)
        values = {"most": MAX_FRAMES, "max_length": problem.get("ctx", {}).get("max_length", 0)}
        field = str(problem["loc"][0])[:64]
        found.append(FieldError(field, template.format_map(values), template, values))
    return found


def api_errors(language: str) -> dict[str, str]:
    """Return the console's texts by the English detail, and for other details by the code. It is
    empty for English pages, which show what the API says."""
    if language == "en":
        return {}
    translate = translations(language).gettext
    problems = [problem_of(kind()) for kind in SHOWN_PROBLEMS]
    return {
        **{problem.code: translate(problem.detail) for problem in problems},
        **{detail: translate(text) for detail, text in _DETAILS.items()},
    }
