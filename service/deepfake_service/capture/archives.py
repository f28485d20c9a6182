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
from dataclasses import dataclass
from typing import BinaryIO, cast

from pydantic import JsonValue

from deepfake_service.capture.contents import (
    Contents,
    RecordReader,
    decoders_of,
    is_text,
    read_body,
)
from deepfake_service.capture.findings import Findings, Integrity, Kind, Location
from deepfake_service.capture.warc import (
    PIECE,
    Budget,
    Damaged,
    Place,
    Refused,
    head_fields,
    parted,
    records,
)
from deepfake_service.evidence.bundle.artifacts import mime_of

MAX_ENTRIES = 10_000
MAX_LIST_BYTES = 8 << 20
"""Of a list of pages or of files in a WACZ."""
MAX_MHTML_BYTES = 128 << 20
"""An MHTML file is in memory as a whole."""
DATAPACKAGE, DIGEST = "datapackage.json", "datapackage-digest.json"
_WARC_NAME = re.compile(r"archive/.*\.warc(\.gz)?")
_SAFE_NAME = re.compile(r"(?!/)(?!.*(?:^|/)\.\.(?:/|$))[^\\\0]+")
_MHTML = re.compile(rb"(?im)^(?:mime-version:|content-type:\s*multipart/related)")
_UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError)


def kind_of(source: BinaryIO) -> Kind:
    """Return ``wacz``, ``warc``, ``mhtml``, ``picture`` or ``video``, by the content; ``Refused``
    if it is none of them."""
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
    contents, integrity = Contents(budget or Budget()), None
    try:
        if kind == "wacz":
            integrity = _read_wacz(source, number, contents)
        elif kind == "warc":
            _read_warc(source, RecordReader(contents, number, None))
        elif kind == "mhtml":
            _read_mhtml(source, number, contents)
        else:
            body = read_body(iter(lambda: source.read(PIECE), b""))
            contents.add_medium(body, "", "", Location(file=number))
    except Damaged as error:
        raise Refused("damaged", error.message) from error
    except (MemoryError, RecursionError) as error:
        raise Refused("too_large", "it takes more memory or nesting than allowed") from error
    if not (contents.media or contents.kept or contents.pages):
        if contents.notes:
            raise Refused("damaged", contents.notes[0].detail)
        raise Refused("empty", "it has no page, no text, and no picture or video")
    return contents.findings(kind, integrity or _integrity_of(contents)), bytes(contents.text)


def _read_warc(source: BinaryIO, reader: RecordReader) -> None:
    """Read a WARC file. What precedes the first damage counts, and the damage is stated;
    ``Damaged`` if nothing does, or there are too many records."""
    contents = reader.contents
    before = contents.records
    try:
        for record in records(source, contents.budget):
            reader.read(record)
    except Damaged as error:
        if contents.records == before or "records" in error.message:
            raise
        contents.add_note("cut_short", f"{reader.member or 'the file'}: {error.message}")


def _integrity_of(contents: Contents) -> Integrity:
    """Return how the digests in the fields of WARC records hold. Nothing signs them."""
    counts = contents.counts
    if counts["wrong_digests"]:
        return Integrity(digests="mismatch")
    if not counts["digests"]:
        return Integrity(digests="none")
    return Integrity(digests="partly" if counts["without_digest"] else "verified")


class _Hashing:
    """A file that is read once, from its beginning, and digested on the way."""

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        self._file, self._budget, self.digest = file, budget, hashlib.sha256()

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        self._budget.charge(len(piece))
        self.digest.update(piece)
        return piece

    def finish(self) -> str:
        """Read what is left, and return the SHA-256 of all."""
        while self.read(PIECE):
            pass
        return self.digest.hexdigest()


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


def _read_wacz(source: BinaryIO, number: int, contents: Contents) -> Integrity:
    size = source.seek(0, 2)
    try:
        with zipfile.ZipFile(source) as archive:
            return _Wacz(archive, _entries(archive, size), contents).read(number)
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


def _pages(raw: bytes, contents: Contents) -> None:
    """Note the pages of a list (WACZ, section 5.2.2): one JSON object a line."""
    for line in raw.splitlines():
        page = _json(line)
        url = page.get("url")
        if isinstance(url, str) and url.startswith("http"):
            contents.add_page(url, page.get("title"), page.get("ts"))


