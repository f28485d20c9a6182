"""``POST /v1/videos``: encrypt a video while it arrives, and queue a job that examines it."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import anyio.to_thread
from fastapi import Request, Response

from deepfake_service.accounts.accounts import Caller
from deepfake_service.api.jobs import JobOut, job_out
from deepfake_service.container import Services
from deepfake_service.examination.submissions import Sealed, Submission
from deepfake_service.http.auth import Uploader
from deepfake_service.http.dependencies import AppState, AppStateDep, ServicesDep
from deepfake_service.http.problems import problems
from deepfake_service.http.routing import api_router
from deepfake_service.http.submission_form import (
    TextFields,
    VideoForm,
    query_parameters,
    upload_body,
)
from deepfake_service.http.uploads import (
    FILE,
    StreamedFile,
    receive_file,
    refuse_encoding,
    streams_body,
)
from deepfake_service.platform import outbound
from deepfake_service.platform.errors import (
    CallbackRefused,
    InvalidRequest,
    UnsupportedContentType,
    invalid_field,
)
from deepfake_service.platform.networks import CallbackHosts

router = api_router("videos")

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
    body = receive_file(request, state.settings.max_video_bytes, "A video", state.disk.require)
    if _is_raw(request):
        form = fields.parse()
        sealed = await services.submissions.seal(body)
    else:
        try:
            upload = StreamedFile(
                request.headers.get("content-type"), lambda part: fields.open(part.field)
            )
        except UnsupportedContentType as error:
            raise UnsupportedContentType(
                f"{error.message} The body may also be the file itself, with a type such as "
                "video/mp4."
            ) from error
        sealed = await services.submissions.seal(upload.content(body))
        try:
            form = fields.parse()
        except InvalidRequest:
            await services.submissions.discard(sealed)
            raise
        name = upload.name
    submission = replace(form.submission(), file_name=name)
    return await accept_video(state, services, caller, submission, sealed, response)


async def accept_video(
    state: AppState,
    services: Services,
    caller: Caller,
    submission: Submission,
    sealed: Sealed,
    response: Response,
) -> JobOut:
    """Queue a video that was sealed, or find its job, and complete the response."""
    if not sealed.stored.size:
        await services.submissions.discard(sealed)
        raise invalid_field(FILE, "the file is empty; download it again")
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
