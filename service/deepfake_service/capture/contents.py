"""What one file of a capture has, told apart by content: text that is kept, and imagery.

Declared types are not trusted: a picture is what begins as one, whatever its server called it, and
text is what has neither imagery in it nor bytes that text does not have. This runs in the sandbox.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b32encode
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from deepfake_service.evidence.bundle.artifacts import mime_of
from deepfake_service.evidence.bundle.warc import (
    CODINGS,
    MAX_HEAD_BYTES,
    Budget,
    Damaged,
    Record,
    dechunked,
    decoded,
    head_fields,
    parted,
    written,
)

MAX_TEXT_BYTES = 4 << 20
"""Of one text. Pages have up to a few megabytes, scripts that are larger say nothing about them."""
MAX_KEPT_BYTES = 32 << 20
"""Of all text, unpacked."""
MAX_MEDIA = 500
MAX_PAGES = 200
MAX_RECORDS = 50_000
MAX_NOTES = 50
"""Of each kind of fault."""
FORGED = ("unlisted", "file_digest", "digest")
"""Codes of faults that point to tampering. They are listed first."""
MIN_PICTURE_BYTES = 5_000
"""A picture with a face of the smallest size that is examined has more; icons have less."""
MAX_URL = 4096
REVISIT = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
_TEXTUAL = re.compile(
    r"text/.*|application/(?:[\w.-]+\+)?(?:json|xml|javascript)|application/x-javascript"
    r"|application/(?:vnd\.apple\.mpegurl|x-mpegurl|dash\+xml)"
)
_INLINE = re.compile(rb"data:(?:image|video|audio)/[^,\"'<>]{0,200},[^\"'<>)\s\\]{1024,}")
_COOKIE = re.compile(rb"(?im)^(set-cookie2?:[ \t]*)([^\r\n]*)")
_TITLE = re.compile(rb"<title[^>]{0,200}>([^<]{1,2000})", re.IGNORECASE)
_ROLES = (
    ("urn:fullpage:", "full_page_capture"),
    ("file:///screenshot", "full_page_capture"),  # Scoop
    ("urn:view:", "view"),
    ("urn:thumbnail:", "thumbnail"),
)
MEDIUM = "medium"
_DRAWINGS = ("image/svg+xml", "image/x-icon", "image/vnd.microsoft.icon")
"""Pictures without a face: nobody misses them."""


@dataclass
class Body:
    """A body that was read: its digests, how it begins, and its bytes if it may be text."""

    raw: bytes | None
    """As transferred; ``None`` if it is imagery, or longer than a text that is kept."""
    plain: bytes | None
    """Without its codings."""
    head: bytes
    size: int
    sha256: str
    """Of what it is without its codings."""
    digests: tuple[str, ...]
    """With and without its codings: tools state either."""


@dataclass
class Contents:
    """What was found so far in the files of a capture."""

    pages: list[dict[str, Any]] = field(default_factory=list)
    media: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    software: list[str] = field(default_factory=list)
    html: bool = False
    kept: list[bytes] = field(default_factory=list)
    """The records of the text part, written."""
    kept_bytes: int = 0
    records: int = 0
    first: dict[str, Any] | None = None
    """The first page by itself, if no list of pages names any."""
    budget: Budget = field(default_factory=Budget)
    _known: set[str] = field(default_factory=set)
    _noted: Counter[str] = field(default_factory=Counter)

    def note(self, code: str, detail: str) -> None:
        """State a fault that does not keep the rest from being read; no kind of them hides another
        one."""
        self._noted[code] += 1
        if self._noted[code] <= MAX_NOTES:
            self.notes.append({"code": code, "detail": detail[:300]})

    def compare(self, label: str, shown: str | None, body: Body, url: str) -> None:
        """Count a body whose content, of the type ``shown`` if it is imagery, is not what its
        ``label`` says, and state what is labelled as a picture and is not one: otherwise nothing
        tells that it is left out."""
        is_picture = label.startswith("image/") and label not in _DRAWINGS
        if shown is not None:
            wrong = not label.startswith(("image/", "video/"))
        elif is_picture:
            wrong = body.size > 0
        else:  # a part of a video looks like nothing by itself, but not like a page
            wrong = label.startswith("video/") and body.head.lstrip().startswith(b"<")
        if wrong:
            self.counts["mislabelled"] += 1
        if wrong and is_picture:
            what = "labelled as a picture, but its content is not one that can be read"
            self.note("body", f"{url[:200] or 'a part'}: {what} ({label[:40]})")

    def count_record(self) -> None:
        self.records += 1
        if self.records > MAX_RECORDS:
            raise Damaged(f"it has more than {MAX_RECORDS} records")

    def page(self, url: object, title: object, at: object) -> None:
        """Note a page of a list."""
        if len(self.pages) < MAX_PAGES:
            self.pages.append({"url": _cut(url), "title": _cut(title, 500), "at": _cut(at, 40)})

    def medium(self, body: Body, url: str, at: str, locator: dict[str, Any]) -> None:
        """Note a picture or a video; one that has been seen is counted only."""
        mime = str(mime_of(body.head))
        lowered = url.lower()
        role = next((r for start, r in _ROLES if lowered.startswith(start)), MEDIUM)
        if body.sha256 in self._known:
            self.counts["repeated"] += 1
        elif role == "thumbnail" or (
            url and mime.startswith("image/") and role == MEDIUM and body.size < MIN_PICTURE_BYTES
        ):
            self.counts["small"] += 1
        elif len(self.media) >= MAX_MEDIA:
            self.counts["beyond_limit"] += 1
        else:
            self._known.add(body.sha256)
            self.media.append(
                {
                    "number": len(self.media) + 1,
                    "role": role,
                    "mime": mime,
                    "sha256": body.sha256,
                    "size": body.size,
                    "url": _cut(url),
                    "at": _cut(at, 40),
                    **locator,
                }
            )

    def keep(self, kind: str, fields: dict[str, str], block: bytes) -> None:
        """Add a record to the text part, unless that is full."""
        self.kept_bytes += len(block) + 500
        if self.kept_bytes > MAX_KEPT_BYTES:
            self.counts["text_left_out"] += 1
            return
        digest = f"sha256:{hashlib.sha256(block).hexdigest()}"
        self.kept.append(written(kind, {**fields, "WARC-Block-Digest": digest}, block))

    def text(self, url: str, at: str, mime: str, plain: bytes) -> bytes:
        """Return a text without the imagery in it, and note what it says about its page."""
        if "html" in mime or plain[:200].lstrip().lower().startswith((b"<!doctype", b"<html")):
            self.html = True
            if self.first is None and url.startswith("http"):
                title = _TITLE.search(plain[:MAX_HEAD_BYTES])
                named = title[1].decode("utf-8", errors="replace") if title else ""
                self.first = {"url": _cut(url), "title": " ".join(named.split())[:500], "at": at}
        cut, inline = _INLINE.subn(b"data:,cut", plain)
        self.counts["inline_imagery"] += inline
        return cut if inline else plain


def instant(stated: str) -> datetime | None:
    """Return a time that a file states, in UTC, its zone if it names none; ``None`` if it is no
    time."""
    try:
        at = datetime.fromisoformat(stated)
        return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def is_text(mime: str, body: Body) -> bool:
    """Return whether a body is text that may be kept."""
    declared = mime.partition(";")[0].strip().lower()
    return bool(
        body.plain is not None
        and _TEXTUAL.fullmatch(declared)
        and b"\0" not in body.plain
        and mime_of(body.head) is None
    )


def read_body(pieces: Iterable[bytes], head: dict[str, str], stated: str, budget: Budget) -> Body:
    """Read a body to its end; ``stated`` is the digest that the record states of it."""
    algorithm, pieces = stated.partition(":")[0].lower(), iter(pieces)
    is_chunked = "chunked" in head.get("transfer-encoding", "").lower()
    coding = head.get("content-encoding", "").lower()
    last = _Tap(algorithm, keeps=True)
    taps, flow = [last], pieces
    if is_chunked or coding in CODINGS:
        taps.append(_Tap(algorithm, keeps=True))
        flow = taps[1].through(flow)
    if is_chunked:
        flow = dechunked(flow)
    if coding in CODINGS:
        taps.append(_Tap(algorithm))
        flow = decoded(coding, taps[-1].through(flow), budget)
    for _ in last.through(flow):
        if mime_of(last.head) is not None:
            last.keeps = False
    for _ in taps[1].through(pieces) if len(taps) > 1 else pieces:  # what follows the last chunk
        pass
    raw = taps[min(1, len(taps) - 1)]
    stated_digests = tuple(tap.stated() for tap in taps)
    return Body(
        raw.kept() if last.keeps else None, last.kept(), last.head, last.size,
        last.sha256.hexdigest(), stated_digests,
    )  # fmt: skip


class _Tap:
    """Digests and keeps what flows through it."""

    def __init__(self, algorithm: str, *, keeps: bool = False) -> None:
        self.sha256 = hashlib.sha256()
        self._sha1 = hashlib.sha1() if algorithm == "sha1" else None  # noqa: S324 - as recorded
        self.keeps = keeps
        self._kept = bytearray()
        self.size = 0
        self.head = b""

    def through(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.size += len(piece)
            if len(self.head) < 512:
                self.head += piece[:512]
            self.sha256.update(piece)
            if self._sha1 is not None:
                self._sha1.update(piece)
            if self.keeps:
                self._kept += piece
                self.keeps = len(self._kept) <= MAX_TEXT_BYTES
            yield piece

    def kept(self) -> bytes | None:
        return bytes(self._kept) if self.keeps else None

    def stated(self) -> str:
        """Return the digest with its algorithm, in hex."""
        if self._sha1 is not None:
            return f"sha1:{self._sha1.hexdigest()}"
        return f"sha256:{self.sha256.hexdigest()}"


def same_digest(stated: str, computed: str) -> bool:
    """Return whether a digest of a field, in hex or in base 32, is one that was computed."""
    algorithm, _, value = stated.partition(":")
    ours, _, hexed = computed.partition(":")
    base32 = b32encode(bytes.fromhex(hexed)).decode().rstrip("=")
    return algorithm.lower() == ours and (
        value.lower() == hexed or value.upper().rstrip("=") == base32
    )


class RecordReader:
    """Reads the records of one WARC file into ``contents``."""

    def __init__(self, contents: Contents, file: int, member: str | None) -> None:
        self._contents = contents
        self._where = {"file": file, **({"member": member} if member else {})}

    def read(self, record: Record) -> None:
        """Read one record; ``Damaged`` if the file ends within it, or there are too many."""
        contents = self._contents
        contents.count_record()
        if record.kind == "warcinfo":
            software = head_fields(b"".join(record.block())[:MAX_HEAD_BYTES]).get("software")
            if software and len(contents.software) < 5:
                contents.software.append(software[:200])
        elif record.kind == "response" and record.uri.startswith("http"):
            self._response(record)
        elif record.kind in ("resource", "conversion"):
            mime = record.fields.get("content-type", "")
            block = _Tap(_algorithm_of(record))
            body = read_body(block.through(record.block()), {}, _stated(record), contents.budget)
            self._check(record, block, body)
            self._store(record, body, mime, b"")
        elif record.kind == "request":
            contents.counts["requests_left_out"] += 1
        elif record.kind == "revisit":
            contents.counts["revisits"] += 1
            self._revisit(record)

    def _response(self, record: Record) -> None:
        contents, url = self._contents, record.uri
        block = _Tap(_algorithm_of(record))
        head, flow = parted(block.through(record.block()))
        if not head:
            contents.note("http_head", f"a response of {url[:200]} has no HTTP head")
            for _ in flow:
                pass
            return
        fields = head_fields(head.partition(b"\n")[2])
        try:
            body = read_body(flow, fields, _stated(record), contents.budget)
        except Damaged as error:
            contents.note("body", f"{url[:200]}: {error.message}")
            for _ in flow:
                pass
            if record.left:
                raise
            return
        self._check(record, block, body)
        status, size = head.split(b" ", 2)[1:2], body.size
        span = fields.get("content-range", "").replace(" ", "").lower()  # RFC 9110, section 14.4
        if status == [b"206"] and span != f"bytes0-{size - 1}/{size}":
            contents.counts["partial"] += 1
            return
        self._store(record, body, fields.get("content-type", ""), head)

    def _revisit(self, record: Record) -> None:
        """Keep the head of an answer whose body is not in its record."""
        head = b"".join(record.block())[: MAX_HEAD_BYTES + 1]
        if head.startswith(b"HTTP/") and len(head) <= MAX_HEAD_BYTES:
            fields = {**_fields_of(record), "Content-Type": "application/http; msgtype=response"}
            stated = _stated(record)
            fields |= {"WARC-Payload-Digest": stated[:200]} if stated else {}
            self._contents.keep("revisit", {**fields, "WARC-Profile": REVISIT}, self._masked(head))

    def _masked(self, head: bytes) -> bytes:
        masked = _COOKIE.sub(lambda m: m[1] + b"*" * len(m[2]), head)
        self._contents.counts["cookies_masked"] += masked != head
        return masked

    def _check(self, record: Record, block: _Tap, body: Body) -> None:
        counts, fields = self._contents.counts, record.fields
        before = counts["digests"]
        for what, name, computed in (
            ("block", "warc-block-digest", (block.stated(),)),
            ("content", "warc-payload-digest", body.digests),
        ):
            stated = fields.get(name, "")
            if stated.lower().startswith(("sha1:", "sha256:")):
                counts["digests"] += 1
                if not any(same_digest(stated, each) for each in computed):
                    counts["wrong_digests"] += 1
                    self._contents.note("digest", f"the {what} of {record.uri[:200]}")
        counts["without_digest"] += counts["digests"] == before

    def _store(self, record: Record, body: Body, mime: str, head: bytes) -> None:
        """Keep what is text, and note what is imagery."""
        contents, url, at = self._contents, record.uri, record.fields.get("warc-date", "")
        declared = mime.partition(";")[0].strip().lower()
        fields = _fields_of(record)
        shown = mime_of(body.head)
        if shown == "video/mp2t" and head:
            shown = None  # a segment of a video that tools record by its segments, however labelled
        else:
            contents.compare(declared, shown, body, url)
        if shown is not None and "warc-truncated" in record.fields:
            contents.counts["cut_short"] += 1  # half a video is none
        elif shown is not None:
            place = {"offset": record.place.offset, "skip": record.place.skip}
            contents.medium(body, url, at, {**self._where, **place})
        masked = self._masked(head)
        if head:
            fields["Content-Type"] = "application/http; msgtype=response"
            fields["WARC-Payload-Digest"] = f"sha256:{body.sha256}"
        if is_text(mime, body):
            assert body.plain is not None
            plain = contents.text(url, at, declared, body.plain)
            if head and plain is body.plain and body.raw is not None:
                contents.keep("response", fields, masked + body.raw)
                return
            converted = {**fields, "Content-Type": declared}
            contents.keep("conversion" if head else "resource", converted, plain)
        elif not head:
            contents.counts["apart"] += 1
            return
        if head:
            contents.counts["apart"] += 1
            contents.keep("revisit", {**fields, "WARC-Profile": REVISIT}, masked)


def _algorithm_of(record: Record) -> str:
    return record.fields.get("warc-block-digest", "").partition(":")[0].lower()


def _fields_of(record: Record) -> dict[str, str]:
    """Return what a record says of where and when its content was received."""
    fields = {"WARC-Target-URI": record.uri[:MAX_URL]}
    for name in ("WARC-Date", "WARC-IP-Address", "WARC-Protocol", "WARC-Cipher-Suite"):
        if value := record.fields.get(name.lower()):
            fields[name] = value[:100]
    return fields


def _stated(record: Record) -> str:
    return record.fields.get("warc-payload-digest", "")


def _cut(text: object, limit: int = MAX_URL) -> str:
    return str(text if text is not None else "")[:limit]
