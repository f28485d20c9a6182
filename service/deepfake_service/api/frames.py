"""``POST /v1/frames``: score pictures while the client waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import anyio
import anyio.to_thread
from starlette.types import Receive

from deepfake_models.bundle.results import Verdict
from deepfake_service.examination.pictures import PictureScorer
from deepfake_service.http.auth import Call, Submitter
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import FrameOut, FramesOut, ModelOut
from deepfake_service.http.submission_form import PictureForm, upload_body
from deepfake_service.http.uploads import Pictures, SubmittedForm, Upload, streams_body
from deepfake_service.platform.errors import ClientGone, invalid_field
from deepfake_service.platform.settings import MIB

router = api_router("frames")

FIELD = "files"
MAX_PICTURES = 64
"""Pictures of one request, which is answered while its client waits."""
MAX_PICTURE_BYTES = 80 * MIB
"""Of one picture: a PNG of 50 megapixels, the most that is decoded, can have 70."""
_FILES = {
    "type": "array",
    "description": "The pictures, one part each.",
    "minItems": 1,
    "items": {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"},
}


@router.post(
    "/frames",
    summary="Score pictures",
    openapi_extra=upload_body("PictureUpload", PictureForm, {FIELD: _FILES}),
)
@streams_body
async def score_pictures(call: Submitter) -> FramesOut:
    """Score 1 to 64 pictures and answer for each, in order.

    A picture that cannot be examined (a video, for example) is answered with `unable_to_evaluate`
    and the reason; the others are scored all the same. Nothing of the request is stored unless it
    names a `case_reference`: then each picture also becomes a job of that case, named by its
    `job_id`. All of a request is answered at once, and a request that ends before leaves nothing: a
    picture takes about 0.4 s on a quiet machine and much more on a busy one, so send as few as your
    timeout allows, or each to `POST /v1/videos`.
    """
    engine = call.state.require_engine()
    pictures = Pictures(FIELD, MAX_PICTURES, MAX_PICTURE_BYTES)
    sent = SubmittedForm(PictureForm, pictures=pictures)
    with sent.held_in(call.state.memory):
        form = await sent.read(call.request, call.state.settings.max_request_bytes)
        if not sent.uploads:
            raise invalid_field(FIELD, "missing; send at least one picture")
        if form.case_reference is None and form.model_fields_set:
            raise invalid_field("case_reference", "required when any other metadata field is given")
        if form.case_reference is not None:
            call.services.disk.require()
        frames = await _score_all(engine.pictures, sent.uploads, call.request.receive)
        if form.case_reference is not None:
            frames = [
                (frame.model_copy(update={"job_id": await _submit(call, form, upload)}), verdict)
                for (frame, verdict), upload in zip(frames, sent.uploads, strict=True)
            ]
    for _, verdict in frames:
        call.state.metrics.frame(verdict)
    return FramesOut(
        frames=[frame for frame, _ in frames],
        model=ModelOut.model_validate(engine.bundle.model_json()),
    )


async def _submit(call: Call, form: PictureForm, upload: Upload) -> str:
    """Submit a picture as a job of the case that ``form`` names, and return the job's id."""
    submissions = call.services.submissions
    sealed = await submissions.seal(upload.pieces())
    submission = replace(form.submission(), file_name=upload.name)
    return (await submissions.accept(call.caller, submission, sealed)).job_id


async def _score_all(
    pictures: PictureScorer, uploads: list[Upload], receive: Receive
) -> list[tuple[FrameOut, Verdict]]:
    """Score ``uploads``, some at a time, unless one of them fails or the client goes away
    (``ClientGone``): pictures that were not begun are then dropped."""
    answers: dict[int, tuple[FrameOut, Verdict]] = {}

    async def work(todo: Iterator[tuple[int, Upload]]) -> None:
        for index, upload in todo:
            digest = await anyio.to_thread.run_sync(upload.sha256)
            upload.content.seek(0)
            verdict = await pictures.score(upload.content)
            shown = {"name": upload.name, "sha256": digest, **verdict.to_json(faces=True)}
            answers[index] = FrameOut.model_validate(shown), verdict
        if len(answers) == len(uploads):
            group.cancel_scope.cancel()  # only the watcher is left

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise ClientGone

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            shared = iter(enumerate(uploads))
            for _ in range(min(pictures.concurrency, len(uploads))):
                group.start_soon(work, shared)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [answers[index] for index in range(len(uploads))]
