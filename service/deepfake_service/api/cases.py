"""``/v1/cases``: cases, the occurrences of their media, legal holds, export and deletion.

Stored media are played back decrypted on the fly, by range requests, and never cached.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from typing import Annotated

import anyio.to_thread
from fastapi import Header, Response
from pydantic import Field
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse

from deepfake_models.media.decoder import mime_of
from deepfake_service.cases.posts import Post
from deepfake_service.http.answers import (
    BINARY,
    OCTETS,
    attachment,
    binary,
    file_route,
    pieces_of,
    screenshot_answer,
)
from deepfake_service.http.auth import (
    Call,
    Exporter,
    Keeper,
    Reader,
    Submitter,
    while_authenticated,
)
from deepfake_service.http.list_filters import CaseQuery, Page
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import Body, CaseId, MediaId, OccurrenceId
from deepfake_service.http.submission_form import CaseReference, OccurrenceForm, upload_body
from deepfake_service.http.uploads import SCREENSHOT, read_with_screenshot, streams_body
from deepfake_service.platform.answers import Published
from deepfake_service.retention.deletion import NOBODY
from deepfake_service.review.shapes import HoldRequest, PlainCase, WholeCase

router = api_router("cases")

_PICTURE = {**BINARY, "description": "A PNG, JPEG or WebP picture."}
_BODY = upload_body("OccurrenceUpload", OccurrenceForm, {SCREENSHOT: _PICTURE}, required=False)


class OccurrencesOut(Published):
    """A page of occurrences, newest first."""

    occurrences: list[Post] = Field(description="The occurrences of this page.")
    next: str | None = Field(description="Cursor of the next page; null on the last one.")


class CasesOut(Published):
    """A page of cases."""

    cases: list[PlainCase] = Field(description="The cases of this page.")
    next: str | None = Field(description="Cursor of the next page; null on the last one.")


class CaseIn(Body):
    """A case to open."""

    case_reference: CaseReference = None
    """Your reference of the case, at most 200 characters. White space around it does not count.
    Null opens a case without one."""


@router.get("/cases", summary="List cases")
def list_cases(call: Reader, query: CaseQuery) -> CasesOut:
    """List the cases of this account; analysts and administrators see the cases of all accounts.
    Audited once in ten minutes."""
    queries, filters = call.services.queries, query.filters(call)
    found = queries.cases(call.caller, filters, limit=query.limit, cursor=query.cursor)
    return CasesOut(cases=found.rows, next=found.next)


@router.post(
    "/cases",
    summary="Open a case",
    status_code=201,
    responses={200: {"model": WholeCase, "description": "The case that already existed."}},
)
def open_case(response: Response, case: CaseIn, call: Reader) -> WholeCase:
    """Open a case to which media can be submitted. If this account already has a case with the
    reference, return that case."""
    case_id, created = call.services.cases.open(call.caller, case.case_reference)
    if not created:
        response.status_code = 200
    response.headers["Location"] = f"/v1/cases/{case_id}"
    return call.services.queries.case(call.caller, case_id)


@router.get("/cases/{case_id}/occurrences", summary="List occurrences")
def list_occurrences(case_id: CaseId, call: Reader, page: Page) -> OccurrencesOut:
    """List where the media of the case were seen, newest first. Audited."""
    queries = call.services.queries
    listed = queries.occurrences(call.caller, case_id, limit=page.limit, cursor=page.cursor)
    queries.audit_case(call.caller, case_id)
    return OccurrencesOut(occurrences=list(listed.rows), next=listed.next)


@router.post(
    "/cases/{case_id}/occurrences",
    summary="Add an occurrence",
    status_code=201,
    responses={
        200: {"model": Post, "description": "The occurrence that was already recorded."},
    },
    openapi_extra=_BODY,
)
@streams_body
async def add_occurrence(response: Response, case_id: CaseId, call: Submitter) -> Post:
    """Record another place where a medium of the case was seen, optionally with a screenshot (PNG,
    JPEG or WebP), and return the occurrence. `media_id` may be left out if the case has only one
    medium. A screenshot of a post that is recorded without one is added to that record, if the
    other fields are the same."""
    async with read_with_screenshot(call, OccurrenceForm) as (form, screenshot):
        occurrence, is_new = await anyio.to_thread.run_sync(
            _add_occurrence, call, case_id, form, screenshot
        )
        if not is_new:
            response.status_code = 200
        return occurrence


def _add_occurrence(
    call: Call, case_id: str, form: OccurrenceForm, screenshot: bytes | None
) -> tuple[Post, bool]:
    """Record an occurrence, and return it and whether it is new."""
    services, caller = call.services, call.caller
    tool = form.tool or ("console" if caller.by_console else None)
    sighting = {**asdict(form.sighting()), "tool": tool}
    recorded = services.cases.add_occurrence(caller, case_id, form.media_id, sighting, screenshot)
    if not recorded.is_new:
        services.queries.audit_case(caller, case_id)
    occurrence = services.queries.occurrence(caller, case_id, recorded.occurrence_id)
    return occurrence, recorded.is_new


@file_route(
    router,
    "/cases/{case_id}/occurrences/{occurrence_id}/screenshot",
    "Read a screenshot",
    "image/*",
)
def get_screenshot(case_id: CaseId, occurrence_id: OccurrenceId, call: Reader) -> Response:
    """Return the screenshot of an occurrence. Audited."""
    content = call.services.cases.screenshot(call.caller, case_id, occurrence_id)
    return screenshot_answer(content, occurrence_id)


@router.get("/cases/{case_id}", summary="Read a case")
def get_case(case_id: CaseId, call: Reader) -> WholeCase:
    """Return a case with its newest jobs and occurrences, in the order in which they were added.
    Audited."""
    return call.services.queries.case(call.caller, case_id)


@router.delete("/cases/{case_id}", summary="Delete a case", status_code=204)
def delete_case(case_id: CaseId, call: Reader) -> None:
    """Destroy the key of the case, and delete everything that was encrypted with it."""
    call.services.retention.shred(case_id, call.caller)


class ExportIn(Body):
    """The recipient of an exported medium."""

    recipient: Annotated[str, Field(max_length=200, description="Their age public key: `age1...`.")]


@router.post(
    "/cases/{case_id}/media/{media_id}/export",
    summary="Export a medium, encrypted",
    response_class=StreamingResponse,
    responses=binary("application/age"),
)
def export_medium(
    case_id: CaseId, media_id: MediaId, export: ExportIn, call: Exporter
) -> StreamingResponse:
    """Return the original, encrypted (age, age-encryption.org/v1) to the public key of an
    authority, so that only the authority can open it. Audited."""
    file = call.services.exports.export(call.caller, case_id, media_id, export.recipient)
    size = os.fstat(file.fileno()).st_size
    return StreamingResponse(
        while_authenticated(call.request, pieces_of(file, 0, size)),
        media_type="application/age",
        headers={"Content-Length": str(size), **attachment(f"{media_id}.age")},
        background=BackgroundTask(file.close),  # if no piece was asked for
    )


@router.put("/cases/{case_id}/hold", summary="Set a legal hold", status_code=204)
def set_hold(case_id: CaseId, call: Keeper, asked: HoldRequest = NOBODY) -> None:
    """Retain the media of the case, whatever their retention period, until the hold is lifted. The
    body may say who asked for it; it replaces what an earlier request said, which is audited."""
    call.services.retention.hold(call.caller, case_id, enabled=True, asked=asked)


@router.delete("/cases/{case_id}/hold", summary="Lift a legal hold", status_code=204)
def lift_hold(case_id: CaseId, call: Keeper) -> None:
    """Let the media of the case expire again."""
    call.services.retention.hold(call.caller, case_id, enabled=False)


MAX_RANGE_BYTES = 8 * 1024 * 1024
"""Bytes of one partial answer. Players ask for the next part, and one that stops holds nothing."""
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")


def _span(range_header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first and the last byte that a Range header (RFC 9110, section 14.2) asks for."""
    match = _RANGE.fullmatch(range_header or "")
    if match is None:
        return None
    start = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    return start, min(last, start + MAX_RANGE_BYTES - 1, size - 1)


