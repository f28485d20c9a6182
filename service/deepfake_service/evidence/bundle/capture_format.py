"""The bundle of a capture: a record of a page that others made, signed as evidence is.

``capture.json`` says who handed in what, how its digests and signature held, which pages,
pictures and videos were in it, and what is missing. ``page.warc.gz`` has the text of the pages.
Imagery is not in the bundle: the statement has the digests of the files that were handed in and of
each picture and video, so that they can be compared for as long as they are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import rfc8785

from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.builder import signed_bag
from deepfake_service.evidence.bundle.statement import CAPTURE_TYPE, Signers
from deepfake_service.evidence.bundle.steps import Failed

CAPTURE, RECORDS = "data/capture.json", "data/page.warc.gz"


def build_capture(document: dict[str, Any], records: bytes, signers: Signers) -> bytes:
    """Return the bundle of a capture, a ZIP, with the content of ``capture.json`` and the WARC
    records of its text, if it has any."""
    document = bag.as_json({"format": CAPTURE_TYPE, **document})
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


def opened_capture(raw: bytes) -> dict[str, Any]:
    """Return the content of ``capture.json``; ``Failed`` if it is not in canonical JSON, or of
    another format."""
    document = json.loads(raw)
    if not isinstance(document, dict) or document.get("format") != CAPTURE_TYPE:
        raise Failed(f"{CAPTURE}: its format is not {CAPTURE_TYPE}")
    if rfc8785.dumps(document) != raw:
        raise Failed(f"{CAPTURE}: not in canonical JSON (RFC 8785)")
    return document
