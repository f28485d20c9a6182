"""``/v1/cases``: what belongs together, where it was seen, and its end."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse

from deepfake_models.decode.image import picture_format
from deepfake_service.api.jobs import JobBase
from deepfake_service.casework.core.pagination import MAX_PAGE
from deepfake_service.errors import ClientGone, UploadTimeout
from deepfake_service.http.auth import Keeper, Reader, submitter
from deepfake_service.http.dependencies import app_state
from deepfake_service.http.multipart import MULTIPART, Part, Sink, boundary_of, parse_multipart
from deepfake_service.http.problems import problems
from deepfake_service.http.schemas import Published
from deepfake_service.http.submission_form import Form, wrong_field
from deepfake_service.security.accounts import Caller

router = APIRouter(prefix="/v1", tags=["cases"])

SIGHTING = ("source_url", "platform", "account", "captured_at", "note")
SCREENSHOT_FORMATS = frozenset({"PNG", "JPEG", "WEBP"})
MAX_SCREENSHOT_BYTES = 16 * 1024 * 1024
"""A whole 4K screen as PNG has some 10 MiB. Held in memory while it is sealed."""


class OccurrenceOut(Published):
    """Where and when a medium was seen."""

    id: str
    media_id: str
    recorded_at: str
    source_url: str | None
    platform: str | None
    account: str | None
    captured_at: str | None
    note: str | None = Field(description="What the collector says of it.")
    case_reference: str | None
    collector: str
    tool: str | None
    screenshot: bool = Field(description="Whether one is kept with it.")


class CaseBase(Published):
    """A case, less what is in it."""

    id: str
    case_reference: str | None
    created_at: str
    legal_hold: bool
    minor: bool = Field(description="Whether somebody who is shown may be a minor.")
    reviewed_at: str | None


class CaseOut(CaseBase):
    """A case: what was submitted under one reference, and where it was seen."""

    occurrences: list[OccurrenceOut]
    jobs: list[JobBase]


class CasesOut(Published):
    """A page of cases, newest first."""

    cases: list[CaseBase]
    next: str | None = Field(description="Cursor of the next page.")


class CaseIn(BaseModel):
    """A case to be opened."""

    model_config = ConfigDict(extra="forbid")

    case_reference: Annotated[str | None, Field(max_length=200)] = None


@router.get("/cases", summary="List cases", responses=problems(401, 403, 422, 503))
async def get_cases(
    request: Request,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> CasesOut:
    """Cases of this account, newest first; of all accounts for analysts."""
    services = app_state(request).require_services()
    return CasesOut.model_validate(
        await anyio.to_thread.run_sync(
            lambda: services.queries.cases(caller, limit=limit, cursor=cursor)
        )
    )


@router.post(
    "/cases",
    summary="Open a case",
    status_code=201,
    responses={
        200: {"model": CaseOut, "description": "The case that there was already."},
        **problems(400, 401, 403, 422, 503),
    },
)
async def post_case(
    request: Request, response: Response, wanted: CaseIn, caller: Reader
) -> CaseOut:
    """Open a case to submit to; with a reference that there is already, that case."""
    form = Form()
    if wanted.case_reference:
        form.put("case_reference", wanted.case_reference)
    reference = form.submission(None).case_reference
    services = app_state(request).require_services()
    case_id, made = await anyio.to_thread.run_sync(services.cases.open, caller, reference)
    if not made:
        response.status_code = 200
    response.headers["Location"] = f"/v1/cases/{case_id}"
    return CaseOut.model_validate(
        await anyio.to_thread.run_sync(services.queries.case, caller, case_id)
    )


@router.post(
    "/cases/{case_id}/occurrences",
    summary="Note an occurrence",
    status_code=201,
    responses=problems(400, 401, 403, 404, 408, 410, 413, 415, 422, 429, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                MULTIPART: {
                    "schema": {
                        "type": "object",
                        "properties": {
                            **{n: {"type": "string"} for n in (*SIGHTING, "media_id", "tool")},
                            "screenshot": {"type": "string", "format": "binary"},
                        },
                    }
                }
            },
        }
    },
)
async def post_occurrence(
    request: Request, case_id: str, caller: Annotated[Caller, Depends(submitter)]
) -> CaseOut:
    """Note where a medium of the case was seen as well, with a screenshot (PNG, JPEG or WebP) if
    there is one. `media_id` may be left out where the case has one medium."""
    boundary = boundary_of(request.headers.get("content-type"))
    texts: list[tuple[str, bytearray]] = []
    screenshots: list[bytearray] = []

    def open_part(part: Part) -> Sink:
        value = bytearray()
        if part.field == "screenshot":
            if screenshots:
                raise wrong_field("screenshot", "given twice")
            screenshots.append(value)
            return Form.collector(part.field, value, MAX_SCREENSHOT_BYTES, ticket)
        if part.field not in (*SIGHTING, "media_id", "tool"):
            raise wrong_field(part.field, "not known")
        return Form.collected(texts, part.field)

    state = app_state(request)
    state.check_space()
    with state.admission.enter() as ticket:
        try:
            async with asyncio.timeout(state.settings.upload_timeout_s):
                await parse_multipart(request.stream(), boundary, open_part)
        except TimeoutError as error:
            raise UploadTimeout from error
        except ClientDisconnect as error:
            raise ClientGone from error
        return await _noted(request, case_id, caller, texts, screenshots)


async def _noted(
    request: Request,
    case_id: str,
    caller: Caller,
    texts: list[tuple[str, bytearray]],
    screenshots: list[bytearray],
) -> CaseOut:
    form, own = Form(), Form(("media_id", "tool"))
    for name, value in texts:
        (form if name in SIGHTING else own).put(name, value.decode("utf-8", errors="replace"))
    screenshot = bytes(screenshots[0]) if screenshots else None
    if screenshot is not None and picture_format(screenshot[:64]) not in SCREENSHOT_FORMATS:
        raise wrong_field("screenshot", "not a PNG, JPEG or WebP picture")
    seen = {**asdict(form.submission(None).sighting), "tool": own.text("tool", 200)}
    media_id = own.text("media_id", 26)
    services = app_state(request).require_services()
    await anyio.to_thread.run_sync(
        lambda: services.cases.add_occurrence(caller, case_id, media_id, seen, screenshot)
    )
    return CaseOut.model_validate(
        await anyio.to_thread.run_sync(services.queries.case, caller, case_id)
    )


@router.get(
    "/cases/{case_id}/occurrences/{occurrence_id}/screenshot",
    summary="Read a screenshot",
    response_class=Response,
    responses={
        200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
        **problems(401, 403, 404, 410, 503),
    },
)
async def get_screenshot(
    request: Request, case_id: str, occurrence_id: str, caller: Reader
) -> Response:
    """The screenshot of an occurrence. Audited."""
    services = app_state(request).require_services()
    content = await anyio.to_thread.run_sync(
        services.cases.screenshot, caller, case_id, occurrence_id
    )
    kind = (picture_format(content[:64]) or "octet-stream").lower()
    return Response(
        content,
        media_type=f"image/{kind}",
        headers={"Content-Disposition": f'attachment; filename="{occurrence_id}.{kind}"'},
    )


@router.get("/cases/{case_id}", summary="Read a case", responses=problems(401, 403, 404, 410, 503))
async def get_case(request: Request, case_id: str, caller: Reader) -> CaseOut:
    """A case with its jobs and occurrences."""
    services = app_state(request).require_services()
    return CaseOut.model_validate(
        await anyio.to_thread.run_sync(services.queries.case, caller, case_id)
    )


@router.delete(
    "/cases/{case_id}",
    summary="Shred a case",
    status_code=204,
    responses=problems(401, 403, 404, 409, 503),
)
async def delete_case(request: Request, case_id: str, caller: Reader) -> Response:
    """Forget the case's key, and delete all that it opened."""
    services = app_state(request).require_services()
    await anyio.to_thread.run_sync(services.retention.shred, case_id, caller)
    return Response(status_code=204)


