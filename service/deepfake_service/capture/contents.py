"""What one file of a capture has, told apart by content: text that is kept, and imagery.

Declared types are not trusted: a picture is what begins as one, whatever its server called it, and
text is what has neither imagery in it nor bytes that text does not have. This runs in the sandbox.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import repeat
from typing import Literal, NamedTuple

from deepfake_models.media.decoder import mime_of
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
    Damaged,
    Decoder,
    Refused,
    written,
)

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
_TEXTUAL = re.compile(
    r"text/.*|application/(?:[\w.-]+\+)?(?:json|xml|javascript)|application/x-javascript"
    r"|application/(?:vnd\.apple\.mpegurl|x-mpegurl|dash\+xml)"
)
_INLINE = re.compile(rb"data:(?:image|video|audio)/[^,\"'<>]{0,200},[^\"'<>)\s\\]{1024,}")
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
    received = content = Tap(algorithm)
    flow = transferred = received.through(pieces)
    digests = [received]
    for decode in decoders:
        content = Tap(algorithm)
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


class Tap:
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
