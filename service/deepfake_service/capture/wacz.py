"""Captures as WACZ 1.1.1 (specs.webrecorder.net/wacz/1.1.1), encrypted to who receives them.

The text is that of the signed bundle, which is enclosed; pictures and videos come from the files
that were handed in, each compared with its digest. Nothing is on a disk or in memory as a whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, cast

import pyrage

from deepfake_models.errors import SandboxBusy
from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import find_visible
from deepfake_service.capture.archives import DATAPACKAGE, DIGEST, Refused
from deepfake_service.capture.captures import Captures
from deepfake_service.capture.contents import instant
from deepfake_service.capture.readers import CapturedImage, CaptureReaders, IndexRow
from deepfake_service.capture.replay import sort_key
from deepfake_service.cases.cases import media_key
from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.capture_format import CAPTURE, RECORDS
from deepfake_service.evidence.bundle.warc import head_of
from deepfake_service.platform.db import Capture, Database, Media
from deepfake_service.platform.db.enums import Role
from deepfake_service.platform.disk_space import DiskSpace
from deepfake_service.platform.errors import (
    EvidenceMissing,
    ImageryWithheld,
    NotFound,
    Overloaded,
    RecordAltered,
)
from deepfake_service.platform.storage import Vault, open_json
from deepfake_service.platform.storage.blobs import missing_as
from deepfake_service.review.exports import Exports, recipient_of

TEXT, IMAGERY, SIGNED = "archive/page.warc.gz", "archive/media.warc", "evidence/capture.zip"
INDEX, PAGES = "indexes/index.cdx", "pages/pages.jsonl"
_DATE = (1980, 1, 1, 0, 0, 0)
_OVERHEAD = 64 << 20
"""Bytes of a WACZ beside its imagery, at most: the text twice, and lists."""


@dataclass
class CaptureExports:
    """Exports captures whole, as media are exported."""

    _database: Database
    _vault: Vault
    _disk: DiskSpace
    _captures: Captures
    _exports: Exports
    require_sandbox: bool

    def export(self, caller: Caller, capture_id: str, recipient: str) -> BinaryIO:
        """Return a file with the WACZ of a capture, encrypted to ``recipient``; see ``Exports``.

        Raises:
            EvidenceMissing: its bundle or its files were deleted, or it was not read.
            ImageryWithheld: a person shown may be a minor, and the caller is no administrator.
            RecordAltered: a picture or video is another one than was recorded.
        """
        public_key = recipient_of(recipient)
        bundle = self._captures.bundle(caller, capture_id)
        with self._database.read() as session:
            capture, case = find_visible(session, caller, Capture, capture_id)
            if case.minor_at is not None and caller.role is not Role.ADMIN:
                raise ImageryWithheld
            key = self._vault.case_key(case)
            files = [
                session.get(Media, file["media_id"]) for file in open_json(key, capture)["files"]
            ]
        media = [file for file in files if file is not None and file.blob is not None]
        if len(media) < len(files):
            raise EvidenceMissing("The files of this capture were deleted: export its bundle.")
        self._disk.require(sum(file.size for file in media) + _OVERHEAD, exporting=True)
        with (
            _telling(capture_id),
            contextlib.closing(CaptureReaders(require=self.require_sandbox)) as readers,
        ):

            def body(image: CapturedImage) -> Iterator[bytes]:
                file = media[image.file - 1]
                assert file.blob is not None
                with self._vault.open(file.blob, media_key(file, key)) as source:
                    yield from readers.body(source, image)

            rows: list[IndexRow] = []
            text = b""
            with contextlib.suppress(KeyError):  # a capture without text
                records = bag.member(bundle, RECORDS)
                rows, text = readers.index(io.BytesIO(records))
            content = _Reading(wacz_pieces(bundle, rows, text, body))
            media_ids = [file.id for file in media]
            try:
                return self._exports.encrypted(
                    caller, cast("BinaryIO", content), public_key, media_ids
                )
            except pyrage.EncryptError as error:  # which keeps nothing but the text of the cause
                raise content.failure or error from error


@contextlib.contextmanager
def _telling(capture_id: str) -> Iterator[None]:
    """Tell the client why the files of a capture cannot be read."""
    try:
        with missing_as(NotFound, capture_id=capture_id):
            yield
    except Refused as error:
        raise RecordAltered("The files of this capture are not what was read.") from error
    except SandboxBusy as error:
        raise Overloaded from error


def wacz_pieces(
    bundle: bytes,
    rows: list[IndexRow],
    text: bytes,
    body: Callable[[CapturedImage], Iterator[bytes]],
) -> Iterator[bytes]:
    """Yield the WACZ of a capture in pieces, given its signed ``bundle``, the records of its text
    part with their index, and what yields the bytes of a picture or video."""
    document = json.loads(bag.member(bundle, CAPTURE))
    listed: list[dict[str, Any]] = []
    index = [_line(row.model_dump(), TEXT) for row in rows]

    def noted(name: str, pieces: Iterable[bytes]) -> tuple[str, Iterator[bytes]]:
        def flow() -> Iterator[bytes]:
            digest, size = hashlib.sha256(), 0
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                yield piece
            about = {"name": name.rpartition("/")[2], "path": name}
            listed.append({**about, "hash": f"sha256:{digest.hexdigest()}", "bytes": size})

        return name, flow()

    images = [CapturedImage.model_validate(entry) for entry in document["media"]]
    heads = [_head(image, document) for image in images]

    def imagery() -> Iterator[bytes]:
        offset = 0
        for image, head in zip(images, heads, strict=True):
            length = len(head) + image.size + 4
            about = {"at": _date(image.at, document), "mime": image.mime, "status": "200"}
            place = {"url": _address(image, document), "offset": offset, "length": length}
            index.append(_line({**about, **place}, IMAGERY))
            yield head
            yield from _checked(body(image), image)
            yield b"\r\n\r\n"
            offset += length

    def files() -> Iterator[tuple[str, Iterable[bytes]]]:
        if text:
            yield noted(TEXT, [text])
        if images:
            yield noted(IMAGERY, imagery())
        yield noted(SIGNED, [bundle])
        yield noted(INDEX, [("\n".join(sorted(index)) + "\n").encode()])
        yield noted(PAGES, [_pages(document)])
        package = json.dumps(_package(document, listed), indent=1).encode()
        yield DATAPACKAGE, [package]
        digest = {"path": DATAPACKAGE, "hash": f"sha256:{bag.sha256(package)}"}
        yield DIGEST, [json.dumps(digest).encode()]

    total = sum(len(head) + image.size + 4 for image, head in zip(images, heads, strict=True))
    # ReplayWeb.page takes an entry without ZIP64 fields in the directory for one without any.
    large = {IMAGERY} if total > zipfile.ZIP64_LIMIT else set()
    return _zipped(files(), large)


class _Reading(io.RawIOBase):
    """Pieces as a file that can be read once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._left = memoryview(b"")
        self.failure: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            try:
                piece = next(self._pieces, None)
            except Exception as error:
                self.failure = error
                raise
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


