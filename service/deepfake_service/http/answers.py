"""Answers with a file: their headers, and how OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from fastapi import APIRouter, Response
from fastapi.types import DecoratedCallable

from deepfake_models.media.image import picture_format

DOCUMENT = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
}
"""Headers of a drawing that a browser may open: it must not act on the origin of the console."""
PDF = {
    # Without "sandbox", in which Chromium shows no PDF. Viewers do not give a PDF the origin.
    "Content-Security-Policy": "script-src 'none'; base-uri 'none'; frame-ancestors 'none'",
}
"""Headers of a PDF that a browser may open."""
PIECE_BYTES = 256 * 1024
OCTETS = "application/octet-stream"
JSON = "application/json"
BINARY: dict[str, object] = {"type": "string", "format": "binary"}
"""How OpenAPI describes the content of a file."""


def binary(media_type: str, *statuses: int) -> dict[int | str, dict[str, object]]:
    """Return the ``responses`` of a route that answers with a file, with these ``statuses``, or
    200. ``OCTETS`` is offered before ``media_type``, because generators of clients know few media
    types, and would read the bytes of ``text/csv`` as text."""
    content = {"schema": BINARY}
    documented = {OCTETS: content, media_type: content}
    return {status: {"content": documented} for status in statuses or (200,)}


def file_route(
    router: APIRouter, path: str, summary: str, media_type: str
) -> Callable[[DecoratedCallable], DecoratedCallable]:
    """Return the decorator of a GET route that answers with a file."""
    return router.get(path, summary=summary, response_class=Response, responses=binary(media_type))


def pieces_of(file: BinaryIO, start: int, left: int) -> Iterator[bytes]:
    """Yield ``left`` bytes of a file from ``start`` on, and close it. Iterate it in a thread."""
    with file:
        file.seek(start)
        while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
            left -= len(piece)
            yield piece


def attachment(name: str) -> dict[str, str]:
    """Return the header by which browsers store an answer under a name, and do not open it."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def file_answer(content: bytes | str, media_type: str, name: str) -> Response:
    """Return an answer with a file to store."""
    return Response(content, media_type=media_type, headers=attachment(name))


def pdf_answer(content: bytes, name: str) -> Response:
    """Return an answer with a PDF that a browser may open."""
    headers = {**PDF, "Content-Disposition": f'inline; filename="{name}"'}
    return Response(content, media_type="application/pdf", headers=headers)


def screenshot_answer(content: bytes, name: str) -> Response:
    """Return an answer with a screenshot to store; its format is the ending of its name."""
    kind = (picture_format(content[:64]) or "octet-stream").lower()
    return Response(content, media_type=f"image/{kind}", headers=attachment(f"{name}.{kind}"))
