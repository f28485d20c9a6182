"""Playback of a medium that is still kept: decrypted on the fly by range requests, uncached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, BinaryIO

import anyio.to_thread
from fastapi import APIRouter, Header, Path, Request, Response
from starlette.responses import StreamingResponse

from deepfake_service.evidence.artifacts import mime_of
from deepfake_service.http.auth import Reader
from deepfake_service.http.dependencies import app_state
from deepfake_service.http.problems import problems

router = APIRouter(prefix="/v1", tags=["cases"])

PIECE_BYTES = 256 * 1024
MOST_AT_ONCE = 8 * 1024 * 1024
"""Bytes of one answer to a range request: players ask again, and a leaving one holds nothing."""
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")

Id = Annotated[str, Path(max_length=26)]


@router.get(
    "/cases/{case_id}/media/{media_id}/content",
    summary="Play a medium",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}},
        206: {"description": "A part of it."},
        416: {"description": "There is no such part."},
        **problems(401, 403, 404, 410, 503),
    },
)
async def get_content(
    request: Request,
    case_id: Id,
    media_id: Id,
    caller: Reader,
    range_: Annotated[str | None, Header(alias="range", max_length=100)] = None,
) -> Response:
    """The original, for as long as retention keeps it, for people who may see it; not where
    somebody may be a minor. Audited."""
    services = app_state(request).require_services()
    wanted = _RANGE.fullmatch(range_ or "")
    start = int(wanted[1]) if wanted else 0

    def opened() -> tuple[BinaryIO, int, str]:
        file, size = services.queries.playback(caller, case_id, media_id)
        mime = mime_of(file.read(4096)) or "application/octet-stream"
        return file, size, mime

    file, size, mime = await anyio.to_thread.run_sync(opened)
    if wanted is None:
        end = size - 1
    else:
        end = min(int(wanted[2]) if wanted[2] else size - 1, start + MOST_AT_ONCE - 1, size - 1)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-store",
        # It is the submitter's: shown by players, never as a page of ours.
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Disposition": f'attachment; filename="{media_id}"',
    }
    if start > end:
        file.close()
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    headers["Content-Length"] = str(end - start + 1)
    return StreamingResponse(
        _pieces(file, start, end),
        status_code=200 if wanted is None else 206,
        media_type=mime,
        headers=headers,
    )


def _pieces(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        left = end - start + 1
        while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
            left -= len(piece)
            yield piece
