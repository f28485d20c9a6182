"""The text part of a capture as programs that show archives take it, with an index of both parts.

This runs in the sandbox: what is in the text part, others made.
"""

from __future__ import annotations

import re
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from deepfake_service.evidence.bundle.warc import HEAD_END, Budget, head_fields, records, written

_FIELDS = (
    "warc-target-uri", "warc-date", "warc-profile", "warc-payload-digest", "warc-block-digest",
    "content-type",
)  # fmt: skip


def replayable(source: BinaryIO) -> tuple[list[dict[str, Any]], bytes]:
    """Return a row of the index for each record that can be shown, and the records.

    A text without its imagery is a conversion, which such programs pass over; here it is a resource
    of the page, with the digest of what it is.
    """
    rows: list[dict[str, Any]] = []
    out = bytearray()
    for record in records(source, Budget()):
        block = b"".join(record.block())
        kind = "resource" if record.kind == "conversion" else record.kind
        kept = {n: record.fields[n] for n in _FIELDS if n in record.fields}
        if kind == "resource":
            kept.pop("warc-payload-digest", None)  # of the response that it was made of
        again = written(kind, kept, block)
        if kind in ("response", "resource"):
            status, mime = "200", record.fields.get("content-type", "")
            if kind == "response":
                line, _, head = HEAD_END.split(block, 1)[0].partition(b"\n")
                said = re.match(rb"HTTP/\S+ ([0-9]{3})", line)
                status = said[1].decode() if said else "000"
                mime = head_fields(head).get("content-type", "")
            rows.append(
                {
                    "url": record.uri[:4096],
                    "at": record.fields.get("warc-date", "")[:40],
                    "mime": mime.partition(";")[0].strip().lower()[:200],
                    "status": status,
                    "offset": len(out),
                    "length": len(again),
                }
            )
        out += again
    return rows, bytes(out)


def sort_key(url: str) -> str:
    """Return the key by which an index is sorted: the host from its end, and the rest (SURT)."""
    try:
        address = urlsplit(url.lower())
        host, port = address.hostname, address.port
    except ValueError:
        host = None
    if not host:
        return "".join(url.lower().split())
    reached = ",".join(reversed(host.removeprefix("www.").split(".")))
    query = f"?{address.query}" if address.query else ""
    return "".join(f"{reached}{f':{port}' if port else ''}){address.path or '/'}{query}".split())
