"""What one record of a WARC file has: its digests, and its text and imagery by their content."""

from __future__ import annotations

import re
from base64 import b32encode
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from deepfake_service.capture.contents import (
    Body,
    Item,
    Medium,
    Software,
    Tap,
    Text,
    check_label,
    fault,
    is_text,
    read_body,
    text_of,
)
from deepfake_service.capture.findings import MAX_URL, Location
from deepfake_service.capture.warc import (
    MAX_HEAD_BYTES,
    Budget,
    Damaged,
    Record,
    decoders_of,
    head_fields,
    split_head,
)

REVISIT = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
_COOKIE = re.compile(rb"(?im)^(set-cookie2?:[ \t]*)([^\r\n]*)")


@dataclass(frozen=True, slots=True)
class RecordReader:
    """Reads the records of one WARC file."""

    budget: Budget
    file: int
    """Number of the file that was handed in."""
    member: str | None
    """Its name in a WACZ."""

    def read(self, record: Record) -> Iterator[Item]:
        """Yield what is in a record; ``Damaged`` if the file ends within it."""
        yield "records"
        if record.kind == "warcinfo":
            fields = head_fields(b"".join(record.block())[:MAX_HEAD_BYTES])
            yield Software(fields.get("software", ""))
        elif record.kind == "response" and record.uri.startswith("http"):
            yield from self._response(record)
        elif record.kind in ("resource", "conversion"):
            block = Tap(_algorithm(record, "block"))
            body = read_body(block.through(record.block()), algorithm=_algorithm(record, "payload"))
            yield from _check_digests(record, block, body)
            yield from self._content(record, body, record.fields.get("content-type", ""), b"")
        elif record.kind == "request":
            yield "requests_left_out"
        elif record.kind == "revisit":
            yield "revisits"
            yield from _revisit(record)

    def _response(self, record: Record) -> Iterator[Item]:
        url, block = record.uri, Tap(_algorithm(record, "block"))
        head, flow = split_head(block.through(record.block()))
        if not head:
            yield fault("http_head", f"a response of {url[:200]} has no HTTP head")
            return
        fields = head_fields(head.partition(b"\n")[2])
        try:
            decoders = decoders_of(fields, self.budget)
            body = read_body(flow, decoders, _algorithm(record, "payload"))
        except Damaged as error:
            yield fault("body", f"{url[:200]}: {error.message}")
            for _ in flow:
                pass
            if record.left:
                raise
            return
        yield from _check_digests(record, block, body)
        status, size = head.split(b" ", 2)[1:2], body.size
        span = fields.get("content-range", "").replace(" ", "").lower()  # RFC 9110, section 14.4
        if status == [b"206"] and span != f"bytes0-{size - 1}/{size}":
            yield "partial"
            return
        yield from self._content(record, body, fields.get("content-type", ""), head)

    def _content(self, record: Record, body: Body, mime: str, head: bytes) -> Iterator[Item]:
        """Yield what is text, and what is imagery."""
        url, at = record.uri, record.fields.get("warc-date", "")
        declared = mime.partition(";")[0].strip().lower()
        shown = body.mime
        if shown == "video/mp2t" and head:
            shown = None  # a segment of a video that tools record by its segments, however labelled
        else:
            yield from check_label(declared, shown, body, url)
        if shown is not None and "warc-truncated" in record.fields:
            yield "cut_short"  # half a video is none
        elif shown is not None:
            offset, skip = record.place.offset, record.place.skip
            location = Location(file=self.file, member=self.member, offset=offset, skip=skip)
            yield Medium(body, url, at, location)
        fields, masked = _fields_of(record), (yield from _masked(head))
        if head:
            fields["Content-Type"] = "application/http; msgtype=response"
            fields["WARC-Payload-Digest"] = f"sha256:{body.sha256}"
        if is_text(mime, body):
            assert body.plain is not None
            plain = yield from text_of(url, at, declared, body.plain)
            if head and plain is body.plain and body.raw is not None:
                yield Text("response", fields, masked + body.raw)
                return
            converted = {**fields, "Content-Type": declared}
            yield Text("conversion" if head else "resource", converted, plain)
        elif not head:
            yield "apart"
            return
        if head:
            yield "apart"
            yield Text("revisit", {**fields, "WARC-Profile": REVISIT}, masked)


def _revisit(record: Record) -> Iterator[Item]:
    """Yield the head of an answer whose body is not in its record."""
    head = b"".join(record.block())[: MAX_HEAD_BYTES + 1]
    if head.startswith(b"HTTP/") and len(head) <= MAX_HEAD_BYTES:
        fields = {**_fields_of(record), "Content-Type": "application/http; msgtype=response"}
        if stated := record.fields.get("warc-payload-digest"):
            fields["WARC-Payload-Digest"] = stated[:200]
        masked = yield from _masked(head)
        yield Text("revisit", {**fields, "WARC-Profile": REVISIT}, masked)


def _masked(head: bytes) -> Generator[Item, None, bytes]:
    masked = _COOKIE.sub(lambda m: m[1] + b"*" * len(m[2]), head)
    if masked != head:
        yield "cookies_masked"
    return masked


def _check_digests(record: Record, block: Tap, body: Body) -> Iterator[Item]:
    has_digest = False
    for what, name, computed in (
        ("block", "warc-block-digest", (block.stated(),)),
        ("content", "warc-payload-digest", body.digests),
    ):
        stated = record.fields.get(name, "")
        if stated.lower().startswith(("sha1:", "sha256:")):
            has_digest = True
            yield "digests"
            if not any(same_digest(stated, each) for each in computed):
                yield "wrong_digests"
                yield fault("digest", f"the {what} of {record.uri[:200]}")
    if not has_digest:
        yield "without_digest"


def _algorithm(record: Record, what: str) -> str:
    return record.fields.get(f"warc-{what}-digest", "").partition(":")[0].lower()


def _fields_of(record: Record) -> dict[str, str]:
    """Return what a record says of where and when its content was received."""
    fields = {"WARC-Target-URI": record.uri[:MAX_URL]}
    for name in ("WARC-Date", "WARC-IP-Address", "WARC-Protocol", "WARC-Cipher-Suite"):
        if value := record.fields.get(name.lower()):
            fields[name] = value[:100]
    return fields


def same_digest(stated: str, computed: str) -> bool:
    """Return whether a digest of a field, in hex or in base 32, is one that was computed."""
    algorithm, _, value = stated.partition(":")
    ours, _, hexed = computed.partition(":")
    base32 = b32encode(bytes.fromhex(hexed)).decode().rstrip("=")
    return algorithm.lower() == ours and (
        value.lower() == hexed or value.upper().rstrip("=") == base32
    )
