"""``POST /v1/frames``: pictures scored at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Request
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from deepfake_models.results import Verdict
from deepfake_service.errors import ClientGone, Overloaded
from deepfake_service.http.auth import submitter
from deepfake_service.http.dependencies import app_state
from deepfake_service.http.multipart import MULTIPART
from deepfake_service.http.problems import problems
from deepfake_service.http.schemas import FrameOut, FramesOut, ModelOut, frame_out
from deepfake_service.http.submission_form import wrong_field
from deepfake_service.http.uploads import CASE_FIELDS, FIELD, Upload, read_files
from deepfake_service.inference.pictures import PictureScorer
from deepfake_service.security.accounts import Caller

router = APIRouter(prefix="/v1", tags=["frames"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {
                            "type": "array",
                            "minItems": 1,
                            "items": {
                                "type": "string",
                                "format": "binary",
                                "contentMediaType": "application/octet-stream",
                            },
                        },
                        **{name: {"type": "string"} for name in CASE_FIELDS},
                    },
                }
            }
        },
    }
}


@router.post(
    "/frames",
    summary="Score pictures",
    responses=problems(400, 401, 403, 408, 413, 415, 422, 500, 503),
    openapi_extra=_BODY,
)
async def post_frames(request: Request, caller: Annotated[Caller, Depends(submitter)]) -> FramesOut:
    """Score 1 to 64 pictures and answer for each, in order.

    A picture that cannot be examined, a video included, is answered as `unable_to_evaluate` with
    the reason and spoils no other. Nothing of the request is kept, unless it names a
    `case_reference`: then each picture becomes a job of that case as well, named by its `job_id`.
    """
    state = app_state(request)
    engine = state.require_engine()
    if engine.batcher.full:
        raise Overloaded
    with state.admission.enter() as ticket:
        try:
            uploads, form = await read_files(
                request.stream(),
                content_type=request.headers.get("content-type"),
                content_encoding=request.headers.get("content-encoding"),
                content_length=request.headers.get("content-length"),
                settings=state.settings,
                ticket=ticket,
            )
        except ClientDisconnect as error:
            raise ClientGone from error
        try:
            wanted = form.submission(None, kind="frame")
            if wanted.case_reference is None and form.values:
                detail = "missing: nothing is kept without it, so there is nowhere to note the rest"
                raise wrong_field("case_reference", detail)
            frames = await _score_all(engine.pictures, uploads, request.receive)
            if wanted.case_reference is not None:
                services = state.require_services()
                for (frame, _), upload in zip(frames, uploads, strict=True):
                    sealed = await services.submissions.seal(_pieces(upload))
                    frame.job_id = (
                        await services.submissions.accept(caller, wanted, sealed)
                    ).job_id
        finally:
            for upload in uploads:
                upload.close()
    for _, verdict in frames:
        state.metrics.frame(verdict)
    return FramesOut(
        frames=[frame for frame, _ in frames], model=ModelOut.model_validate(engine.model)
    )


async def _pieces(upload: Upload) -> AsyncIterator[bytes]:
    yield upload.content.getvalue()


async def _score_all(
    pictures: PictureScorer, uploads: list[Upload], receive: Receive
) -> list[tuple[FrameOut, Verdict]]:
    """Score ``uploads``, some at a time, unless the client goes away or one of them fails.

    Raises:
        ClientGone: the connection was closed; work not yet begun is dropped.
    """
    answers: dict[int, tuple[FrameOut, Verdict]] = {}
    failures: list[Exception] = []

    async def work(todo: Iterator[tuple[int, Upload]]) -> None:
        try:
            for index, upload in todo:
                answers[index] = await _score_one(pictures, upload)
        except Exception as error:
            failures.append(error)
            group.cancel_scope.cancel()
        if len(answers) == len(uploads):
            group.cancel_scope.cancel()  # nobody is left but the watcher

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        failures.append(ClientGone())
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        shared = iter(enumerate(uploads))
        for _ in range(min(pictures.concurrency, len(uploads))):
            group.start_soon(work, shared)
    if failures:
        raise failures[0]
    return [answers[index] for index in range(len(uploads))]


async def _score_one(pictures: PictureScorer, upload: Upload) -> tuple[FrameOut, Verdict]:
    digest = await anyio.to_thread.run_sync(upload.sha256)
    upload.content.seek(0)
    verdict = await pictures.score(upload.content)
    return frame_out(upload.name, digest, verdict), verdict