@dataclass
class _Wacz:
    """A WACZ that is open, and what is found in it."""

    archive: zipfile.ZipFile
    entries: dict[str, zipfile.ZipInfo]
    contents: Contents

    def read(self, number: int) -> Integrity:
        """Read it into ``contents``; return how its digests hold, and who says to have signed it.
        If it lists its files, others are no content: anyone can add them to a file that was
        signed."""
        contents, digests = self.contents, dict[str, str]()
        if not any(_WARC_NAME.fullmatch(name) for name in self.entries):
            raise Refused("unknown_format", "a ZIP file without archive/*.warc: not a WACZ")
        package = _json(self._listed(DATAPACKAGE))
        resources = _resources(package)
        content = {path for path, _ in resources} or set(self.entries)
        for name in ("pages/pages.jsonl", "pages/extraPages.jsonl"):
            if name in content:
                _pages(self._listed(name), contents)
        if isinstance(software := package.get("software"), str):
            contents.add_software(software)
        if not contents.pages and isinstance(url := package.get("mainPageUrl"), str):
            at = package.get("mainPageDate") or package.get("mainPageTs")
            contents.add_page(url, package.get("title"), at)
        for name, entry in self.entries.items():
            with self.archive.open(entry) as member:
                hashing = _Hashing(cast("BinaryIO", member), contents.budget)
                if name in content and _WARC_NAME.fullmatch(name):
                    _read_warc(cast("BinaryIO", hashing), RecordReader(contents, number, name))
                digests[name] = hashing.finish()
        return self._checked(resources, digests)

    def _listed(self, name: str) -> bytes:
        """Return a list of the archive; nothing if it has none of this name."""
        if name not in self.entries:
            return b""
        with self.archive.open(self.entries[name]) as member:
            content = member.read(MAX_LIST_BYTES + 1)
        if len(content) > MAX_LIST_BYTES:
            raise Refused("too_large", f"{name[:80]} has more than {MAX_LIST_BYTES} bytes")
        return content

    def _checked(self, resources: list[tuple[str, str]], digests: dict[str, str]) -> Integrity:
        """Return how the digests of the files hold, as listed in ``resources``, and who signed the
        list as the file says. The digest of the list itself is in ``datapackage-digest.json``."""
        contents = self.contents
        wrong = [path for path, stated in resources if stated != digests.get(path)]
        listed = {DATAPACKAGE, DIGEST, *(path for path, _ in resources)}
        unlisted = [name for name in digests if name not in listed] if resources else []
        stated = Integrity(digests="verified") if resources else _integrity_of(contents)
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
            contents.add_note("unlisted", f"{DATAPACKAGE} lists no files, so all of them are read")
        if wrong:
            contents.add_note(
                "file_digest", f"another digest than is listed: {', '.join(wrong[:5])}"
            )
        if unlisted:
            what = f"{len(unlisted)} entries are not read, as {DATAPACKAGE} does not list them"
            contents.add_note("unlisted", f"{what}: {', '.join(unlisted[:5])}")
        is_wrong = bool(wrong or contents.counts["wrong_digests"])
        return Integrity(digests="mismatch" if is_wrong else stated.digests, signed_by=signer)


def _signer(signed: dict[str, JsonValue]) -> str:
    """Return who signed a WACZ (specs.webrecorder.net/wacz-auth/0.1.0), as it says itself: a
    domain, or the digest of a key. Nothing offline tells whether a certificate was issued to that
    domain, and anyone can bring a key, so that the signature is not checked."""
    domain, key = signed.get("domain"), signed.get("publicKey")
    if isinstance(domain, str):
        return domain[:200]
    return f"SHA256:{hashlib.sha256(key.encode()).hexdigest()}" if isinstance(key, str) else "?"


def _message(source: BinaryIO) -> list[email.message.Message]:
    """Return an MHTML file (RFC 2557), and the parts of it that have no parts; ``Refused`` if it is
    too large."""
    raw = source.read(MAX_MHTML_BYTES + 1)
    if len(raw) > MAX_MHTML_BYTES:
        raise Refused("too_large", f"an MHTML file may have at most {MAX_MHTML_BYTES} bytes")
    message = email.message_from_bytes(raw)
    return [message, *(part for part in message.walk() if not part.is_multipart())]


def _header(message: email.message.Message, name: str) -> str:
    try:
        return str(email.header.make_header(email.header.decode_header(message.get(name, ""))))
    except (ValueError, LookupError):
        return ""


def _read_mhtml(source: BinaryIO, number: int, contents: Contents) -> None:
    message, *parts = _message(source)
    page, at = _header(message, "Snapshot-Content-Location"), _header(message, "Date")
    moment = _moment(at)
    if page.startswith("http"):
        contents.add_page(page, _header(message, "Subject"), moment)
    contents.add_software(_header(message, "From").strip("<>"))
    for index, part in enumerate(parts):
        contents.add_record()
        block = part.get_payload(decode=True)
        if not isinstance(block, bytes) or not block:
            continue
        url = _header(part, "Content-Location")
        mime = part.get_content_type()
        body = read_body([block])
        contents.check_label(mime, body.mime, body, url)
        if body.mime is not None:
            contents.add_medium(body, url, moment, Location(file=number, part=index))
        elif is_text(mime, body):
            plain = contents.text_of(url, moment, mime, block)
            fields = {"WARC-Target-URI": url or "urn:part", "WARC-Date": moment}
            contents.keep("resource", {**fields, "Content-Type": mime}, plain)
        else:
            contents.counts["apart"] += 1


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
    head, body = parted(pieces)
    for decode in decoders_of(head_fields(head.partition(b"\n")[2]), budget):
        body = decode(body)
    yield from body
