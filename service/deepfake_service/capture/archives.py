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
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from deepfake_models.errors import DeepfakeError
from deepfake_service.capture.contents import (
    FORGED,
    Contents,
    RecordReader,
    instant,
    is_text,
    read_body,
)
from deepfake_service.evidence.bundle.artifacts import mime_of
from deepfake_service.evidence.bundle.warc import (
    CODINGS,
    PIECE,
    Budget,
    Damaged,
    Place,
    TooLarge,
    dechunked,
    decoded,
    head_fields,
    parted,
    records,
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


class Refused(DeepfakeError):
    """The file cannot be imported."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def kind_of(source: BinaryIO) -> str:
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


def read_file(source: BinaryIO, number: int, contents: Contents) -> dict[str, Any]:
    """Read one file of a capture into ``contents``; return its kind and how its digests hold.
    ``Refused`` if it cannot be imported."""
    kind = kind_of(source)
    source.seek(0)
    try:
        integrity = None
        if kind == "wacz":
            integrity = _wacz(source, number, contents)
        elif kind == "warc":
            _warc(source, number, None, contents)
        elif kind == "mhtml":
            _mhtml(source, number, contents)
        else:
            body = read_body(iter(lambda: source.read(PIECE), b""), {}, "", contents.budget)
            contents.medium(body, "", "", {"file": number})
    except TooLarge as error:
        raise Refused("too_large", error.message) from error
    except Damaged as error:
        raise Refused("damaged", error.message) from error
    except (MemoryError, RecursionError) as error:
        raise Refused("too_large", "it takes more memory or nesting than allowed") from error
    if not (contents.media or contents.kept or contents.pages):
        if contents.notes:
            raise Refused("damaged", contents.notes[0]["detail"])
        raise Refused("empty", "it has no page, no text, and no picture or video")
    return {"kind": kind, "integrity": integrity or _of_records(contents)}


def _warc(source: BinaryIO, number: int, member: str | None, contents: Contents) -> None:
    """Read a WARC file. What precedes the first damage counts, and the damage is stated;
    ``Damaged`` if nothing does, or there are too many records."""
    reader, before = RecordReader(contents, number, member), contents.records
    try:
        for record in records(source, contents.budget):
            reader.read(record)
    except Damaged as error:
        if contents.records == before or "records" in error.message:
            raise
        contents.note("cut_short", f"{member or 'the file'}: {error.message}")


def _of_records(contents: Contents) -> dict[str, Any]:
    """Return how the digests in the fields of WARC records hold. Nothing signs them."""
    counts = contents.counts
    if counts["wrong_digests"]:
        digests = "mismatch"
    elif not counts["digests"]:
        digests = "none"
    else:
        digests = "partly" if counts["without_digest"] else "verified"
    return {"digests": digests}


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


def _wacz(source: BinaryIO, number: int, contents: Contents) -> dict[str, Any]:
    size = source.seek(0, 2)
    try:
        with zipfile.ZipFile(source) as archive:
            return _Wacz(archive, _entries(archive, size), contents).read(number)
    except _UNREADABLE as error:
        raise Refused("damaged", f"not an intact ZIP file ({type(error).__name__})") from error


def _json(raw: bytes) -> dict[str, Any]:
    try:
        content = json.loads(raw)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _resources(package: dict[str, Any]) -> list[tuple[str, str]]:
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
        if isinstance(page.get("url"), str) and page["url"].startswith("http"):
            contents.page(page["url"], page.get("title"), page.get("ts"))


@dataclass
class _Wacz:
    """A WACZ that is open, and what is found in it."""

    archive: zipfile.ZipFile
    entries: dict[str, zipfile.ZipInfo]
    contents: Contents

    def read(self, number: int) -> dict[str, Any]:
        """Read it into ``contents``; return how its digests hold, and who says to have signed it.
        If it lists its files, others are no content: anybody can add them to a file that was
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
        if isinstance(package.get("software"), str):
            contents.software.append(package["software"][:200])
        if not contents.pages and isinstance(package.get("mainPageUrl"), str):
            at = package.get("mainPageDate") or package.get("mainPageTs")
            contents.page(package["mainPageUrl"], package.get("title"), at)
        for name, entry in self.entries.items():
            with self.archive.open(entry) as member:
                hashing = _Hashing(cast("BinaryIO", member), contents.budget)
                if name in content and _WARC_NAME.fullmatch(name):
                    _warc(cast("BinaryIO", hashing), number, name, contents)
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

    def _checked(self, resources: list[tuple[str, str]], digests: dict[str, str]) -> dict[str, Any]:
        """Return how the digests of the files hold, as listed in ``resources``, and who signed the
        list as the file says. The digest of the list itself is in ``datapackage-digest.json``."""
        contents = self.contents
        wrong = [path for path, stated in resources if stated != digests.get(path)]
        listed = {DATAPACKAGE, DIGEST, *(path for path, _ in resources)}
        unlisted = [name for name in digests if name not in listed] if resources else []
        result = {"digests": "verified"} if resources else _of_records(contents)
        digest = _json(self._listed(DIGEST)) if DIGEST in self.entries else None
        own = str((digest or {}).get("hash")).removeprefix("sha256:").lower()
        if digest is not None and own != digests.get(DATAPACKAGE):
            wrong.append(DATAPACKAGE)
        signed = (digest or {}).get("signedData")
        if isinstance(signed, dict):
            result["signed_by"] = _signer(signed)
            if signed.get("hash") != f"sha256:{digests.get(DATAPACKAGE)}":
                wrong.append("signedData")
        if not resources:
            contents.note("unlisted", f"{DATAPACKAGE} lists no files, so all of them are read")
        if wrong:
            contents.note("file_digest", f"another digest than is listed: {', '.join(wrong[:5])}")
        if unlisted:
            what = f"{len(unlisted)} entries are not read, as {DATAPACKAGE} does not list them"
            contents.note("unlisted", f"{what}: {', '.join(unlisted[:5])}")
        if wrong or contents.counts["wrong_digests"]:
            result["digests"] = "mismatch"
        return result


def _signer(signed: dict[str, Any]) -> str:
    """Return who signed a WACZ (specs.webrecorder.net/wacz-auth/0.1.0), as it says itself: a
    domain, or the digest of a key. Nothing offline tells whether a certificate was issued to that
    domain, and anybody can bring a key, so that the signature is not checked."""
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


def _message(source: BinaryIO) -> Iterable[email.message.Message]:
    """Yield the parts of an MHTML file (RFC 2557); ``Refused`` if it is too large, or its parts are
    too many or nested too deeply."""
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


def _mhtml(source: BinaryIO, number: int, contents: Contents) -> None:
    message, *parts = _message(source)
    page, at = _header(message, "Snapshot-Content-Location"), _header(message, "Date")
    moment = _moment(at)
    if page.startswith("http"):
        contents.page(page, _header(message, "Subject"), moment)
    software = _header(message, "From").strip("<>")
    if software:
        contents.software.append(software[:200])
    for index, part in enumerate(parts):
        contents.count_record()
        block = part.get_payload(decode=True)
        if not isinstance(block, bytes) or not block:
            continue
        url = _header(part, "Content-Location")
        mime = part.get_content_type()
        body = read_body([block], {}, "", contents.budget)
        contents.compare(mime, mime_of(body.head), body, url)
        if mime_of(body.head) is not None:
            contents.medium(body, url, moment, {"file": number, "part": index})
        elif is_text(mime, body):
            plain = contents.text(url, moment, mime, block)
            fields = {"WARC-Target-URI": url or "urn:part", "WARC-Date": moment}
            contents.keep("resource", {**fields, "Content-Type": mime}, plain)
        else:
            contents.counts["apart"] += 1


def _moment(date: str) -> str:
    try:
        return email.utils.parsedate_to_datetime(date).isoformat()
    except (ValueError, TypeError):
        return ""


def read_whole(source: BinaryIO, number: int) -> tuple[dict[str, Any], bytes]:
    """Read one file of a capture; return what was found, and the records of the text part. Each
    medium gets the page that was begun last before it was fetched. ``Refused`` as ``read_file``."""
    contents = Contents()
    about = read_file(source, number, contents)
    if not contents.pages and contents.first is not None:
        contents.pages.append(contents.first)
    begun = [(instant(page["at"]), i) for i, page in enumerate(contents.pages)]
    dated = sorted((at, i) for at, i in begun if at)
    for medium in contents.media:
        at = instant(medium["at"])
        before = bisect_right(dated, (at, len(contents.pages))) if at else 0
        medium["page"] = (dated[before - 1][1] if before else 0) if contents.pages else None
    found = {
        **about,
        "software": list(dict.fromkeys(contents.software)),
        "pages": contents.pages,
        "media": contents.media,
        "records": contents.records,
        "html": contents.html,
        "kept": len(contents.kept),
        "counts": {name: count for name, count in sorted(contents.counts.items()) if count},
        "notes": sorted(contents.notes, key=lambda note: note["code"] not in FORGED),
    }
    return found, b"".join(contents.kept)


def body_of(source: BinaryIO, medium: dict[str, Any]) -> Iterator[bytes]:
    """Yield the bytes of a picture or a video from the file that has it, in small pieces."""
    if "part" in medium:
        source.seek(0)
        _, *parts = _message(source)
        content = cast("bytes", parts[medium["part"]].get_payload(decode=True))
        yield from (content[at : at + PIECE] for at in range(0, len(content), PIECE))
    elif "offset" not in medium:
        source.seek(0)
        yield from iter(lambda: source.read(PIECE), b"")
    elif "member" in medium:
        with zipfile.ZipFile(source) as archive, archive.open(medium["member"]) as member:
            yield from _of_record(cast("BinaryIO", member), medium)
    else:
        yield from _of_record(source, medium)


def _of_record(file: BinaryIO, medium: dict[str, Any]) -> Iterator[bytes]:
    file.seek(medium["offset"])
    budget = Budget()
    record = next(records(file, budget, Place(medium["offset"], medium["skip"])))
    pieces = record.block()
    if record.kind != "response":
        yield from pieces
        return
    head, body = parted(pieces)
    fields = head_fields(head.partition(b"\n")[2])
    if "chunked" in fields.get("transfer-encoding", "").lower():
        body = dechunked(body)
    coding = fields.get("content-encoding", "").lower()
    if coding in CODINGS:
        body = decoded(coding, body, budget)
    yield from body
