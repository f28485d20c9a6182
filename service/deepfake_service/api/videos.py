"""``POST /v1/videos`` and ``/v1/uploads``: queue a video that is sent whole, or in parts.

A video is encrypted while it arrives. A large one is sent by tus 1.0.0, the core protocol with the
extensions creation, expiration and termination (https://tus.io/protocols/resumable-upload), and
submitted once it is complete. Metadata are not taken: what an upload is, is said when it is
submitted, so that an unfinished one tells nothing.
"""

from __future__ import annotations

from dataclasses import replace
from email.utils import format_datetime
from functools import partial
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, Header, Path, Response
from pydantic import Field
from starlette.concurrency import iterate_in_threadpool

from deepfake_service.api.jobs import JobOut, job_out
from deepfake_service.examination.submissions import Sealed, Submission
from deepfake_service.examination.uploads import Progress
from deepfake_service.http.answers import BINARY, pieces_of
from deepfake_service.http.auth import Call, Reader, Uploader
from deepfake_service.http.dependencies import AppState
from deepfake_service.http.multipart import boundary_of
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import Body, JobId
from deepfake_service.http.submission_form import (
    WHOLE_NUMBER,
    FrameCount,
    UploadForm,
    VideoForm,
    upload_body,
)
from deepfake_service.http.uploads import (
    FILE,
    SubmittedForm,
    receive_file,
    streams_body,
)
from deepfake_service.platform import outbound
from deepfake_service.platform.errors import (
    Code,
    Conflict,
    Gone,
    NotFound,
    RequestTooLarge,
    ServiceError,
    UnsupportedContentType,
    UnsupportedTus,
    invalid_field,
)
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.webhooks import Callback

router = api_router("videos")

_FILES = {FILE: {**BINARY, "description": "The video or picture."}}


@router.post(
    "/videos",
    summary="Submit a video",
    status_code=202,
    responses={
        200: {"model": JobOut, "description": "The job that already existed."},
    },
    openapi_extra=upload_body("VideoUpload", VideoForm, _FILES),
)
@streams_body
async def submit_video(response: Response, call: Uploader) -> JobOut:
    """Queue a video (or a picture) for examination. Send it as multipart in the field `file`,
    with the other fields before or after it, each of them once.

    If you send the same content again for the same case with the same options, the answer is 200
    with the existing job; a new URL is added to it.
    """
    submissions = call.services.submissions
    call.services.disk.require()
    sent = SubmittedForm(VideoForm, has_file=True)
    body = receive_file(call, call.state.settings.max_video_bytes)
    boundary = boundary_of(call.request.headers.get("content-type"))
    sealed = await submissions.seal(sent.file(boundary, body))
    try:
        form = sent.parse()
    except ServiceError:
        await submissions.discard(sealed)
        raise
    submission = replace(form.submission(), file_name=sent.file_name)
    return await _accept(call, submission, sealed, response)


class ExaminationIn(Body):
    """How an item is examined once more."""

    frames: FrameCount = Field(
        description="How many frames to examine; with `around_s`, at most.", examples=[600]
    )
    around_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, examples=[12.48]
    )
    """A moment of a video that was examined, in seconds: only the ten seconds around it are
    examined. All of their frames are, or `frames` of them, evenly spread, if there are more."""


@router.post("/jobs/{job_id}/examinations", summary="Examine again", status_code=202)
async def examine_again(
    job_id: JobId, examination: ExaminationIn, response: Response, call: Uploader
) -> JobOut:
    """Examine the file of a job once more, with another number of frames or around a moment, as
    long as it is kept (else 410). Both examinations stay. The answer is 200 if there is an equal
    one."""
    services = call.services
    services.disk.require()
    find = partial(services.queries.items_of, call.caller, [job_id])
    item = next(iter(await anyio.to_thread.run_sync(find)), None)
    if item is None:
        raise NotFound
    if not item.media_kept:
        raise Gone(code=Code.MEDIA_DELETED)
    again = Submission(
        kind=item.kind,
        frames=examination.frames,
        around_s=None if examination.around_s is None else round(examination.around_s, 3),
        retention=item.retention,
        file_name=item.entry.name,
        repeats=job_id,
    )
    play = partial(services.queries.playback, call.caller, item.case_id, item.media_id)
    file, size = await anyio.to_thread.run_sync(play)
    sealed = await services.submissions.seal(iterate_in_threadpool(pieces_of(file, 0, size)))
    return await _accept(call, again, sealed, response)


async def _accept(call: Call, submission: Submission, sealed: Sealed, response: Response) -> JobOut:
    """Queue a video that was sealed, or find its job, and complete the response."""
    submissions = call.services.submissions
    if not sealed.stored.size:
        await submissions.discard(sealed)
        raise invalid_field(FILE, "the file is empty; download it again")
    try:
        await checked_callback(submission.callback.url if submission.callback else None, call.state)
    except ServiceError:
        await submissions.discard(sealed)
        raise
    accepted = await submissions.accept(call.caller, submission, sealed)
    if not accepted.created:
        response.status_code = 200
    return await _job_answer(call, accepted.job_id, response)


async def _job_answer(call: Call, job_id: str, response: Response) -> JobOut:
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    return await anyio.to_thread.run_sync(job_out, call, job_id)


async def checked_callback(url: str | None, state: AppState) -> Callback | None:
    """Return a callback to this URL, if there is one; ``InvalidRequest`` now if it would be
    refused when it is called."""
    if url is None:
        return None
    allowed = CallbackHosts.of(state.settings.callback_hosts)
    # Not in a thread of requests: a name server may take seconds.
    await anyio.to_thread.run_sync(
        partial(outbound.check, url, allowed=allowed), limiter=state.resolvers
    )
    return Callback(url)


