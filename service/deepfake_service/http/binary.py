"""Answers that are files."""

from __future__ import annotations

from typing import Any

from fastapi import Request

OCTETS = "application/octet-stream"


def binary(media_type: str, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that answers with a file.

    ``OCTETS`` is offered beside ``media_type``, because generators of clients know few media types.

    Args:
        media_type: the content type that ``media_type_for`` is called with.
        statuses: the statuses of such an answer; 200 if there are none.
    """
    content = {"schema": {"type": "string", "format": "binary"}}
    documented = {media_type: content, OCTETS: content}
    return {status: {"content": documented} for status in statuses or (200,)}


def media_type_for(request: Request, media_type: str) -> str:
    """Return ``OCTETS`` if the client accepts nothing else (RFC 9110, section 12.5.1), or else
    ``media_type``."""
    return OCTETS if request.headers.get("accept", "").strip().lower() == OCTETS else media_type
