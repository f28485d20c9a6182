"""Files that captures come in: WACZ, WARC, MHTML, and pictures and recordings made by hand.

WACZ 1.1.1 (specs.webrecorder.net/wacz/1.1.1) is a ZIP with WARC files, lists of pages, and digests
of all, which its maker may have signed. Nothing is unpacked to a disk. This runs in the sandbox;
``readers.py`` starts it there.
"""

from __future__ import annotations

import email
import email.header
import email.message
import email.utils
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, BinaryIO, cast

from pydantic import JsonValue

from deepfake_models.media.decoder import mime_of
from deepfake_service.capture.contents import (
    Item,
    Listing,
    Medium,
    Software,
    Text,
    check_label,
    fault,
    findings_of,
    is_text,
    page_at,
    read_body,
    text_of,
)
from deepfake_service.capture.findings import Findings, Kind, Location, Page
from deepfake_service.capture.records import RecordReader
from deepfake_service.capture.warc import (
    PIECE,
    Budget,
    Damaged,
    Place,
    Refused,
    decoders_of,
    head_fields,
    records,
    split_head,
)

MAX_ENTRIES = 10_000
MAX_LIST_BYTES = 8 << 20
"""Of a list of pages or of files in a WACZ."""
MAX_MHTML_BYTES = 128 << 20
"""An MHTML file is in memory as a whole."""
MAX_PARTS, MAX_DEPTH = 5_000, 8
DATAPACKAGE, DIGEST = "datapackage.json", "datapackage-digest.json"
_WARC_NAME = re.compile(r"archive/.*\.warc(\.gz)?")
_SAFE_NAME = re.compile(r"(?!/)(?!.*(?:^|/)\.\.(?:/|$))[^\\\0]+")
_MHTML = re.compile(rb"(?im)^(?:mime-version:|content-type:\s*multipart/related)")
_UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError)


def kind_of(source: BinaryIO) -> Kind:
    """Return what a file is by its content; ``Refused`` if it is of no kind."""
    source.seek(0)
    head = source.read(4096)
    mime = mime_of(head)
    if mime is not None:
        return "video" if mime.startswith("video/") else "picture"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "wacz"
    if head.startswith((b"WARC/", b"\x1f\x8b")):
        return "warc"
    if _MHTML.search(head):
        return "mhtml"
    raise Refused("unknown_format", "not a WACZ, WARC or MHTML file, a picture or a video")


def read_file(
    source: BinaryIO, number: int, budget: Budget | None = None
) -> tuple[Findings, bytes]:
    """Return what the file with this number of a capture has, and the WARC records of its text
    part. ``Refused`` if it cannot be imported, or unpacks to more than ``budget``."""
    kind = kind_of(source)
    source.seek(0)
    try:
        return findings_of(kind, _items_of(kind, source, number, budget or Budget()))
    except Damaged as error:
        raise Refused("damaged", error.message) from error
    except (MemoryError, RecursionError) as error:
        raise Refused("too_large", "it takes more memory or nesting than allowed") from error


def _items_of(kind: Kind, source: BinaryIO, number: int, budget: Budget) -> Iterator[Item]:
    if kind == "wacz":
        yield from _read_wacz(source, number, budget)
    elif kind == "warc":
        yield from _read_warc(source, RecordReader(budget, number, None))
    elif kind == "mhtml":
        yield from _read_mhtml(source, number)
    else:
        body = read_body(iter(lambda: source.read(PIECE), b""))
        yield Medium(body, "", "", Location(file=number))