VERSION = "1.0.0"
LENGTH = "Upload-Length"
PART_TYPE = "application/offset+octet-stream"


async def _check_version(
    response: Response,
    tus_resumable: Annotated[str | None, Header(alias="Tus-Resumable")] = None,
) -> None:
    if tus_resumable != VERSION:
        raise UnsupportedTus
    response.headers["Tus-Resumable"] = VERSION


_SPEAKS_TUS = [Depends(_check_version)]
Token = Annotated[
    str,
    Path(
        max_length=64,
        description="The last part of the address of the upload. Keep it secret: it has the key.",
        examples=["Zk3b0O0m2cJ1o4n8f6q7r5t9v1x3z5B7D9F1H3J5K7M"],
    ),
]
Size = Annotated[int, Header(alias=LENGTH, ge=0), WHOLE_NUMBER]
Offset = Annotated[int, Header(alias="Upload-Offset", ge=0), WHOLE_NUMBER]


# Clients of tus know its routes; generators of clients do not know its media type.
@router.options("/uploads", include_in_schema=False, status_code=204)
def read_tus(call: Reader) -> Response:
    """Return the version and the extensions of tus, and the largest upload, in headers."""
    return Response(
        status_code=204,
        headers={
            "Tus-Resumable": VERSION,
            "Tus-Version": VERSION,
            "Tus-Extension": "creation,expiration,termination",
            "Tus-Max-Size": str(call.state.settings.max_video_bytes),
        },
    )


@router.post(
    "/uploads",
    include_in_schema=False,
    status_code=201,
    response_class=Response,
    dependencies=_SPEAKS_TUS,
)
def create_upload(response: Response, call: Uploader, upload_length: Size) -> None:
    """Begin an upload (tus: creation). `Location` is its address, and has the key under which its
    parts are encrypted, which is stored nowhere else. It is deleted a day later if it was not
    submitted.
    """
    most = call.state.settings.max_video_bytes
    if upload_length > most:
        raise RequestTooLarge(f"A video may have at most {most} bytes.")
    if not upload_length:
        raise invalid_field(LENGTH, "the file is empty; download it again")
    call.services.disk.require(2 * upload_length)  # it is encrypted again under a key of its case
    token, upload = call.services.uploads.create(call.caller, upload_length)
    response.headers["Location"] = f"/v1/uploads/{token}"
    _add_progress(response, upload)


@router.head(
    "/uploads/{token}",
    include_in_schema=False,
    response_class=Response,
    dependencies=_SPEAKS_TUS,
)
def read_upload(token: Token, response: Response, call: Reader) -> None:
    """Return how much of an upload has arrived, in `Upload-Offset`. Go on from there."""
    upload = call.services.uploads.find(call.caller, token)
    response.headers[LENGTH] = str(upload.length)
    _add_progress(response, upload)


@router.patch(
    "/uploads/{token}",
    include_in_schema=False,
    status_code=204,
    response_class=Response,
    dependencies=_SPEAKS_TUS,
)
@streams_body
async def append_to_upload(
    token: Token, response: Response, call: Uploader, upload_offset: Offset
) -> None:
    """Send bytes of the file from `Upload-Offset` on, as many as you like in one request. What has
    arrived when the connection breaks is kept.
    """
    if call.request.headers.get("content-type", "").lower() != PART_TYPE:
        raise UnsupportedContentType(f"Send the request as {PART_TYPE}.")
    call.services.disk.require()
    uploads = call.services.uploads
    upload = await anyio.to_thread.run_sync(uploads.find, call.caller, token)
    if upload_offset != upload.offset:
        raise Conflict(
            f"The upload is at offset {upload.offset}. Send what follows, from there.",
            code=Code.UPLOAD_CONFLICT,
        )
    body = receive_file(call, upload.length - upload.offset)
    offset = await uploads.append(upload, body)
    _add_progress(response, upload, offset)


@router.delete(
    "/uploads/{token}",
    include_in_schema=False,
    status_code=204,
    response_class=Response,
    dependencies=_SPEAKS_TUS,
)
def delete_upload(token: Token, call: Uploader) -> None:
    """Delete what has arrived of an upload (tus: termination). A job that it became stays."""
    uploads = call.services.uploads
    uploads.delete(call.caller, uploads.find(call.caller, token))


@router.post(
    "/uploads/{token}/job",
    summary="Submit a complete upload",
    status_code=202,
    responses={
        200: {"model": JobOut, "description": "The job that already existed."},
    },
)
async def submit_upload(
    token: Token, form: UploadForm, response: Response, call: Uploader
) -> JobOut:
    """Queue an upload for examination once all of it has arrived, as `POST /v1/videos` does with a
    file. A repeated request gets the job that the upload became, and a new URL is added to it; one
    for another case or with other options gets 410.
    """
    uploads, submissions = call.services.uploads, call.services.submissions
    upload = await anyio.to_thread.run_sync(uploads.find, call.caller, token)
    if upload.job_id is not None:
        again = form.submission()
        await checked_callback(again.callback.url if again.callback else None, call.state)
        job_id = await anyio.to_thread.run_sync(
            submissions.repeat, call.caller, again, upload.job_id
        )
        response.status_code = 200
        return await _job_answer(call, job_id, response)
    call.services.disk.require(upload.length)
    with uploads.completing(upload):
        sealed = await submissions.seal(uploads.content(upload))
        job = await _accept(call, form.submission(), sealed, response)
        await anyio.to_thread.run_sync(uploads.complete, upload, job.id)
    return job


def _add_progress(response: Response, upload: Progress, offset: int | None = None) -> None:
    response.headers["Upload-Offset"] = str(upload.offset if offset is None else offset)
    response.headers["Upload-Expires"] = format_datetime(upload.expires_at, usegmt=True)
