"""``POST /v1/videos``: a video sealed while it arrives, and the job that examines it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Request, Response
from starlette.requests import ClientDisconnect

from deepfake_service.api.jobs import JobOut, job_out
from deepfake_service.casework.submissions import Sealed, Submission
from deepfake_service.errors import (
    CallbackRefused,
    ClientGone,
    FieldError,
    InvalidRequest,
    RequestTooLarge,
    UnsupportedContentType,
    UploadTimeout,
)
from deepfake_service.http.auth import submitter
from deepfake_service.http.dependencies import AppState, app_state
from deepfake_service.http.multipart import MULTIPART, Part, Sink, boundary_of, parse_multipart
from deepfake_service.http.problems import problems
from deepfake_service.http.submission_form import FIELDS, Form, wrong_field
from deepfake_service.jobs import webhooks
from deepfake_service.security.accounts import Caller

router = APIRouter(prefix="/v1", tags=["videos"])

FILE = "file"
SPACE_CHECKED_EVERY = 8 * 1024 * 1024
RAW_TYPES = re.compile(r"(video|image)/[a-z0-9.+-]{1,64}|application/octet-stream")


@router.post(
    "/videos",
    summary="Submit a video",
    status_code=202,
    responses={
        200: {"model": JobOut, "description": "The job that there was already."},
        **problems(400, 401, 403, 408, 409, 413, 415, 422, 500, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                MULTIPART: {
                    "schema": {
                        "type": "object",
                        "required": [FILE],
                        "properties": {
                            FILE: {"type": "string", "format": "binary"},
                            **{name: {"type": "string"} for name in FIELDS},
                        },
                    }
                },
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def post_video(
    request: Request,
    response: Response,
    caller: Annotated[Caller, Depends(submitter)],
    idempotency_key: Annotated[str | None, Header(description="Makes a retry safe.")] = None,
) -> JobOut:
    """Queue a video (or a picture) for examination. Send it as multipart in the field `file`, or
    as the raw body with a content type and the other fields as query parameters.

    The same content again, asked for in the same way, answers 200 with the job that there was; a
    new URL is kept with it.
    """
    state = app_state(request)
    services = state.require_services()
    state.check_space()
    form = Form()
    content_type = request.headers.get("content-type")
    if request.headers.get("content-encoding") not in (None, "", "identity"):
        raise UnsupportedContentType("Send the request without a Content-Encoding.")
    try:
        async with asyncio.timeout(state.settings.video_upload_timeout_s):
            if content_type and RAW_TYPES.fullmatch(content_type.partition(";")[0].strip()):
                for name, value in request.query_params.multi_items():
                    form.put(name, value)
                wanted = form.submission(idempotency_key)
                sealed = await services.submissions.seal(_bounded(request.stream(), state))
            else:
                sealed = await _multipart(request, form, state)
                try:
                    wanted = form.submission(idempotency_key)
                except InvalidRequest:
                    await services.submissions.discard(sealed)
                    raise
    except TimeoutError as error:
        raise UploadTimeout(
            "The request's body did not arrive within "
            f"{state.settings.video_upload_timeout_s:g} seconds."
        ) from error
    except ClientDisconnect as error:
        raise ClientGone from error
    try:
        await _check_callback(wanted, state)
    except CallbackRefused:
        await services.submissions.discard(sealed)
        raise
    accepted = await services.submissions.accept(caller, wanted, sealed)
    if not accepted.created:
        response.status_code = 200
    response.headers["Location"] = f"/v1/jobs/{accepted.job_id}"
    return await job_out(services, caller, accepted.job_id)


async def _check_callback(wanted: Submission, state: AppState) -> None:
    """Refuse now what would be refused when it is called."""
    url, allow = wanted.callback_url, state.settings.callbacks_to_private_addresses
    if url is not None:
        await anyio.to_thread.run_sync(lambda: webhooks.check(url, allow_private=allow))


async def _multipart(request: Request, form: Form, state: AppState) -> Sealed:
    """Seal the file of a multipart body while it is parsed, and collect its fields."""
    boundary = boundary_of(request.headers.get("content-type"))
    pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
    collected: list[tuple[str, bytearray]] = []
    files = 0

    def open_part(part: Part) -> Sink:
        nonlocal files
        if part.field == FILE:
            if part.filename is None:
                raise wrong_field(FILE, "is text, and a file is wanted (curl: -F file=@video.mp4)")
            files += 1
            if files > 1:
                raise wrong_field(FILE, "given twice; one request holds one video")
            return lambda data: pieces.put_nowait(bytes(data))
        if part.field not in FIELDS:
            raise wrong_field(part.field, f"not known; known are {FILE}, {', '.join(FIELDS)}")
        return Form.collected(collected, part.field)

    async def parsed() -> None:
        try:
            await parse_multipart(_paced(request, pieces, state), boundary, open_part)
            if not files:
                raise wrong_field(FILE, "missing: the video to examine")
            for name, value in collected:
                form.put(name, value.decode("utf-8", errors="replace"))
        finally:
            await pieces.put(None)

    async def arriving() -> AsyncIterator[bytes]:
        while (piece := await pieces.get()) is not None:
            yield piece
            pieces.task_done()
        await parser  # a body that broke off must not be kept as if it were whole

    parser = asyncio.create_task(parsed())
    try:
        return await state.require_services().submissions.seal(arriving())
    except Exception:
        # What broke off the body says more than what that did to the store.
        if parser.done() and not parser.cancelled() and (cause := parser.exception()):
            raise cause from None
        raise
    finally:
        parser.cancel()
        await asyncio.gather(parser, return_exceptions=True)


async def _paced(
    request: Request, pieces: asyncio.Queue[bytes | None], state: AppState
) -> AsyncIterator[bytes]:
    """The body, no faster than it can be stored."""
    async for chunk in _bounded(request.stream(), state):
        yield chunk
        await pieces.join()


async def _bounded(chunks: AsyncIterator[bytes], state: AppState) -> AsyncIterator[bytes]:
    limit, received, checked = state.settings.max_video_bytes, 0, 0
    async for chunk in chunks:
        received += len(chunk)
        if received - checked > SPACE_CHECKED_EVERY:
            # Also what others send meanwhile takes space.
            state.check_space()
            checked = received
        if received > limit:
            raise RequestTooLarge(
                f"A video may have at most {limit} bytes.",
                errors=[FieldError(FILE, f"more than {limit} bytes")],
            )
        yield chunk