@router.get(
    "/cases/{case_id}/media/{media_id}/content",
    summary="Play a medium",
    response_class=Response,
    responses={**binary(OCTETS, 200, 206), 416: {"description": "The medium has no such part."}},
)
def get_medium(
    case_id: CaseId,
    media_id: MediaId,
    call: Reader,
    range_: Annotated[
        str | None,
        Header(
            alias="range",
            max_length=100,
            description="The part to return (RFC 9110, section 14.2).",
            examples=["bytes=0-65535"],
        ),
    ] = None,
) -> Response:
    """Return the original while it is retained. Media of a case in which a person may be a minor
    are withheld. Audited."""
    file, size = call.services.queries.playback(call.caller, case_id, media_id)
    mime = mime_of(file.read(4096)) or "application/octet-stream"
    span = _span(range_, size)
    start, end = span or (0, size - 1)
    headers = {
        "Accept-Ranges": "bytes",
        # Untrusted content: players show it, but browsers must not open it as a page of this site.
        "Content-Security-Policy": "sandbox; default-src 'none'",
        **attachment(media_id),
    }
    if start > end:
        file.close()
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    if span:
        headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    headers["Content-Length"] = str(end - start + 1)
    return StreamingResponse(
        while_authenticated(call.request, pieces_of(file, start, end - start + 1)),
        status_code=206 if span else 200,
        media_type=mime,
        headers=headers,
    )
