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
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat
from typing import Literal, NamedTuple

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
    MAX_HEAD_BYTES,
    Budget,
    Damaged,
    Decoder,
    Record,
    Refused,
    decoders_of,
    head_fields,
    split_head,
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


class Software(NamedTuple):
    """What made the file, as it says."""

    name: str


class HtmlPage(NamedTuple):
    """A page of which there is the HTML. It is the first page of a file without a list of them."""

    page: Page


class Medium(NamedTuple):
    """A picture or a video."""

    body: Body
    url: str
    at: str
    location: Location


class Text(NamedTuple):
    """A record of the text part."""

    kind: str
    fields: dict[str, str]
    block: bytes


class Listing(NamedTuple):
    """What the list of the files in a WACZ is worth."""

    is_there: bool
    is_wrong: bool
    """Whether a file has another digest than it states."""
    signed_by: str | None


Item = Page | Note | Software | HtmlPage | Medium | Text | Listing | str
"""What is read of a file, one after the other. A ``str`` is the name of what is counted."""


def findings_of(kind: Kind, items: Iterable[Item]) -> tuple[Findings, bytes]:
    """Return all that is in a file, and the WARC records of its text part, packed; ``Damaged`` if
    it has too many records, ``Refused`` if there is nothing in it. Each medium gets the page that
    was begun last before it was fetched. Faults that point to tampering come first."""
    counts, notes, software, pages = Counter[str](), list[Note](), list[str](), list[Page]()
    media, text, unpacked = dict[str, CapturedImage](), bytearray(), 0
    has_html, listing = False, Listing(is_there=False, is_wrong=False, signed_by=None)
    for item in items:
        match item:
            case str():
                counts[item] += 1
                if counts["records"] > MAX_RECORDS:
                    raise Damaged(f"it has more than {MAX_RECORDS} records")
            case Note():  # no kind of them hides another one
                if sum(note.code == item.code for note in notes) < MAX_NOTES:
                    notes.append(item)
            case Page():
                pages.append(item)
            case HtmlPage(page):
                has_html = True
                if not pages and page.url.startswith("http"):
                    pages.append(page)
            case Software(name):
                software.append(name[:200])
            case Listing():
                listing = item
            case Medium():
                _add_medium(media, counts, item)
            case Text(record_kind, fields, block):
                unpacked += len(block) + 500
                if unpacked > MAX_KEPT_BYTES:
                    counts["text_left_out"] += 1
                else:
                    text += written(record_kind, fields, block)
                    counts["kept"] += 1
    records, kept, pages = counts.pop("records", 0), counts.pop("kept", 0), pages[:MAX_PAGES]
    if not (media or kept or pages):
        if notes:
            raise Refused("damaged", notes[0].detail)
        raise Refused("empty", "it has no page, no text, and no picture or video")
    begun = [(instant(page.at), i) for i, page in enumerate(pages)]
    dated = sorted((at, i) for at, i in begun if at)

    def page_of(medium: CapturedImage) -> int | None:
        at = instant(medium.at)
        before = bisect_right(dated, (at, len(pages))) if at else 0
        return (dated[before - 1][1] if before else 0) if pages else None

    findings = Findings(
        kind=kind,
        integrity=_integrity_of(counts, listing),
        software=list(dict.fromkeys(filter(None, software[:MAX_SOFTWARE]))),
        pages=pages,
        media=[m.model_copy(update={"page": page_of(m)}) for m in media.values()],
        records=records,
        html=has_html,
        kept=kept,
        counts={name: count for name, count in sorted(counts.items()) if count},
        notes=sorted(notes, key=lambda note: note.code not in FORGED),
    )
    return findings, bytes(text)


