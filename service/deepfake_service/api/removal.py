"""What became of posts: looks at each, and ``/v1/statistics`` for a yearly report."""

from __future__ import annotations

from datetime import datetime

import anyio.to_thread
from fastapi import Response

from deepfake_service.http.answers import (
    BINARY,
    file_answer,
    file_route,
    screenshot_answer,
)
from deepfake_service.http.auth import Call, Reader, Submitter
from deepfake_service.http.list_filters import Grouped
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import CaseId, LookId, OccurrenceId
from deepfake_service.http.submission_form import LookForm, upload_body
from deepfake_service.http.uploads import SCREENSHOT, read_with_screenshot, streams_body
from deepfake_service.platform.enums import LookResult
from deepfake_service.platform.errors import invalid_field
from deepfake_service.post_pages.signs import Observation
from deepfake_service.removal.looks import NewLook
from deepfake_service.removal.posts import LooksFile, PostLooks
from deepfake_service.removal.statistics import RemovalSummary
from deepfake_service.removal.statistics_pages import csv_of

router = api_router("removal")

PLACE = "/cases/{case_id}/occurrences/{occurrence_id}/looks"
_ABOUT_PICTURE = "A PNG, JPEG or WebP picture of what is there instead of the content."
_PICTURE = {SCREENSHOT: {**BINARY, "description": _ABOUT_PICTURE}}


@router.get(PLACE, summary="List the looks at a post")
def list_looks(case_id: CaseId, occurrence_id: OccurrenceId, call: Reader) -> PostLooks:
    """Return what became of a post, with every look at it. Audited."""
    return _post(call, case_id, occurrence_id)


@router.get(
    PLACE + ".json",
    summary="Get the signed looks at a post",
    response_class=Response,
    responses={200: {"model": LooksFile}},
)
def get_looks_file(case_id: CaseId, occurrence_id: OccurrenceId, call: Reader) -> Response:
    """Return the looks at a post with their signed records, as a file that `deepfake verify`
    checks. It has nothing that the records do not state; what they amount to, such as that the
    post is gone, is this service's conclusion and not in it. Audited."""
    content = call.services.posts.file(call.caller, case_id, occurrence_id)
    call.services.queries.audit_case(call.caller, case_id)
    return file_answer(content, "application/json", f"looks-{occurrence_id}.json")


def _post(call: Call, case_id: str, occurrence_id: str) -> PostLooks:
    post = call.services.posts.read(call.caller, case_id, occurrence_id)
    call.services.queries.audit_case(call.caller, case_id)
    return post


@router.post(
    PLACE,
    summary="Look at a post",
    status_code=201,
    responses={
        202: {"model": PostLooks, "description": "A worker is going to look."},
    },
    openapi_extra=upload_body("LookUpload", LookForm, _PICTURE, required=False),
)
@streams_body
async def add_look(
    response: Response, case_id: CaseId, occurrence_id: OccurrenceId, call: Submitter
) -> PostLooks:
    """Record what you saw when you looked at a post yourself, optionally with a screenshot of what
    is there instead; only people can. Without `result`, a worker looks: this needs
    `DEEPFAKE_LOOKS_FROM`, and a notice about the post that was sent."""
    async with read_with_screenshot(call, LookForm) as (form, screenshot):
        response.status_code = 201 if form.result else 202
        return await anyio.to_thread.run_sync(
            _add_look, call, (case_id, occurrence_id), form, screenshot
        )


def _add_look(
    call: Call, place: tuple[str, str], form: LookForm, screenshot: bytes | None
) -> PostLooks:
    """Record a look or ask for one, and return the post."""
    looks, caller = call.services.looks, call.caller
    if form.result is None:
        for name, given in {**form.model_dump(), SCREENSHOT: screenshot}.items():
            if given is not None:
                raise invalid_field(name, "only with the result of your own look")
        looks.request_look(caller, *place)
    else:
        now = call.services.database.clock()
        seen_at = datetime.fromisoformat(form.seen_at) if form.seen_at else now
        observation = Observation(LookResult(form.result), strong=True)
        new = NewLook(observation, seen_at, note=form.note, screenshot=screenshot)
        looks.record_for(caller, *place, new)
    return _post(call, *place)


@file_route(router, PLACE + "/{look_id}/screenshot", "Read the screenshot of a look", "image/*")
def get_look_screenshot(
    case_id: CaseId, occurrence_id: OccurrenceId, look_id: LookId, call: Reader
) -> Response:
    """Return the screenshot of a person's look. Audited."""
    content = call.services.posts.screenshot(call.caller, case_id, occurrence_id, look_id)
    return screenshot_answer(content, look_id)


@router.get("/statistics/removals", summary="Count removals")
def get_removals(call: Reader, period: Grouped) -> RemovalSummary:
    """Count what became of the posts of notices, of cases that the account may see. Withdrawn
    notices are left out, and so are cases that were deleted."""
    return period.removals(call.services, call.caller)


@file_route(router, "/statistics/removals.csv", "Count removals as CSV", "text/csv")
def get_removals_csv(call: Reader, period: Grouped) -> Response:
    """Return the groups of `GET /v1/statistics/removals` as CSV (RFC 4180), which spreadsheets
    open."""
    found = period.removals(call.services, call.caller)
    name = f"removals-{found.start}-{found.end}-{found.by}.csv"
    return file_answer(csv_of(found), "text/csv; charset=utf-8", name)
