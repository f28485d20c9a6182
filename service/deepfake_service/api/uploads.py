"""``/v1/uploads``: send a large video in parts by tus 1.0.0, and submit it once it is complete.

The core protocol with the extensions creation, expiration and termination
(https://tus.io/protocols/resumable-upload). Metadata are not taken: what an upload is, is said when
it is submitted, so that an unfinished one tells nothing.
"""

from __future__ import annotations

from email.utils import format_datetime
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, Header, Path, Request, Response

from deepfake_service.api.jobs import JobOut, job_out
from deepfake_service.api.videos import accept_video
from deepfake_service.examination.uploads import Progress
from deepfake_service.http.auth import Reader, Uploader
from deepfake_service.http.dependencies import AppStateDep, ServicesDep
from deepfake_service.http.problems import problems
from deepfake_service.http.routing import api_router
from deepfake_service.http.submission_form import UploadForm
from deepfake_service.http.uploads import receive_file, refuse_encoding, streams_body
from deepfake_service.platform.errors import (
    RequestTooLarge,
    UnsupportedContentType,
    UnsupportedTus,
    UploadConflict,
    invalid_field,
)

VERSION = "1.0.0"
PART_TYPE = "application/offset+octet-stream"
_BINARY = {"type": "string", "format": "binary"}
_BODY = {"required": True, "content": {PART_TYPE: {"schema": _BINARY}}}


async def _check_version(
    response: Response,
    tus_resumable: Annotated[
        str | None, Header(description="The version of tus: `1.0.0`.", examples=[VERSION])
    ] = None,
) -> None:
    if tus_resumable != VERSION:
        raise UnsupportedTus
    response.headers["Tus-Resumable"] = VERSION


router = api_router("videos")
_SPEAKS_TUS = [Depends(_check_version)]
Token = Annotated[
    str,
    Path(
        max_length=64,
        description="The last part of the address of the upload. Keep it secret: it has the key.",
        examples=["Zk3b0O0m2cJ1o4n8f6q7r5t9v1x3z5B7D9F1H3J5K7M"],
    ),
]
Size = Annotated[
    str,
    Header(
        pattern=r"^[0-9]{1,15}$", description="The size of the file in bytes.", examples=["5242880"]
    ),
]
Offset = Annotated[
    str,
    Header(
        pattern=r"^[0-9]{1,15}$",
        description="Where in the file the body begins: the offset that the last response gave.",
        examples=["0"],
    ),
]


@router.options("/uploads", summary="Read what is supported of tus", status_code=204)
def read_tus(_: Reader, state: AppStateDep) -> Response:
    """Return the version and the extensions of tus, and the largest upload, in headers."""
    return Response(
        status_code=204,
        headers={
            "Tus-Resumable": VERSION,
            "Tus-Version": VERSION,
            "Tus-Extension": "creation,expiration,termination",
            "Tus-Max-Size": str(state.settings.max_video_bytes),
        },
    )


@router.post(
    "/uploads",
    summary="Begin an upload",
    status_code=201,
    response_class=Response,
    responses=problems(412, 413),
    dependencies=_SPEAKS_TUS,
)
def create_upload(
    response: Response,
    caller: Uploader,
    state: AppStateDep,
    services: ServicesDep,
    upload_length: Size,
) -> None:
    """Begin an upload (tus: creation). `Location` is its address, and has the key under which its
    parts are encrypted, which is stored nowhere else. It is deleted a day later if it was not
    submitted.
    """
    length, most = int(upload_length), state.settings.max_video_bytes
    if length > most:
        raise RequestTooLarge(f"A video may have at most {most} bytes.")
    if not length:
        raise invalid_field("Upload-Length", "the file is empty; download it again")
    state.disk.require(2 * length)  # it is encrypted again under a key of its case
    token, upload = services.uploads.create(caller, length)
    response.headers["Location"] = f"/v1/uploads/{token}"
    _add_progress(response, upload)


@router.head(
    "/uploads/{token}",
    summary="Read how far an upload is",
    responses=problems(412),
    dependencies=_SPEAKS_TUS,
)
def read_upload(token: Token, response: Response, caller: Reader, services: ServicesDep) -> None:
    """Return how much of an upload has arrived, in `Upload-Offset`. Go on from there."""
    upload = services.uploads.find(caller, token)
    response.headers["Upload-Length"] = str(upload.length)
    _add_progress(response, upload)


@router.patch(
    "/uploads/{token}",
    summary="Send what follows of an upload",
    status_code=204,
    response_class=Response,
    responses=problems(409, 412, 415),
    dependencies=_SPEAKS_TUS,
    openapi_extra={"requestBody": _BODY},
)
@streams_body
async def append_to_upload(
    token: Token,
    request: Request,
    response: Response,
    caller: Uploader,
    state: AppStateDep,
    services: ServicesDep,
    upload_offset: Offset,
) -> None:
    """Send bytes of the file from `Upload-Offset` on, as many as you like in one request. What has
    arrived when the connection breaks is kept.
    """
    if request.headers.get("content-type", "").lower() != PART_TYPE:
        raise UnsupportedContentType(f"Send the request as {PART_TYPE}.")
    refuse_encoding(request)
    state.disk.require()
    upload = await anyio.to_thread.run_sync(services.uploads.find, caller, token)
    if int(upload_offset) != upload.offset:
        raise UploadConflict(
            f"The upload is at offset {upload.offset}. Send what follows, from there."
        )
    body = receive_file(
        request, upload.length - upload.offset, "The rest of the upload", state.disk.require
    )
    offset = await services.uploads.append(upload, body)
    _add_progress(response, upload, offset)


@router.delete(
    "/uploads/{token}",
    summary="Delete an upload",
    status_code=204,
    response_class=Response,
    responses=problems(412),
    dependencies=_SPEAKS_TUS,
)
def delete_upload(token: Token, caller: Uploader, services: ServicesDep) -> None:
    """Delete what has arrived of an upload (tus: termination). A job that it became stays."""
    services.uploads.delete(caller, services.uploads.find(caller, token))


@router.post(
    "/uploads/{token}/job",
    summary="Submit a complete upload",
    status_code=202,
    responses={
        200: {"model": JobOut, "description": "The job that already existed."},
        **problems(409, 500),
    },
)
async def submit_upload(
    token: Token,
    form: UploadForm,
    response: Response,
    caller: Uploader,
    state: AppStateDep,
    services: ServicesDep,
) -> JobOut:
    """Queue an upload for examination once all of it has arrived, as `POST /v1/videos` does with a
    file. A repeated request gets the job that the upload became.
    """
    upload = await anyio.to_thread.run_sync(services.uploads.find, caller, token)
    if upload.job_id is not None:
        response.status_code = 200
        response.headers["Location"] = f"/v1/jobs/{upload.job_id}"
        return await anyio.to_thread.run_sync(job_out, state, caller, upload.job_id)
    state.disk.require(upload.length)
    submission = form.submission()
    with services.uploads.completing(upload):
        sealed = await services.submissions.seal(services.uploads.content(upload))
        job = await accept_video(state, services, caller, submission, sealed, response)
        await anyio.to_thread.run_sync(services.uploads.complete, upload, job.id)
    return job


def _add_progress(response: Response, upload: Progress, offset: int | None = None) -> None:
    response.headers["Upload-Offset"] = str(upload.offset if offset is None else offset)
    response.headers["Upload-Expires"] = format_datetime(upload.expires_at, usegmt=True)
