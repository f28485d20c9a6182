"""``/v1/captures``: pages that other tools or people recorded, and what is examined in them."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
from fastapi import Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from deepfake_service.api.videos import checked_callback
from deepfake_service.capture.captures import MAX_FILES, ShownCapture
from deepfake_service.capture.links import MAX_LINKS, Link
from deepfake_service.http.answers import BINARY, JSON, file_answer, file_route
from deepfake_service.http.auth import Call, Reader, Uploader
from deepfake_service.http.multipart import MULTIPART, boundary_of, media_type_of
from deepfake_service.http.problems import read_json
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import Body, CaptureId
from deepfake_service.http.submission_form import (
    REF,
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
    receive_body,
    receive_file,
    require_screenshot,
    streams_body,
)
from deepfake_service.platform.answers import EXAMPLE_ID, ItemId, Published
from deepfake_service.platform.errors import invalid_field

router = api_router("captures")

SCREENSHOTS = "screenshots"
MAX_LINKS_BYTES = 2 << 20
"""Of 500 links of 4,000 characters."""
_BODY = upload_body(
    "CaptureUpload",
    CaptureForm,
    FILE,
    {**BINARY, "description": "A WACZ, WARC or MHTML file, a picture or a recording."},
    required=False,
)
_BODY["content"][MULTIPART]["schema"]["properties"][SCREENSHOTS] = {
    "type": "array",
    "maxItems": MAX_FILES - 1,
    "items": BINARY,
    "description": "PNG, JPEG or WebP pictures of the page.",
}


class CapturesOut(Published):
    """The newest captures of a case, at most 100, newest first."""

    captures: list[ShownCapture] = Field(description="The captures.")


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


_BODY["content"][JSON] = {"schema": LinksIn.model_json_schema(ref_template=REF)}


_LANGUAGE = {
    "name": "Accept-Language",
    "in": "header",
    "required": False,
    "description": "The language of what is wrong with fields: `ko` or `en`.",
    "schema": {"type": "string", "examples": ["ko"]},
}
"""All requests may have it. Of two bodies without an optional parameter, openapi-python-client
makes code that does not run: it leaves out an import."""


class LinkOut(Published):
    """A link that waits to be captured."""

    id: ItemId = Field(description="Id of its capture.")
    url: str = Field(description="Its address.")
    created: bool = Field(description="False if it already waited in the case.")


class LinksOut(Published):
    """Links that wait to be captured, in the order of the request."""

    case_id: ItemId = Field(description="Id of their case.")
    links: list[LinkOut] = Field(description="The links.")


class CancelledOut(Published):
    """Links that are not opened any more."""

    cancelled: int = Field(description="How many waited, or were being opened.")


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
    openapi_extra={"parameters": [_LANGUAGE], "requestBody": _BODY},
)
@streams_body
async def submit_capture(response: Response, call: Uploader) -> ShownCapture | LinksOut:
    """Hand in a page that another tool recorded (WACZ, WARC, MHTML), or that you recorded yourself
    (screenshots, a recording), for a case. Send it as multipart: one file in `file`, up to
    19 pictures in `screenshots`. A worker reads it; `GET` says what it found. Nothing of it is
    fetched from the network.

    Or send JSON with the links of up to 500 posts, which workers then open and capture, if the
    service is set to. Each link becomes a capture of its own, with an `id` in the answer."""
    if media_type_of(call.request) == JSON:
        return await _queue_links(call)
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
            callback = await checked_callback(form.callback_url, state)
            if not files:
                await submissions.discard(file)
            if not files and not sent.uploads:
                raise invalid_field(FILE, "missing; send an archive of the page or a screenshot")
            for number, shot in enumerate(sent.uploads):
                require_screenshot(shot.content.getvalue(), f"{SCREENSHOTS}[{number}]")
                files.append((shot.name, await submissions.seal(shot.pieces())))
        except BaseException:
            await services.captures.discard(files)
            raise
    capture_id, created = await services.captures.accept(
        call.caller, (form.case_id, form.case_reference), form.handed_in(), files, callback
    )
    if not created:
        response.status_code = 200
    response.headers["Location"] = f"/v1/captures/{capture_id}"
    return await anyio.to_thread.run_sync(services.captures.read, call.caller, capture_id)


async def _queue_links(call: Call) -> LinksOut:
    body = b"".join([part async for part in receive_body(call.request, MAX_LINKS_BYTES)])
    try:
        asked = LinksIn.model_validate(read_json(body))
    except ValidationError as error:
        invalid = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(invalid) from error
    callback = await checked_callback(asked.callback_url, call.state)
    links = [Link(each.url, each.note) for each in asked.urls]
    where = (asked.case_id, asked.case_reference)
    case_id, queued = await anyio.to_thread.run_sync(
        lambda: call.services.links.add(
            call.caller, where, links, examine=asked.examine, callback=callback
        )
    )
    listed = [LinkOut(id=each.capture_id, url=each.url, created=each.created) for each in queued]
    return LinksOut(case_id=case_id, links=listed)


OfCase = Annotated[str, Query(max_length=26, description="Id of the case.", examples=[EXAMPLE_ID])]


@router.delete("/captures", summary="Cancel the links that wait")
def cancel_links(call: Uploader, case_id: OfCase) -> CancelledOut:
    """Keep the links of a case that wait from being opened. Of those that are being opened, nothing
    is kept. Their captures are `refused` with the reason `cancelled`. Audited."""
    return CancelledOut(cancelled=call.services.links.cancel(call.caller, case_id))


@router.get("/captures", summary="List the captures of a case")
def list_captures(call: Reader, case_id: OfCase) -> CapturesOut:
    """List the newest 100 captures of a case, newest first. Audited."""
    call.services.queries.brief(call.caller, case_id)
    return CapturesOut(captures=call.services.captures.of_case(call.caller, case_id))


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
