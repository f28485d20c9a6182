"""``POST /v1/videos``: encrypt a video while it arrives, and queue a job that examines it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import anyio.to_thread
from fastapi import Request, Response

from deepfake_service.api.jobs import JobOut, job_out
from deepfake_service.http.auth import Uploader
from deepfake_service.http.dependencies import AppState, AppStateDep, ServicesDep
from deepfake_service.http.multipart import MultipartReader, Part, Sink, boundary_of
from deepfake_service.http.problems import problems
from deepfake_service.http.routing import api_router
from deepfake_service.http.submission_form import (
    TextFields,
    VideoForm,
    invalid_field,
    query_parameters,
    upload_body,
)
from deepfake_service.http.uploads import receive_body, refuse_encoding, streams_body
from deepfake_service.platform import outbound
from deepfake_service.platform.errors import (
    CallbackRefused,
    FieldError,
    InvalidRequest,
    RequestTooLarge,
)
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.retention.orphans import LONGEST_UPLOAD

router = api_router("videos")

FILE = "file"
SPACE_CHECKED_EVERY = 8 * 1024 * 1024
RAW_TYPES = re.compile(r"(video|image)/[a-z0-9.+-]{1,64}|application/octet-stream")
_BINARY = {"type": "string", "format": "binary"}
_BODY = upload_body(
    "VideoUpload", VideoForm, FILE, {**_BINARY, "description": "The video or picture."}
)
_BODY["content"]["application/octet-stream"] = {"schema": _BINARY}


@router.post(
    "/videos",
    summary="Submit a video",
    status_code=202,
    responses={
        200: {"model": JobOut, "description": "The job that already existed."},
        **problems(409, 415, 500),
    },
    openapi_extra={"parameters": query_parameters(VideoForm), "requestBody": _BODY},
)
@streams_body
async def submit_video(
    request: Request,
    response: Response,
    caller: Uploader,
    state: AppStateDep,
    services: ServicesDep,
) -> JobOut:
    """Queue a video (or a picture) for examination. Send it as multipart in the field `file`, or
    as the raw body with a content type. The other fields may be sent in the multipart body or as
    query parameters, each of them once.

    If you send the same content again for the same case with the same options, the answer is 200
    with the existing job; a new URL is added to it.
    """
    state.disk.require()
    refuse_encoding(request)
    fields = TextFields(VideoForm, files=(FILE,))
    for field, value in request.query_params.multi_items():
        fields.add(field, value)
    name = None
    if _is_raw(request):
        form = fields.parse()
        sealed = await services.submissions.seal(_video(request, state))
    else:
        upload = _MultipartVideo(request.headers.get("content-type"), fields)
        sealed = await services.submissions.seal(upload.content(_video(request, state)))
        try:
            form = fields.parse()
        except InvalidRequest:
            await services.submissions.discard(sealed)
            raise
        name = upload.name
    if not sealed.stored.size:
        await services.submissions.discard(sealed)
        raise invalid_field(FILE, "the file is empty; download it again")
    submission = replace(form.submission(), file_name=name)
    if submission.callback is not None:
        try:
            await _check_callback(submission.callback.url, state)
        except CallbackRefused:
            await services.submissions.discard(sealed)
            raise
    accepted = await services.submissions.accept(caller, submission, sealed)
    if not accepted.created:
        response.status_code = 200
    response.headers["Location"] = f"/v1/jobs/{accepted.job_id}"
    return await anyio.to_thread.run_sync(job_out, state, caller, accepted.job_id)


def _is_raw(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip()
    # Media types are case-insensitive (RFC 9110, section 8.3.1).
    return RAW_TYPES.fullmatch(media_type.lower()) is not None


async def _check_callback(url: str, state: AppState) -> None:
    """Refuse now a callback URL that would be refused when it is called."""
    allowed = CallbackHosts.of(state.settings.callback_hosts)
    # Not in a thread of requests: a name server may take seconds.
    await anyio.to_thread.run_sync(
        partial(outbound.check, url, allowed=allowed), limiter=state.resolvers
    )


class _MultipartVideo:
    """The file of a multipart body, whose text fields are added to ``fields``."""

    def __init__(self, content_type: str | None, fields: TextFields[VideoForm]) -> None:
        self._fields = fields
        self._pieces: deque[bytes] = deque()
        self._files = 0
        self.name: str | None = None
        self._reader = MultipartReader(boundary_of(content_type), self._open_part)

    def _open_part(self, part: Part) -> Sink:
        if part.field != FILE:
            return self._fields.open(part.field)
        if part.filename is None:
            raise invalid_field(FILE, "must be a file, not text (curl: -F file=@video.mp4)")
        self._files += 1
        if self._files > 1:
            raise invalid_field(FILE, "sent twice; send one video in each request")
        self.name = part.filename or None
        return lambda data: self._pieces.append(bytes(data))

    async def content(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the bytes of the file while the body arrives, and collect the text fields.

        Raises:
            MalformedRequest: the body is not well-formed, or was cut short.
            InvalidRequest: a field is unknown or was sent twice, or there is no file.
        """
        async for chunk in body:
            self._reader.feed(chunk)
            while self._pieces:
                yield self._pieces.popleft()
        self._reader.close()
        if not self._files:
            raise invalid_field(FILE, "missing; send the video to examine")


async def _video(request: Request, state: AppState) -> AsyncIterator[bytes]:
    """Yield the body of ``request``, as long as the disk has space for it."""
    limit, received, checked = state.settings.max_video_bytes, 0, 0
    body = receive_body(
        request,
        max_bytes=limit,
        timeout_s=LONGEST_UPLOAD.total_seconds(),
        noun="A video",
    )
    try:
        async for chunk in body:
            received += len(chunk)
            if received - checked > SPACE_CHECKED_EVERY:
                state.disk.require()  # other uploads take space meanwhile
                checked = received
            yield chunk
    except RequestTooLarge as error:
        detail = f"more than {limit} bytes"
        raise RequestTooLarge(error.message, errors=[FieldError(FILE, detail)]) from None
