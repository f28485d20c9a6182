"""``/v1/captures``: pages that other tools or people recorded, and what is examined in them."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
from fastapi import Query, Response
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from deepfake_service.api.videos import checked_callback
from deepfake_service.capture.captures import MAX_FILES, CaptureList, ShownCapture
from deepfake_service.capture.links import MAX_LINKS, CancelledLinks, Link, QueuedLinks
from deepfake_service.http.admission import HEAVY
from deepfake_service.http.answers import BINARY, file_answer, file_route
from deepfake_service.http.auth import Reader, Uploader
from deepfake_service.http.multipart import boundary_of
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import Body, CaptureId
from deepfake_service.http.submission_form import (
    CaptureForm,
    CaseReference,
    Id,
    Note,
    WebAddress,
    upload_body,
)
from deepfake_service.http.uploads import (
    FILE,
    MAX_SCREENSHOT_BYTES,
    Pictures,
    SubmittedForm,
    receive_file,
    require_screenshot,
    streams_body,
)
from deepfake_service.platform.answers import EXAMPLE_ID
from deepfake_service.platform.enums import CaptureState
from deepfake_service.platform.errors import invalid_field

router = api_router("captures")

SCREENSHOTS = "screenshots"
_FILES = {
    FILE: {**BINARY, "description": "A captured page, a picture or a recording."},
    SCREENSHOTS: {
        "type": "array",
        "maxItems": MAX_FILES - 1,
        "items": BINARY,
        "description": "PNG, JPEG or WebP pictures of the page.",
    },
}


MediumNumber = Annotated[int, Field(ge=1, le=10_000)]


class LinkIn(Body):
    """The address of a post that is to be captured."""

    url: Annotated[WebAddress, Field(examples=["https://example.org"])]
    """Its address."""
    note: Note | None = None
    """What is noted about it."""


class LinksIn(Body):
    """Links of posts that are to be captured, for one case."""

    case_reference: CaseReference = None
    """Your reference of the case."""
    case_id: Id | None = None
    """The case, in place of a reference."""
    urls: Annotated[list[LinkIn], Field(min_length=1, max_length=MAX_LINKS)]
    """The links."""
    examine: bool = True
    """Whether every picture and video that is found is examined."""
    callback_url: WebAddress | None = None
    """Called with a signed webhook when each link was captured or refused, and when a job of what
    was found ends."""

    @model_validator(mode="after")
    def _has_one_case(self) -> LinksIn:
        if self.case_id is not None and self.case_reference is not None:
            raise PydanticCustomError("two_cases", "send either case_id or case_reference")
        return self


class ChoiceIn(Body):
    """What to examine."""

    media: Annotated[list[MediumNumber] | None, Field(max_length=500)] = None
    """Numbers of pictures and videos; null for all that are no screenshots of the page."""


@router.post(
    "/captures",
    summary="Hand in a capture",
    status_code=202,
    responses={
        200: {"model": ShownCapture, "description": "The capture that the case already has."},
    },
    openapi_extra=upload_body("CaptureUpload", CaptureForm, _FILES, required=False),
)
@streams_body
async def submit_capture(response: Response, call: Uploader) -> ShownCapture:
    """Hand in a page that another tool recorded, or that you recorded yourself (screenshots, a
    recording), for a case. Send it as multipart: one file in `file`, up to
    19 pictures in `screenshots`. A worker reads it; `GET` says what it found. Nothing of it is
    fetched from the network. With `examine=never`, the file is kept to compare items with."""
    state, services = call.state, call.services
    services.disk.require()
    body = receive_file(call, state.settings.max_video_bytes)
    boundary = boundary_of(call.request.headers.get("content-type"))
    submissions = services.submissions
    shots = Pictures(SCREENSHOTS, MAX_FILES - 1, MAX_SCREENSHOT_BYTES)
    sent = SubmittedForm(CaptureForm, has_file=True, pictures=shots)
    with sent.held_in(state.memory):
        file = await submissions.seal(sent.file(boundary, body, required=False))
        files = [(sent.file_name, file)] if file.stored.size else []
        try:
            form = sent.parse()
            compared = form.examine == "never"
            callback = await checked_callback(form.callback_url, state)
            if not files:
                await submissions.discard(file)
            if not files and not sent.uploads:
                raise invalid_field(FILE, "missing; send an archive of the page or a screenshot")
            for number, shot in enumerate(sent.uploads):
                require_screenshot(shot.content.getvalue(), f"{SCREENSHOTS}[{number}]")
                files.append((shot.name, await submissions.seal(shot.pieces())))
            if compared:
                if callback is not None or sent.uploads:
                    raise invalid_field(
                        "examine", "never takes a file, and neither screenshots nor a callback_url"
                    )
                show = services.media_viewer.require_shown
                with state.budget.enter(call.caller.account_id, HEAVY):
                    await anyio.to_thread.run_sync(show, FILE, file.blob, file.key)
        except BaseException:
            await submissions.discard(*(sealed for _, sealed in files))
            raise
    where = (form.case_id, form.case_reference)
    kept_as = CaptureState.COMPARISON if compared else CaptureState.RECEIVED
    capture_id, created = await services.captures.accept(
        call.caller, where, form.handed_in(), files, callback, kept_as
    )
    if not created:
        response.status_code = 200
    response.headers["Location"] = f"/v1/captures/{capture_id}"
    return await anyio.to_thread.run_sync(services.captures.read, call.caller, capture_id)


@router.post("/links", summary="Have links captured", status_code=202)
async def queue_links(body: LinksIn, call: Uploader) -> QueuedLinks:
    """Let workers open and capture the posts at up to 500 links, if the service is set to. Each
    link becomes a capture with the `id` in the answer."""
    callback = await checked_callback(body.callback_url, call.state)
    links = [Link(each.url, each.note) for each in body.urls]
    where = (body.case_id, body.case_reference)
    return await anyio.to_thread.run_sync(
        lambda: call.services.links.add(
            call.caller, where, links, examine=body.examine, callback=callback
        )
    )


OfCase = Annotated[str, Query(max_length=26, description="Id of the case.", examples=[EXAMPLE_ID])]


@router.delete("/links", summary="Cancel the links that wait")
def cancel_links(call: Uploader, case_id: OfCase) -> CancelledLinks:
    """Keep the links of a case that wait from being opened. Of those that are being opened, nothing
    is kept. Their captures are `refused` with the reason `cancelled`. Audited."""
    return call.services.links.cancel(call.caller, case_id)


@router.get("/captures", summary="List the captures of a case")
def list_captures(call: Reader, case_id: OfCase) -> CaptureList:
    """List the newest 100 captures of a case, newest first. Audited."""
    call.services.queries.brief(call.caller, case_id)
    return call.services.captures.of_case(call.caller, case_id)


@router.get("/captures/{capture_id}", summary="Read a capture")
def get_capture(capture_id: CaptureId, call: Reader) -> ShownCapture:
    """Return a capture and what was found in it. Audited."""
    return call.services.captures.read(call.caller, capture_id)


@file_route(
    router, "/captures/{capture_id}/bundle", "Get the bundle of a capture", "application/zip"
)
def get_capture_bundle(capture_id: CaptureId, call: Reader) -> Response:
    """Return the signed record of a capture (BagIt in a ZIP), which `deepfake verify` checks: its
    description, and the text of its pages. It has no imagery, only the digests of it. Audited."""
    content = call.services.captures.bundle(call.caller, capture_id)
    return file_answer(content, "application/zip", f"capture-{capture_id}.zip")


@router.delete("/captures/{capture_id}", summary="Delete a capture", status_code=204)
def delete_capture(capture_id: CaptureId, call: Reader) -> None:
    """Delete a capture with its files, what was found in them and its signed bundle. Items that
    were taken out of it stay, with its id and digest. Audited."""
    call.services.retention.delete_capture(call.caller, capture_id)


@router.post(
    "/captures/{capture_id}/examinations", summary="Examine what is in a capture", status_code=202
)
def examine_capture(capture_id: CaptureId, choice: ChoiceIn, call: Uploader) -> ShownCapture:
    """Have pictures and videos of a capture examined. Each becomes an item of the case, with the
    post of its page; the jobs appear in `media` when a worker has taken them out of their files.
    """
    return call.services.captures.choose(call.caller, capture_id, choice.media)
