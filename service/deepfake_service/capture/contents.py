"""What one file of a capture has, told apart by content: text that is kept, and imagery.

Declared types are not trusted: a picture is what begins as one, whatever its server called it, and
text is what has neither imagery in it nor bytes that text does not have. This runs in the sandbox.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b32encode
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from deepfake_service.capture.findings import (
    MAX_MEDIA,
    MAX_NOTES,
    MAX_PAGES,
    MAX_URL,
    CapturedImage,
    Findings,
    Integrity,
    Kind,
    Location,
    Note,
    Page,
    Role,
)
from deepfake_service.capture.warc import (
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
from deepfake_service.evidence.bundle.artifacts import mime_of

MAX_TEXT_BYTES = 4 << 20
"""Of one text. Pages have up to a few megabytes, scripts that are larger say nothing about them."""
MAX_KEPT_BYTES = 32 << 20
"""Of all text, unpacked."""
MAX_RECORDS = 50_000
MAX_SOFTWARE = 5
FORGED = ("unlisted", "file_digest", "digest")
"""Codes of faults that point to tampering. They are listed first."""
MIN_PICTURE_BYTES = 5_000
"""A picture with a face of the smallest size that is examined has more; icons have less."""
REVISIT = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
_TEXTUAL = re.compile(
    r"text/.*|application/(?:[\w.-]+\+)?(?:json|xml|javascript)|application/x-javascript"
    r"|application/(?:vnd\.apple\.mpegurl|x-mpegurl|dash\+xml)"
)
_INLINE = re.compile(rb"data:(?:image|video|audio)/[^,\"'<>]{0,200},[^\"'<>)\s\\]{1024,}")
_COOKIE = re.compile(rb"(?im)^(set-cookie2?:[ \t]*)([^\r\n]*)")
_TITLE = re.compile(rb"<title[^>]{0,200}>([^<]{1,2000})", re.IGNORECASE)
_ROLES: tuple[tuple[str, Role | None], ...] = (
    ("urn:fullpage:", "full_page_capture"),
    ("file:///screenshot", "full_page_capture"),  # Scoop
    ("urn:view:", "view"),
    ("urn:thumbnail:", None),
)
_DRAWINGS = ("image/svg+xml", "image/x-icon", "image/vnd.microsoft.icon")
"""Pictures without a face: no one misses them."""


@dataclass(frozen=True, slots=True)
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

    @property
    def mime(self) -> str | None:
        """Its type by its first bytes, if it is imagery."""
        return mime_of(self.head)


@dataclass
class Contents:
    """What is in one file of a capture."""

    budget: Budget
    pages: list[Page] = field(default_factory=list)
    """Of lists of pages; without one, the first page."""
    media: dict[str, CapturedImage] = field(default_factory=dict)
    """By their digests."""
    text: bytearray = field(default_factory=bytearray)
    """The text that is kept, as WARC records, packed."""
    kept: int = 0
    unpacked: int = 0
    has_html: bool = False
    software: list[str] = field(default_factory=list)
    records: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[Note] = field(default_factory=list)

    def findings(self, kind: Kind, integrity: Integrity) -> Findings:
        """Return all of it. Each medium gets the page that was begun last before it was fetched."""
        pages = self.pages
        begun = [(instant(page.at), i) for i, page in enumerate(pages)]
        dated = sorted((at, i) for at, i in begun if at)

        def page_of(medium: CapturedImage) -> int | None:
            at = instant(medium.at)
            before = bisect_right(dated, (at, len(pages))) if at else 0
            return (dated[before - 1][1] if before else 0) if pages else None

        return Findings(
            kind=kind,
            integrity=integrity,
            software=list(dict.fromkeys(self.software)),
            pages=pages,
            media=[m.model_copy(update={"page": page_of(m)}) for m in self.media.values()],
            records=self.records,
            html=self.has_html,
            kept=self.kept,
            counts={name: count for name, count in sorted(self.counts.items()) if count},
            notes=sorted(self.notes, key=lambda note: note.code not in FORGED),
        )

    def add_note(self, code: str, detail: str) -> None:
        """State a fault that does not keep the rest from being read; no kind of them hides another
        one."""
        if [note.code for note in self.notes].count(code) < MAX_NOTES:
            self.notes.append(Note(code=code, detail=detail[:300]))

    def add_software(self, name: str) -> None:
        """Note what made the file, as it says."""
        if name and len(self.software) < MAX_SOFTWARE:
            self.software.append(name[:200])

    def add_record(self) -> None:
        """Count a record or a part; ``Damaged`` if there are too many."""
        self.records += 1
        if self.records > MAX_RECORDS:
            raise Damaged(f"it has more than {MAX_RECORDS} records")

    def add_page(self, url: object, title: object, at: object) -> None:
        """Note a page."""
        if len(self.pages) < MAX_PAGES:
            self.pages.append(Page(url=_cut(url), title=_cut(title, 500), at=_cut(at, 40)))

    def add_medium(self, body: Body, url: str, at: str, location: Location) -> None:
        """Note a picture or a video; one that has been seen is counted only."""
        mime = str(body.mime)
        lowered = url.lower()
        matching = (each for start, each in _ROLES if lowered.startswith(start))
        role: Role | None = next(matching, "medium")
        is_small = mime.startswith("image/") and role == "medium" and body.size < MIN_PICTURE_BYTES
        if body.sha256 in self.media:
            self.counts["repeated"] += 1
        elif role is None or (url and is_small):
            self.counts["small"] += 1
        elif len(self.media) >= MAX_MEDIA:
            self.counts["beyond_limit"] += 1
        else:
            self.media[body.sha256] = CapturedImage(
                number=len(self.media) + 1,
                role=role,
                mime=mime,
                sha256=body.sha256,
                size=body.size,
                url=_cut(url),
                at=_cut(at, 40),
                page=None,
                **location.model_dump(),
            )

    def check_label(self, label: str, shown: str | None, body: Body, url: str) -> None:
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
            self.add_note("body", f"{url[:200] or 'a part'}: {what} ({label[:40]})")

    def keep(self, kind: str, fields: dict[str, str], block: bytes) -> None:
        """Add a record to the text part, unless that is full."""
        self.unpacked += len(block) + 500
        if self.unpacked > MAX_KEPT_BYTES:
            self.counts["text_left_out"] += 1
            return
        self.text += written(kind, fields, block)
        self.kept += 1

    def text_of(self, url: str, at: str, mime: str, plain: bytes) -> bytes:
        """Return a text without the imagery in it, and note what it says about its page."""
        if "html" in mime or plain[:200].lstrip().lower().startswith((b"<!doctype", b"<html")):
            self.has_html = True
            if not self.pages and url.startswith("http"):
                title = _TITLE.search(plain[:MAX_HEAD_BYTES])
                named = title[1].decode("utf-8", errors="replace") if title else ""
                self.add_page(url, " ".join(named.split()), at)
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
        and body.mime is None
    )


Decoder = Callable[[Iterable[bytes]], Iterator[bytes]]
"""Removes one coding of a body."""


def decoders_of(head: dict[str, str], budget: Budget) -> list[Decoder]:
    """Return what removes the codings that an HTTP head states."""
    decoders: list[Decoder] = []
    if "chunked" in head.get("transfer-encoding", "").lower():
        decoders.append(dechunked)
    if (coding := head.get("content-encoding", "").lower()) in CODINGS:
        decoders.append(partial(decoded, coding, budget=budget))
    return decoders


def read_body(
    pieces: Iterable[bytes], decoders: Iterable[Decoder] = (), algorithm: str = ""
) -> Body:
    """Read a body to its end, with the digests of ``algorithm`` before and after each decoder."""
    received = content = _Tap(algorithm)
    flow = transferred = received.through(pieces)
    digests = [received]
    for decode in decoders:
        content = _Tap(algorithm)
        flow = content.through(decode(flow))
        digests.append(content)
    for _ in flow:
        if mime_of(content.head) is not None:
            content.keeps = False
    for _ in transferred:  # what follows the last chunk
        pass
    return Body(
        raw=received.kept() if content.keeps else None,
        plain=content.kept(),
        head=content.head,
        size=content.size,
        sha256=content.sha256.hexdigest(),
        digests=tuple(tap.stated() for tap in digests),
    )


class _Tap:
    """Digests and keeps what flows through it."""

    def __init__(self, algorithm: str) -> None:
        self.sha256 = hashlib.sha256()
        self._stated = hashlib.sha1() if algorithm == "sha1" else self.sha256  # noqa: S324 - as recorded
        self.keeps = True
        self._kept = bytearray()
        self.size = 0
        self.head = b""

    def through(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.size += len(piece)
            if len(self.head) < 512:
                self.head += piece[:512]
            for digest in {self.sha256, self._stated}:
                digest.update(piece)
            if self.keeps:
                self._kept += piece
                self.keeps = len(self._kept) <= MAX_TEXT_BYTES
            yield piece

    def kept(self) -> bytes | None:
        return bytes(self._kept) if self.keeps else None

    def stated(self) -> str:
        """Return the digest with its algorithm, in hex."""
        return f"{self._stated.name}:{self._stated.hexdigest()}"


def same_digest(stated: str, computed: str) -> bool:
    """Return whether a digest of a field, in hex or in base 32, is one that was computed."""
    algorithm, _, value = stated.partition(":")
    ours, _, hexed = computed.partition(":")
    base32 = b32encode(bytes.fromhex(hexed)).decode().rstrip("=")
    return algorithm.lower() == ours and (
        value.lower() == hexed or value.upper().rstrip("=") == base32
    )


@dataclass(frozen=True, slots=True)
class RecordReader:
    """Reads the records of one WARC file."""

    contents: Contents
    file: int
    """Number of the file that was handed in."""
    member: str | None
    """Its name in a WACZ."""

    def read(self, record: Record) -> None:
        """Read one record; ``Damaged`` if the file ends within it, or there are too many."""
        contents = self.contents
        contents.add_record()
        if record.kind == "warcinfo":
            fields = head_fields(b"".join(record.block())[:MAX_HEAD_BYTES])
            contents.add_software(fields.get("software", ""))
        elif record.kind == "response" and record.uri.startswith("http"):
            self._read_response(record)
        elif record.kind in ("resource", "conversion"):
            block = _Tap(_algorithm(record, "block"))
            body = read_body(block.through(record.block()), algorithm=_algorithm(record, "payload"))
            self._check_digests(record, block, body)
            self._store(record, body, record.fields.get("content-type", ""), b"")
        elif record.kind == "request":
            contents.counts["requests_left_out"] += 1
        elif record.kind == "revisit":
            contents.counts["revisits"] += 1
            self._read_revisit(record)

    def _read_response(self, record: Record) -> None:
        contents, url = self.contents, record.uri
        block = _Tap(_algorithm(record, "block"))
        head, flow = parted(block.through(record.block()))
        if not head:
            contents.add_note("http_head", f"a response of {url[:200]} has no HTTP head")
            for _ in flow:
                pass
            return
        fields = head_fields(head.partition(b"\n")[2])
        try:
            decoders = decoders_of(fields, contents.budget)
            body = read_body(flow, decoders, _algorithm(record, "payload"))
        except Damaged as error:
            contents.add_note("body", f"{url[:200]}: {error.message}")
            for _ in flow:
                pass
            if record.left:
                raise
            return
        self._check_digests(record, block, body)
        status, size = head.split(b" ", 2)[1:2], body.size
        span = fields.get("content-range", "").replace(" ", "").lower()  # RFC 9110, section 14.4
        if status == [b"206"] and span != f"bytes0-{size - 1}/{size}":
            contents.counts["partial"] += 1
            return
        self._store(record, body, fields.get("content-type", ""), head)

    def _read_revisit(self, record: Record) -> None:
        """Keep the head of an answer whose body is not in its record."""
        head = b"".join(record.block())[: MAX_HEAD_BYTES + 1]
        if head.startswith(b"HTTP/") and len(head) <= MAX_HEAD_BYTES:
            fields = {**_fields_of(record), "Content-Type": "application/http; msgtype=response"}
            if stated := record.fields.get("warc-payload-digest"):
                fields["WARC-Payload-Digest"] = stated[:200]
            self.contents.keep("revisit", {**fields, "WARC-Profile": REVISIT}, self._masked(head))

    def _masked(self, head: bytes) -> bytes:
        masked = _COOKIE.sub(lambda m: m[1] + b"*" * len(m[2]), head)
        self.contents.counts["cookies_masked"] += masked != head
        return masked

    def _check_digests(self, record: Record, block: _Tap, body: Body) -> None:
        counts, fields = self.contents.counts, record.fields
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
                    self.contents.add_note("digest", f"the {what} of {record.uri[:200]}")
        counts["without_digest"] += counts["digests"] == before

    def _store(self, record: Record, body: Body, mime: str, head: bytes) -> None:
        """Keep what is text, and note what is imagery."""
        contents, url, at = self.contents, record.uri, record.fields.get("warc-date", "")
        declared = mime.partition(";")[0].strip().lower()
        fields = _fields_of(record)
        shown = body.mime
        if shown == "video/mp2t" and head:
            shown = None  # a segment of a video that tools record by its segments, however labelled
        else:
            contents.check_label(declared, shown, body, url)
        if shown is not None and "warc-truncated" in record.fields:
            contents.counts["cut_short"] += 1  # half a video is none
        elif shown is not None:
            place = record.place
            location = Location(
                file=self.file, member=self.member, offset=place.offset, skip=place.skip
            )
            contents.add_medium(body, url, at, location)
        masked = self._masked(head)
        if head:
            fields["Content-Type"] = "application/http; msgtype=response"
            fields["WARC-Payload-Digest"] = f"sha256:{body.sha256}"
        if is_text(mime, body):
            assert body.plain is not None
            plain = contents.text_of(url, at, declared, body.plain)
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


def _algorithm(record: Record, what: str) -> str:
    return record.fields.get(f"warc-{what}-digest", "").partition(":")[0].lower()


def _fields_of(record: Record) -> dict[str, str]:
    """Return what a record says of where and when its content was received."""
    fields = {"WARC-Target-URI": record.uri[:MAX_URL]}
    for name in ("WARC-Date", "WARC-IP-Address", "WARC-Protocol", "WARC-Cipher-Suite"):
        if value := record.fields.get(name.lower()):
            fields[name] = value[:100]
    return fields


def _cut(text: object, limit: int = MAX_URL) -> str:
    return str(text if text is not None else "")[:limit]
