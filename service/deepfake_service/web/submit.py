"""The page on which files are submitted: it checks rows before they are sent, and shows what
became of those that were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import JSONResponse
from pydantic import Field, ValidationError

from deepfake_service.http.auth import CSRF_HEADER, check_csrf
from deepfake_service.http.problems import invalid_fields
from deepfake_service.http.submission_form import VideoForm
from deepfake_service.platform.errors import FieldError
from deepfake_service.platform.texts.i18n import LANGUAGES, translations
from deepfake_service.web.pages import HEADERS, PageRoute, Reader, Visit

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MAX_JOBS = 100
"""Jobs of one request: their ids have 30 characters each in its address, of which proxies take
8,000 in all."""
MAX_ROWS = 50
"""Rows of one request: each has up to 8,000 characters, and the body of a request 1 MiB."""
Ids = list[Annotated[str, Field(max_length=26)]]
Jobs = Annotated[Ids, Query(alias="job", max_length=MAX_JOBS, default_factory=list)]
Known = Annotated[Ids, Query(alias="known", max_length=MAX_JOBS, default_factory=list)]
Rows = Annotated[
    list[Annotated[dict[str, str], Field(max_length=len(VideoForm.model_fields))]],
    Body(max_length=MAX_ROWS),
]


_HEADINGS = {
    "file": "File", "case_reference": "Case reference", "source_url": "URL of the post",
    "platform": "Platform", "account": "Posted by (account)", "note": "Remarks",
    "captured_at": "Captured at",
}  # fmt: skip
"""Of the table of files. A pasted table may have them in any order and language."""


@dataclass(frozen=True, slots=True)
class TriedLinks:
    """Links that were entered, and what keeps some of them from being opened."""

    lines: str
    """Those that were not taken."""
    case_id: str | None
    case_reference: str
    examine: bool
    taken: int
    problems: Sequence[FieldError]


@router.get("/submit")
def get_submit(visit: Reader) -> Response:
    """Show the form for uploads. Scripts make the table of files."""
    return submit_page(visit)


def submit_page(visit: Visit, tried: TriedLinks | None = None) -> Response:
    """Return the page, with links that were ``tried`` and not all taken."""
    settings, languages = visit.state.settings, (visit.language, *LANGUAGES)
    say = [translations(language).gettext for language in languages]
    columns = {name: [told(heading) for told in say] for name, heading in _HEADINGS.items()}
    return visit.page(
        "submit.html",
        status=422 if tried else 200,
        columns=columns,
        most=settings.max_video_bytes,
        opens_links=settings.capture_links,
        tried=tried,
        say=visit.translate,
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
    listed = visit.services.queries.items_of(visit.caller, jobs, submitted=True)
    return visit.page("submitted.html", jobs=listed, known=set(known))


def _invalid_cells(row: Mapping[str, str]) -> list[FieldError]:
    try:
        VideoForm.model_validate({name: value for name, value in row.items() if value})
    except ValidationError as error:
        return invalid_fields(error)
    return []
