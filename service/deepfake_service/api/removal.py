"""What became of posts: looks at each, and ``/v1/statistics`` for a yearly report."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

import anyio.to_thread
from fastapi import Response
from pydantic import Field

from deepfake_service.capture.page_signs import Observation
from deepfake_service.http.answers import (
    BINARY,
    file_answer,
    file_route,
    screenshot_answer,
)
from deepfake_service.http.auth import Call, Reader, Submitter
from deepfake_service.http.list_filters import PeriodDep
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import CaseId, LookId, OccurrenceId
from deepfake_service.http.submission_form import LookForm, upload_body
from deepfake_service.http.uploads import SCREENSHOT, read_with_screenshot, streams_body
from deepfake_service.platform.answers import ItemId, Published, Sha256, Time
from deepfake_service.platform.db.enums import LookResult, NoticeState, WatchState
from deepfake_service.platform.errors import invalid_field
from deepfake_service.removal.looks import NewLook
from deepfake_service.removal.statistics import GroupBy
from deepfake_service.removal.statistics_pages import csv_of

router = api_router("removal")

PLACE = "/cases/{case_id}/occurrences/{occurrence_id}/looks"
_ABOUT_PICTURE = "A PNG, JPEG or WebP picture of what is there instead of the content."
_BODY = upload_body(
    "LookUpload", LookForm, SCREENSHOT, {**BINARY, "description": _ABOUT_PICTURE}, required=False
)


class LookOut(Published):
    """One look at a post. It is never changed."""

    id: ItemId = Field(description="Id of the look.")
    number: int = Field(description="1 for the first look at the post.")
    at: Time = Field(description="When it was made.")
    account: ItemId | None = Field(description="Id of the person's account; null: the service.")
    result: LookResult = Field(description="What it found.")
    strong: bool
    """Whether what it found is a strong sign; of `unknown`: that the site called the post gone to
    this service, and not to a look that did not name it, so that a person has to look."""
    signals: list[dict[str, Any]] = Field(description="What it concluded this from.")
    note: str | None = Field(description="The person's note.")
    screenshot: bool = Field(description="Whether a screenshot is stored with it.")
    text: str = Field(description="The text that the page showed instead, shortened.")
    sha256: Sha256 = Field(description="Digest of the record, which the next one has.")


class SignedLookOut(LookOut):
    """A look with its record, from which everything else in it follows."""

    record: dict[str, Any]
    """The signed record: a DSSE envelope of an in-toto statement."""


class LooksFileOut(Published):
    """Looks at a post to hand on, in canonical JSON (RFC 8785), for `deepfake verify`."""

    format: Literal["deepfake-service/looks/1"] = Field(description="The format.")
    post: ItemId = Field(description="Id of the post.")
    looks: list[SignedLookOut] = Field(description="The looks at it, oldest first.")


class PostNoticeOut(Published):
    """A notice that was sent about a post."""

    id: ItemId = Field(description="Id of the notice.")
    kind: str = Field(description="Its kind.")
    state: NoticeState = Field(description="Its state.")
    sent_at: Time | None = Field(description="When it was sent.")
    due_at: Time | None = Field(description="The recipient's deadline, if there is one.")


class PostOut(Published):
    """The way of a post, from the report to its removal."""

    occurrence_id: ItemId = Field(description="Id of the occurrence.")
    recorded_at: Time = Field(description="When it was recorded.")
    examined_at: Time | None = Field(description="When its file was last examined.")
    notices: list[PostNoticeOut] = Field(description="The notices about it, as they were sent.")
    looks: int = Field(description="How many looks there were.")
    looked_at: Time | None = Field(description="When the last look was made.")
    result: LookResult | None = Field(description="What the last look found.")
    strong: bool | None = Field(description="Whether that is a strong sign.")
    sha256: Sha256 | None = Field(description="Digest of the record of the last look.")
    state: WatchState | None
    """What the looks amount to; null if no notice was sent."""
    late: bool = Field(description="Whether it is there past the deadline of a notice.")
    gone_at: Time | None = Field(description="The first look that found it gone, if confirmed.")
    returned_at: Time | None = Field(description="When it was found to be there again.")
    next_look_at: Time | None = Field(description="When the service looks next.")


class PostLooksOut(Published):
    """A post and the looks at it."""

    post: PostOut = Field(description="The post.")
    looks: list[LookOut] = Field(description="The looks at it, newest first.")


@router.get(PLACE, summary="List the looks at a post")
def list_looks(case_id: CaseId, occurrence_id: OccurrenceId, call: Reader) -> PostLooksOut:
    """Return what became of a post, with every look at it. Audited."""
    return _post(call, case_id, occurrence_id)


@router.get(
    PLACE + ".json",
    summary="Get the signed looks at a post",
    response_class=Response,
    responses={200: {"model": LooksFileOut}},
)
def get_looks_file(case_id: CaseId, occurrence_id: OccurrenceId, call: Reader) -> Response:
    """Return the looks at a post with their signed records, as a file that `deepfake verify`
    checks. It has nothing that the records do not state; what they amount to, such as that the
    post is gone, is this service's conclusion and not in it. Audited."""
    content = call.services.posts.file(call.caller, case_id, occurrence_id)
    call.services.queries.audit_case(call.caller, case_id)
    return file_answer(content, "application/json", f"looks-{occurrence_id}.json")