class ExportIn(BaseModel):
    """For whom a medium is sealed."""

    model_config = ConfigDict(extra="forbid")

    recipient: Annotated[str, Field(max_length=200, description="Their age public key: `age1...`.")]


@router.post(
    "/cases/{case_id}/media/{media_id}/export",
    summary="Export a medium, sealed",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/age": {"schema": {"type": "string", "format": "binary"}}}},
        **problems(400, 401, 403, 404, 410, 422, 503),
    },
)
async def export_medium(
    request: Request, case_id: str, media_id: str, wanted: ExportIn, caller: Keeper
) -> FileResponse:
    """The original, encrypted (age, age-encryption.org/v1) to an authority's public key: nobody on
    the way can open it. Audited."""
    services = app_state(request).require_services()
    path = await anyio.to_thread.run_sync(
        lambda: services.exports.sealed(
            *services.queries.medium(caller, case_id, media_id), wanted.recipient
        )
    )
    return FileResponse(
        path,
        media_type="application/age",
        filename=f"{media_id}.age",
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


@router.put(
    "/cases/{case_id}/hold",
    summary="Set a legal hold",
    status_code=204,
    responses=problems(401, 403, 404, 503),
)
async def put_hold(request: Request, case_id: str, caller: Keeper) -> Response:
    """While it is set, the case's media do not expire."""
    return await _hold(request, case_id, caller, wanted=True)


@router.delete(
    "/cases/{case_id}/hold",
    summary="Lift a legal hold",
    status_code=204,
    responses=problems(401, 403, 404, 503),
)
async def delete_hold(request: Request, case_id: str, caller: Keeper) -> Response:
    """Let the case's media expire again."""
    return await _hold(request, case_id, caller, wanted=False)


async def _hold(request: Request, case_id: str, caller: Caller, *, wanted: bool) -> Response:
    services = app_state(request).require_services()
    await anyio.to_thread.run_sync(lambda: services.retention.hold(caller, case_id, wanted=wanted))
    return Response(status_code=204)
