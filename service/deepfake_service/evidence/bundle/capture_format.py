"""The bundle of a capture: a record of a page that others made, signed and verified as evidence is.

``capture.json`` says who handed in what, how its digests and signature held, which pages,
pictures and videos were in it, and what is missing. ``page.warc.gz`` has the text of the pages.
Imagery is not in the bundle: the statement has the digests of the files that were handed in and of
each picture and video, so that they can be compared for as long as they are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import rfc8785

from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.builder import SOFTWARE, signed_bag
from deepfake_service.evidence.bundle.dsse import CAPTURE_TYPE, Signers, subjects
from deepfake_service.evidence.bundle.steps import Failed, Found, Outcome, Verification, same

CAPTURE, RECORDS = "data/capture.json", "data/page.warc.gz"


def build_capture(document: dict[str, Any], records: bytes, signers: Signers) -> bytes:
    """Return the bundle of a capture, a ZIP, with the content of ``capture.json`` and the WARC
    records of its text, if it has any."""
    document = bag.as_json({"format": CAPTURE_TYPE, "software": SOFTWARE, **document})
    payload = {CAPTURE: rfc8785.dumps(document), **({RECORDS: records} if records else {})}
    predicate = {
        "issuer": document["issuer"],
        "software": document["software"],
        "createdAt": document["created_at"],
        "case": document["case"],
        "capture": document["id"],
    }
    return signed_bag(payload, apart(document), CAPTURE_TYPE, predicate, document["id"], signers)


def apart(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of what a capture has outside its bundle, by the name of the subject."""
    return {
        f"{name}/{each['number']}": each["sha256"]
        for name, listed in (("file", document["files"]), ("medium", document["media"]))
        for each in listed
    }


@dataclass
class CaptureSteps:
    """The steps of verifying a capture whose statement is signed and covers its files."""

    _files: dict[str, bytes]
    _done: Verification
    _original: BinaryIO | None

    def record(self) -> Found:
        """Compare ``capture.json`` with the statement."""
        raw = bag.bounded(self._files, CAPTURE)
        document = json.loads(raw)
        if not isinstance(document, dict) or document.get("format") != CAPTURE_TYPE:
            raise Failed(f"{CAPTURE}: its format is not {CAPTURE_TYPE}")
        if rfc8785.dumps(document) != raw:
            raise Failed(f"{CAPTURE}: not in canonical JSON (RFC 8785)")
        p, named = self._done.predicate, subjects(self._done.statement)
        same("capture", p["capture"], document["id"])
        same("case", p["case"], document["case"])
        same("time", p["createdAt"], document["created_at"])
        outside = {name: digest for name, digest in named.items() if name not in self._files}
        same("digests of imagery", outside, apart(document))
        same("text part", document["text"]["records"] > 0, RECORDS in self._files)
        self._done.document = document
        missing = ", ".join(map(str, document["minimum"]["missing"])) or "nothing"
        return Outcome.PASS, (
            f"{len(document['pages'])} pages, {len(document['media'])} pictures and videos; "
            f"missing from the minimum of the Berkeley Protocol: {missing}"
        )

    def original(self) -> Found:
        """Look in the capture for the file that was given."""
        if self._original is None:
            return Outcome.SKIPPED, "not requested (--media FILE)"
        digest = hashlib.file_digest(self._original, "sha256").hexdigest()  # type: ignore[arg-type]
        known = [name for name, each in apart(self._done.document).items() if each == digest]
        if not known:
            raise Failed(f"a file with the SHA-256 {digest} is not in this capture")
        return Outcome.PASS, f"it is {known[0]} of this capture"
