"""The bundle of a capture: a record of a page that others made, signed and verified as evidence is.

``capture.json`` says who handed in what, how its digests and signature held, which pages,
pictures and videos were in it, and what is missing. ``page.warc.gz`` has the text of the pages.
Imagery is not in the bundle: the statement has the digests of the files that were handed in and of
each picture and video, so that they can be compared for as long as they are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

import rfc8785
from pydantic import JsonValue

from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.builder import SOFTWARE, signed_bag
from deepfake_service.evidence.bundle.documents import Document, Failed, read, read_canonical, same
from deepfake_service.evidence.bundle.dsse import CAPTURE_TYPE, CaptureStatement, Signers
from deepfake_service.evidence.bundle.steps import Found, Outcome

CAPTURE, RECORDS = "data/capture.json", "data/page.warc.gz"


class Apart(Document):
    """A file, picture or video of a capture, which is not in its bundle."""

    number: int
    sha256: str


class Text(Document):
    """The text part of a capture."""

    records: int


class Minimum(Document):
    """What a capture lacks of the minimum of the Berkeley Protocol."""

    missing: tuple[str, ...]


class CaptureDocument(Document):
    """What a statement and a verification take from ``capture.json``."""

    format: Literal["urn:deepfake-service:capture:1"]
    id: str
    case: str
    issuer: str
    software: str
    created_at: str
    files: tuple[Apart, ...]
    media: tuple[Apart, ...]
    pages: tuple[JsonValue, ...]
    text: Text
    minimum: Minimum

    @property
    def apart(self) -> dict[str, str]:
        """The digests of what it has outside its bundle, by the name of the subject."""
        listed = (("file", self.files), ("medium", self.media))
        return {f"{name}/{each.number}": each.sha256 for name, all_ in listed for each in all_}


def build_capture(document: Mapping[str, JsonValue], records: bytes, signers: Signers) -> bytes:
    """Return the bundle of a capture, a ZIP, with the content of ``capture.json`` and the WARC
    records of its text, if it has any."""
    content = rfc8785.dumps({"format": CAPTURE_TYPE, "software": SOFTWARE, **document})
    stated = read(CaptureDocument, content, CAPTURE)
    payload = {CAPTURE: content, **({RECORDS: records} if records else {})}
    predicate = {
        "issuer": stated.issuer,
        "software": stated.software,
        "createdAt": stated.created_at,
        "case": stated.case,
        "capture": stated.id,
    }
    return signed_bag(payload, stated.apart, CAPTURE_TYPE, predicate, stated.id, signers)


@dataclass
class CaptureSteps:
    """The steps of verifying a capture whose statement is signed and covers its files."""

    _files: dict[str, bytes]
    _stated: CaptureStatement
    _original: BinaryIO | None
    _document: CaptureDocument = field(init=False)

    def record(self) -> Found:
        """Compare ``capture.json`` with the statement."""
        raw = bag.bounded(self._files, CAPTURE)
        self._document = document = read_canonical(CaptureDocument, raw, CAPTURE)
        p, named = self._stated.predicate, self._stated.digests
        same("capture", p.capture, document.id)
        same("case", p.case, document.case)
        same("time", p.created_at, document.created_at)
        outside = {name: digest for name, digest in named.items() if name not in self._files}
        same("digests of imagery", outside, document.apart)
        same("text part", document.text.records > 0, RECORDS in self._files)
        missing = ", ".join(document.minimum.missing) or "nothing"
        return Outcome.PASS, (
            f"{len(document.pages)} pages, {len(document.media)} pictures and videos; "
            f"missing from the minimum of the Berkeley Protocol: {missing}"
        )

    def original(self) -> Found:
        """Look in the capture for the file that was given."""
        if self._original is None:
            return Outcome.SKIPPED, "not requested (--media FILE)"
        digest = hashlib.file_digest(self._original, "sha256").hexdigest()  # type: ignore[arg-type]
        known = [name for name, each in self._document.apart.items() if each == digest]
        if not known:
            raise Failed(f"a file with the SHA-256 {digest} is not in this capture")
        return Outcome.PASS, f"it is {known[0]} of this capture"