def _integrity_of(counts: Counter[str], listing: Listing) -> Integrity:
    """Return how the digests hold that a list of files, or else the fields of WARC records, state.
    Nothing signs the latter."""
    digests: Literal["verified", "partly", "mismatch", "none"] = "verified"
    if counts["wrong_digests"] or listing.is_wrong:
        digests = "mismatch"
    elif not (listing.is_there or counts["digests"]):
        digests = "none"
    elif not listing.is_there and counts["without_digest"]:
        digests = "partly"
    return Integrity(digests=digests, signed_by=listing.signed_by)


def _add_medium(media: dict[str, CapturedImage], counts: Counter[str], found: Medium) -> None:
    """Add a picture or a video to those of a file, by their digests; count one that has been seen,
    or that is not offered."""
    body, url, mime = found.body, found.url, str(found.body.mime)
    matching = (each for start, each in _ROLES if url.lower().startswith(start))
    role: Role | None = next(matching, "medium")
    is_small = mime.startswith("image/") and role == "medium" and body.size < MIN_PICTURE_BYTES
    if body.sha256 in media:
        counts["repeated"] += 1
    elif role is None or (url and is_small):
        counts["small"] += 1
    elif len(media) >= MAX_MEDIA:
        counts["beyond_limit"] += 1
    else:
        media[body.sha256] = CapturedImage(
            number=len(media) + 1,
            role=role,
            mime=mime,
            sha256=body.sha256,
            size=body.size,
            url=url[:MAX_URL],
            at=found.at[:40],
            page=None,
            **found.location.model_dump(),
        )


def page_at(url: str, title: object, at: object) -> Page:
    """Return a page, whose title and time may be anything that a file states."""
    stated_title, stated_at = ("" if text is None else str(text) for text in (title, at))
    return Page(url=url[:MAX_URL], title=stated_title[:500], at=stated_at[:40])


def fault(code: str, detail: str) -> Note:
    """Return a fault that does not keep the rest from being read."""
    return Note(code=code, detail=detail[:300])


def check_label(label: str, shown: str | None, body: Body, url: str) -> Iterator[Item]:
    """Count a body whose content, of the type ``shown`` if it is imagery, is not what its ``label``
    says, and state what is labelled as a picture and is not one: otherwise nothing tells that it is
    left out."""
    is_picture = label.startswith("image/") and label not in _DRAWINGS
    if shown is not None:
        wrong = not label.startswith(("image/", "video/"))
    elif is_picture:
        wrong = body.size > 0
    else:  # a part of a video looks like nothing by itself, but not like a page
        wrong = label.startswith("video/") and body.head.lstrip().startswith(b"<")
    if wrong:
        yield "mislabelled"
    if wrong and is_picture:
        what = "labelled as a picture, but its content is not one that can be read"
        yield fault("body", f"{url[:200] or 'a part'}: {what} ({label[:40]})")


def text_of(url: str, at: str, mime: str, plain: bytes) -> Generator[Item, None, bytes]:
    """Return a text without the imagery in it, after what it says about its page."""
    if "html" in mime or plain[:200].lstrip().lower().startswith((b"<!doctype", b"<html")):
        title = _TITLE.search(plain[:MAX_HEAD_BYTES])
        named = title[1].decode("utf-8", errors="replace") if title else ""
        yield HtmlPage(page_at(url, " ".join(named.split()), at))
    cut, inline = _INLINE.subn(b"data:,cut", plain)
    yield from repeat("inline_imagery", inline)
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
            block = _Tap(_algorithm(record, "block"))
            body = read_body(block.through(record.block()), algorithm=_algorithm(record, "payload"))
            yield from _check_digests(record, block, body)
            yield from self._content(record, body, record.fields.get("content-type", ""), b"")
        elif record.kind == "request":
            yield "requests_left_out"
        elif record.kind == "revisit":
            yield "revisits"
            yield from _revisit(record)

    def _response(self, record: Record) -> Iterator[Item]:
        url, block = record.uri, _Tap(_algorithm(record, "block"))
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


def _check_digests(record: Record, block: _Tap, body: Body) -> Iterator[Item]:
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
