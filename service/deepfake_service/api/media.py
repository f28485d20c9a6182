"""Playback of stored media: decrypted on the fly, by range requests, and never cached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, BinaryIO

from fastapi import Header, Request, Response
from starlette.responses import StreamingResponse

from deepfake_service.evidence.bundle.artifacts import mime_of
from deepfake_service.http.auth import Reader, while_authenticated
from deepfake_service.http.dependencies import ServicesDep
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import NO_STORE, OCTETS, CaseId, MediaId, binary

router = api_router("cases")

PIECE_BYTES = 256 * 1024
MAX_RANGE_BYTES = 8 * 1024 * 1024
"""Bytes of one partial answer. Players ask for the next part, and one that stops holds nothing."""
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")


def _span(range_header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first and the last byte that a Range header (RFC 9110, section 14.2) asks for."""
    match = _RANGE.fullmatch(range_header or "")
    if match is None:
        return None
    start = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    return start, min(last, start + MAX_RANGE_BYTES - 1, size - 1)


@router.get(
    "/cases/{case_id}/media/{media_id}/content",
    summary="Play a medium",
    response_class=Response,
    responses={
        **binary(OCTETS, 200, 206),
        416: {"description": "The medium has no such part."},
    },
)
def get_medium(
    request: Request,
    case_id: CaseId,
    media_id: MediaId,
    caller: Reader,
    services: ServicesDep,
    range_: Annotated[
        str | None,
        Header(
            alias="range",
            max_length=100,
            description="The part to return (RFC 9110, section 14.2).",
            examples=["bytes=0-65535"],
        ),
    ] = None,
) -> Response:
    """Return the original while it is retained. Media of a case in which a person may be a minor
    are withheld. Audited."""
    file, size = services.queries.playback(caller, case_id, media_id)
    mime = mime_of(file.read(4096)) or "application/octet-stream"
    span = _span(range_, size)
    start, end = span or (0, size - 1)
    headers = {
        "Accept-Ranges": "bytes",
        **NO_STORE,
        # Untrusted content: players show it, but browsers must not open it as a page of this site.
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Disposition": f'attachment; filename="{media_id}"',
    }
    if start > end:
        file.close()
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    if span:
        headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    headers["Content-Length"] = str(end - start + 1)
    return StreamingResponse(
        while_authenticated(request, pieces_of(file, start, end - start + 1)),
        status_code=206 if span else 200,
        media_type=mime,
        headers=headers,
    )


def pieces_of(file: BinaryIO, start: int, left: int) -> Iterator[bytes]:
    """Yield ``left`` bytes of a file from ``start`` on, and close it."""
    with file:
        file.seek(start)
        while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
            left -= len(piece)
            yield piece