class _Sink(io.RawIOBase):
    """What a ZIP is written to, piece by piece; it cannot be sought in."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._written += piece
        return len(piece)

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken


def _zipped(files: Iterable[tuple[str, Iterable[bytes]]], large: set[str]) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(cast("BinaryIO", sink), "w", zipfile.ZIP_STORED) as archive:
        for name, pieces in files:
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            with archive.open(info, "w", force_zip64=name in large) as member:
                for piece in pieces:
                    member.write(piece)
                    yield sink.take()
    yield sink.take()


def _checked(pieces: Iterator[bytes], image: CapturedImage) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
        yield piece
    if (digest.hexdigest(), size) != (image.sha256, image.size):
        raise RecordAltered("A picture or video of this capture is another one than was recorded.")


def _head(image: CapturedImage, document: dict[str, Any]) -> bytes:
    """Return the head of the WARC record of a picture or video: a resource, whose answer's head is
    in the text part."""
    digest = f"sha256:{image.sha256}"
    fields = {
        "WARC-Target-URI": _address(image, document),
        "WARC-Date": _date(image.at, document),
        "WARC-Block-Digest": digest,
        "WARC-Payload-Digest": digest,
        "Content-Type": image.mime,
    }
    return head_of("resource", fields, image.size)


def _address(image: CapturedImage, document: dict[str, Any]) -> str:
    """Return the address of a picture or video; those handed in by hand get one."""
    if image.url:
        return image.url
    pages = document["pages"] or [{"url": document["handed_in"]["post"]["source_url"]}]
    if image.role == "full_page_capture" and pages[0]["url"]:
        return f"urn:fullPage:{pages[0]['url']}"
    return f"urn:deepfake-service:medium:{image.number}"


def _date(stated: str, document: dict[str, Any]) -> str:
    """Return a time as WARC has it; that of the record if none is stated."""
    at = instant(stated) or datetime.fromisoformat(document["created_at"])
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _line(row: dict[str, Any], file: str) -> str:
    """Return a line of the index (CDXJ)."""
    at = "".join(c for c in row["at"] if c.isdecimal())[:14]
    about = {
        "url": row["url"],
        "mime": row["mime"],
        "status": row["status"],
        "length": str(row["length"]),
        "offset": str(row["offset"]),
        "filename": file.rpartition("/")[2],
    }
    return f"{sort_key(row['url'])} {at} {json.dumps(about)}"


def _pages(document: dict[str, Any]) -> bytes:
    lines: list[dict[str, Any]] = [{"format": "json-pages-1.0", "id": "pages", "title": "Pages"}]
    for number, page in enumerate(document["pages"], start=1):
        about = {"id": str(number), "url": page["url"], "title": page["title"]}
        lines.append({**about, "ts": _date(page["at"], document)})
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _package(document: dict[str, Any], listed: list[dict[str, Any]]) -> dict[str, Any]:
    package = {
        "profile": "data-package",
        "wacz_version": "1.1.1",
        "created": document["created_at"],
        "software": document["software"],
        "resources": listed,
    }
    if document["pages"]:
        first = document["pages"][0]
        package |= {"mainPageUrl": first["url"], "mainPageDate": _date(first["at"], document)}
    return package
