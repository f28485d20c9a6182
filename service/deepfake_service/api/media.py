"""Playback of stored media: decrypted on the fly, by range requests, and never cached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Span:
    """The bytes to send: from ``start`` to ``end``, both included."""

    start: int
    end: int
    partial: bool


def _span(range_header: str | None, size: int) -> _Span:
    """Return what a Range header (RFC 9110, section 14.2) asks for; without one, the whole."""
    match = _RANGE.fullmatch(range_header or "")
    if match is None:
        return _Span(0, size - 1, partial=False)
    start = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    return _Span(start, min(last, start + MAX_RANGE_BYTES - 1, size - 1), partial=True)


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
    headers = {
        "Accept-Ranges": "bytes",
        **NO_STORE,
        # Untrusted content: players show it, but browsers must not open it as a page of this site.
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Disposition": f'attachment; filename="{media_id}"',
    }
    if span.start > span.end:
        file.close()
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    if span.partial:
        headers["Content-Range"] = f"bytes {span.start}-{span.end}/{size}"
    headers["Content-Length"] = str(span.end - span.start + 1)
    return StreamingResponse(
        while_authenticated(request, _pieces(file, span)),
        status_code=206 if span.partial else 200,
        media_type=mime,
        headers=headers,
    )


def _pieces(file: BinaryIO, span: _Span) -> Iterator[bytes]:
    with file:
        file.seek(span.start)
        left = span.end - span.start + 1
        while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
            left -= len(piece)
            yield piece
