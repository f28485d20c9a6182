"""HTML without the white space that a reader does not see: templates are laid out for people."""

from __future__ import annotations

import re

import httpx

BLOCKS = (
    "html head body title meta link script tr td th table thead tbody p li ul ol div section "
    "article form fieldset legend h1 h2 h3 h4 dl dt dd option optgroup select details summary nav "
    "header footer main dialog hr"
)
_TAG = re.compile(r"<[a-z/][^<>]*>")
_AROUND_BLOCK = re.compile(
    rf"\s*(<!doctype[^>]*>|</?(?:{'|'.join(BLOCKS.split())})(?=[ >/])[^>]*>|"
    r'<input type="hidden"[^>]*>)\s*',
    re.IGNORECASE,
)


def compact(html: str) -> str:
    """Return ``html`` in a line, with single spaces, and none around elements in blocks."""
    tags = _TAG.sub(lambda tag: re.sub(r"\s+>", ">", re.sub(r"\s+", " ", tag[0])), html)
    return re.sub(r"\s*\n\s*", " ", _AROUND_BLOCK.sub(r"\1", tags))


async def compact_pages(response: httpx.Response) -> None:
    """Compact the pages that a client of a test receives: its event hook for responses."""
    if response.headers.get("content-type", "").startswith("text/html"):
        html = (await response.aread()).decode()
        response._content = compact(html).encode()