def _post(call: Call, case_id: str, occurrence_id: str) -> PostLooksOut:
    posts = call.services.posts
    looks = posts.of_post(call.caller, case_id, occurrence_id)
    line = posts.lines(call.caller, case_id, [occurrence_id])[occurrence_id]
    call.services.queries.audit_case(call.caller, case_id)
    return PostLooksOut.model_validate({"post": line, "looks": looks})


@router.post(
    PLACE,
    summary="Look at a post",
    status_code=201,
    responses={
        202: {"model": PostLooksOut, "description": "A worker is going to look."},
    },
    openapi_extra={"requestBody": _BODY},
)
@streams_body
async def add_look(
    response: Response, case_id: CaseId, occurrence_id: OccurrenceId, call: Submitter
) -> PostLooksOut:
    """Record what you saw when you looked at a post yourself, optionally with a screenshot of what
    is there instead. Without `result`, a worker looks: this needs `DEEPFAKE_LOOKS_FROM`, and a
    notice about the post that was sent."""
    async with read_with_screenshot(call, LookForm) as (form, screenshot):
        response.status_code = 201 if form.result else 202
        return await anyio.to_thread.run_sync(
            _add_look, call, (case_id, occurrence_id), form, screenshot
        )


def _add_look(
    call: Call, place: tuple[str, str], form: LookForm, screenshot: bytes | None
) -> PostLooksOut:
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


class CountsOut(Published):
    """Posts of notices. `removed` to `unclear` add up to `sent`."""

    sent: int = Field(description="Posts of notices that were sent.")
    removed: int = Field(description="Confirmed as gone by looks, or by the recipient's answer.")
    restricted: int = Field(description="Shown to those who sign in only, or made private.")
    blocked: int = Field(description="Blocked where the looks come from, and not removed.")
    up: int = Field(description="Still there.")
    unclear: int = Field(description="Nobody has looked, or looks told nothing.")
    returned: int = Field(description="There again after they were gone.")
    refused: int = Field(description="Of notices that were refused.")
    past_deadline: int = Field(description="Not removed by the recipient's deadline.")


class GroupOut(Published):
    """The numbers of one group."""

    name: str
    """The platform, the kind of notice or the month; `other` for groups of fewer than five posts;
    empty for the total."""
    counts: CountsOut = Field(description="The numbers of posts.")
    timed: int = Field(description="How many posts the times are estimated from.")
    median_h: float | None
    """Hours from sending until half are removed, by Kaplan and Meier; null if fewer than half are.
    """
    p90_h: float | None = Field(description="The same for nine in ten.")


class RemovalsOut(Published):
    """What became of the posts of notices that were sent in a period."""

    start: date = Field(description="The first day.")
    end: date = Field(description="The last day, which is in it.")
    by: GroupBy = Field(description="What each of `groups` is.")
    groups: list[GroupOut] = Field(description="The groups.")
    total: GroupOut = Field(description="All of them together.")


@router.get("/statistics/removals", summary="Count removals")
def get_removals(call: Reader, period: PeriodDep) -> RemovalsOut:
    """Count what became of the posts of notices, of cases that the account may see. Withdrawn
    notices are left out, and so are cases that were deleted."""
    found = period.removals(call.services, call.caller)
    return RemovalsOut.model_validate(found, from_attributes=True)


@file_route(router, "/statistics/removals.csv", "Count removals as CSV", "text/csv")
def get_removals_csv(call: Reader, period: PeriodDep) -> Response:
    """Return the groups of `GET /v1/statistics/removals` as CSV (RFC 4180), which spreadsheets
    open."""
    found = period.removals(call.services, call.caller)
    name = f"removals-{found.start}-{found.end}-{found.by}.csv"
    return file_answer(csv_of(found), "text/csv; charset=utf-8", name)