def _read_warc(source: BinaryIO, reader: RecordReader) -> Iterator[Item]:
    """Read a WARC file. What precedes the first damage counts, and the damage is stated;
    ``Damaged`` if nothing does."""
    has_record = False
    try:
        for record in records(source, reader.budget):
            has_record = True
            yield from reader.read(record)
    except Damaged as error:
        if not has_record:
            raise
        yield fault("cut_short", f"{reader.member or 'the file'}: {error.message}")


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the files of a ZIP by name; ``Refused`` if a name could mean two files or one outside,
    or they are packed in odd ways."""
    listed = archive.infolist()
    if len(listed) > MAX_ENTRIES:
        raise Refused("too_many", f"it has more than {MAX_ENTRIES} entries")
    entries = {entry.filename: entry for entry in listed if not entry.is_dir()}
    if len(entries) < sum(not entry.is_dir() for entry in listed):
        raise Refused("damaged", "two of its entries have the same name")
    for entry in listed:
        if not _SAFE_NAME.fullmatch(entry.filename):
            raise Refused("damaged", "the name of an entry leads out of the archive")
        if entry.flag_bits & 1:
            raise Refused("damaged", "an entry is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Refused("damaged", "an entry is packed in an unusual way")
    if sum(entry.compress_size for entry in listed) > size:
        raise Refused("damaged", "its entries overlap")
    return entries


def _read_wacz(source: BinaryIO, number: int, budget: Budget) -> Iterator[Item]:
    size = source.seek(0, 2)
    try:
        with zipfile.ZipFile(source) as archive:
            yield from _Wacz(archive, _entries(archive, size), budget).read(number)
    except _UNREADABLE as error:
        raise Refused("damaged", f"not an intact ZIP file ({type(error).__name__})") from error


def _json(raw: bytes) -> dict[str, JsonValue]:
    try:
        content: JsonValue = json.loads(raw)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _resources(package: dict[str, JsonValue]) -> list[tuple[str, str]]:
    """Return the paths that a WACZ lists, each with the digest that it states."""
    resources = package.get("resources")
    stated = []
    for resource in resources[:MAX_ENTRIES] if isinstance(resources, list) else ():
        resource = resource if isinstance(resource, dict) else {}
        stats = resource.get("stats")  # WACZ 1.0.0 has the digest within
        digest = str({**resource, **(stats if isinstance(stats, dict) else {})}.get("hash"))
        stated.append((str(resource.get("path")), digest.removeprefix("sha256:").lower()))
    return stated


def _pages(raw: bytes) -> Iterator[Page]:
    """Yield the pages of a list (WACZ, section 5.2.2): one JSON object a line."""
    for line in raw.splitlines():
        page = _json(line)
        url = page.get("url")
        if isinstance(url, str) and url.startswith("http"):
            yield page_at(url, page.get("title"), page.get("ts"))


@dataclass(frozen=True, slots=True)
class _Digested:
    """A file that is read from its beginning, and the digest of what was read."""

    file: IO[bytes]
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def read(self, size: int) -> bytes:
        piece = self.file.read(size)
        self.digest.update(piece)
        return piece


@dataclass(frozen=True, slots=True)
class _Wacz:
    """A WACZ that is open."""

    archive: zipfile.ZipFile
    entries: dict[str, zipfile.ZipInfo]
    budget: Budget

    def read(self, number: int) -> Iterator[Item]:
        """Yield what is in it. If it lists its files, others are no content: anyone can add them to
        a file that was signed."""
        digests = dict[str, str]()
        if not any(_WARC_NAME.fullmatch(name) for name in self.entries):
            raise Refused("unknown_format", "a ZIP file without archive/*.warc: not a WACZ")
        package = _json(self._listed(DATAPACKAGE))
        resources = _resources(package)
        content = {path for path, _ in resources} or set(self.entries)
        lists = [n for n in ("pages/pages.jsonl", "pages/extraPages.jsonl") if n in content]
        pages = [page for name in lists for page in _pages(self._listed(name))]
        if isinstance(software := package.get("software"), str):
            yield Software(software)
        if not pages and isinstance(url := package.get("mainPageUrl"), str):
            at = package.get("mainPageDate") or package.get("mainPageTs")
            pages = [page_at(url, package.get("title"), at)]
        yield from pages
        for name, entry in self.entries.items():
            self.budget.charge(entry.file_size)
            with self.archive.open(entry) as member:
                digested = _Digested(member)
                if name in content and _WARC_NAME.fullmatch(name):
                    reader = RecordReader(self.budget, number, name)
                    yield from _read_warc(cast("BinaryIO", digested), reader)
                while digested.read(PIECE):  # all of a WARC file that is damaged, too
                    pass
            digests[name] = digested.digest.hexdigest()
        yield from self._check(resources, digests)

    def _listed(self, name: str) -> bytes:
        """Return a list of the archive; nothing if it has none of this name."""
        if name not in self.entries:
            return b""
        with self.archive.open(self.entries[name]) as member:
            content = member.read(MAX_LIST_BYTES + 1)
        if len(content) > MAX_LIST_BYTES:
            raise Refused("too_large", f"{name[:80]} has more than {MAX_LIST_BYTES} bytes")
        return content

    def _check(self, resources: list[tuple[str, str]], digests: dict[str, str]) -> Iterator[Item]:
        """Compare the digests of the files with those in ``resources``, and say who signed the list
        as the file says. The digest of the list itself is in ``datapackage-digest.json``."""
        wrong = [path for path, stated in resources if stated != digests.get(path)]
        listed = {DATAPACKAGE, DIGEST, *(path for path, _ in resources)}
        unlisted = [name for name in digests if name not in listed] if resources else []
        digest = _json(self._listed(DIGEST)) if DIGEST in self.entries else None
        own = str((digest or {}).get("hash")).removeprefix("sha256:").lower()
        if digest is not None and own != digests.get(DATAPACKAGE):
            wrong.append(DATAPACKAGE)
        signed, signer = (digest or {}).get("signedData"), None
        if isinstance(signed, dict):
            signer = _signer(signed)
            if signed.get("hash") != f"sha256:{digests.get(DATAPACKAGE)}":
                wrong.append("signedData")
        if not resources:
            yield fault("unlisted", f"{DATAPACKAGE} lists no files, so all of them are read")
        if wrong:
            what = f"another digest than is listed: {', '.join(wrong[:5])}"
            yield fault("file_digest", what)
        if unlisted:
            what = f"{len(unlisted)} entries are not read, as {DATAPACKAGE} does not list them"
            yield fault("unlisted", f"{what}: {', '.join(unlisted[:5])}")
        yield Listing(bool(resources), bool(wrong), signer)


def _signer(signed: dict[str, JsonValue]) -> str:
    """Return who signed a WACZ (specs.webrecorder.net/wacz-auth/0.1.0), as it says itself: a
    domain, or the digest of a key. Nothing offline tells whether a certificate was issued to that
    domain, and anyone can bring a key, so that the signature is not checked."""
    domain, key = signed.get("domain"), signed.get("publicKey")
    if isinstance(domain, str):
        return domain[:200]
    return f"SHA256:{hashlib.sha256(key.encode()).hexdigest()}" if isinstance(key, str) else "?"


def _parts(message: email.message.Message, depth: int = 0) -> Iterator[email.message.Message]:
    """Yield the parts of a message that have no parts."""
    if depth > MAX_DEPTH:
        raise Refused("nested", f"its parts are nested in more than {MAX_DEPTH} others")
    if not message.is_multipart():
        yield message
        return
    for part in cast("list[email.message.Message]", message.get_payload()):
        yield from _parts(part, depth + 1)


def _message(source: BinaryIO) -> Iterator[email.message.Message]:
    """Yield an MHTML file (RFC 2557), and the parts of it that have no parts; ``Refused`` if it is
    too large, or its parts are too many or nested too deeply."""
    raw = source.read(MAX_MHTML_BYTES + 1)
    if len(raw) > MAX_MHTML_BYTES:
        raise Refused("too_large", f"an MHTML file may have at most {MAX_MHTML_BYTES} bytes")
    message = email.message_from_bytes(raw)
    yield message
    for number, part in enumerate(_parts(message)):
        if number >= MAX_PARTS:
            raise Refused("too_many", f"it has more than {MAX_PARTS} parts")
        yield part


def _header(message: email.message.Message, name: str) -> str:
    try:
        return str(email.header.make_header(email.header.decode_header(message.get(name, ""))))
    except (ValueError, LookupError):
        return ""


def _read_mhtml(source: BinaryIO, number: int) -> Iterator[Item]:
    message, *parts = _message(source)
    page, moment = _header(message, "Snapshot-Content-Location"), _moment(_header(message, "Date"))
    if page.startswith("http"):
        yield page_at(page, _header(message, "Subject"), moment)
    yield Software(_header(message, "From").strip("<>"))
    for index, part in enumerate(parts):
        yield "records"
        block = part.get_payload(decode=True)
        if not isinstance(block, bytes) or not block:
            continue
        url = _header(part, "Content-Location")
        mime = part.get_content_type()
        body = read_body([block])
        yield from check_label(mime, body.mime, body, url)
        if body.mime is not None:
            yield Medium(body, url, moment, Location(file=number, part=index))
        elif is_text(mime, body):
            plain = yield from text_of(url, moment, mime, block)
            fields = {"WARC-Target-URI": url or "urn:part", "WARC-Date": moment}
            yield Text("resource", {**fields, "Content-Type": mime}, plain)
        else:
            yield "apart"


def _moment(date: str) -> str:
    try:
        return email.utils.parsedate_to_datetime(date).isoformat()
    except (ValueError, TypeError):
        return ""


def body_of(source: BinaryIO, place: Location) -> Iterator[bytes]:
    """Yield the bytes of a picture or a video from the file that has it, in small pieces."""
    if place.part is not None:
        source.seek(0)
        _, *parts = _message(source)
        content = cast("bytes", parts[place.part].get_payload(decode=True))
        yield from (content[at : at + PIECE] for at in range(0, len(content), PIECE))
    elif place.offset is None:
        source.seek(0)
        yield from iter(lambda: source.read(PIECE), b"")
    elif place.member is not None:
        with zipfile.ZipFile(source) as archive, archive.open(place.member) as member:
            yield from _body_of_record(cast("BinaryIO", member), place.offset, place.skip or 0)
    else:
        yield from _body_of_record(source, place.offset, place.skip or 0)


def _body_of_record(file: BinaryIO, offset: int, skip: int) -> Iterator[bytes]:
    file.seek(offset)
    budget = Budget()
    record = next(records(file, budget, Place(offset, skip)))
    pieces = record.block()
    if record.kind != "response":
        yield from pieces
        return
    head, body = split_head(pieces)
    for decode in decoders_of(head_fields(head.partition(b"\n")[2]), budget):
        body = decode(body)
    yield from body
