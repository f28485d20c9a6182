"""The steps that are taken for captures, after those of every bundle, and for looks at a post."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.capture_format import CAPTURE, RECORDS, apart, opened_capture
from deepfake_service.evidence.bundle.look_format import (
    listed_records,
    require_chain,
    statements_of,
)
from deepfake_service.evidence.bundle.readers import BundleReaders
from deepfake_service.evidence.bundle.statement import signed_by, subjects
from deepfake_service.evidence.bundle.steps import (
    Failed,
    Found,
    NamedStep,
    Outcome,
    Verification,
    same,
)
from deepfake_service.evidence.bundle.trust_store import Trust


@dataclass
class CaptureSteps:
    """The steps of one capture, whose statement is signed and covers its files."""

    _files: dict[str, bytes]
    _done: Verification
    _readers: BundleReaders
    _original: BinaryIO | None

    def all(self, time_stamp: NamedStep) -> list[NamedStep]:
        """Return the steps in order, and that of the time stamp at its place."""
        return [
            ("The capture agrees with the statement", self._record),
            ("The records of the page are intact", self._records),
            time_stamp,
            ("The original belongs to this capture", self._original_file),
        ]

    def _record(self) -> Found:
        document = opened_capture(bag.bounded(self._files, CAPTURE))
        p, named = self._done.predicate, subjects(self._done.statement)
        same("capture", p["capture"], document["id"])
        same("case", p["case"], document["case"])
        same("time", p["createdAt"], document["created_at"])
        outside = {name: digest for name, digest in named.items() if name not in self._files}
        same("digests of imagery", outside, apart(document))
        self._done.document = document
        missing = ", ".join(map(str, document["minimum"]["missing"])) or "nothing"
        return Outcome.PASS, (
            f"{len(document['pages'])} pages, {len(document['media'])} pictures and videos; "
            f"missing from the minimum of the Berkeley Protocol: {missing}"
        )

    def _records(self) -> Found:
        content = self._files.get(RECORDS)
        same("text part", self._done.document["text"]["records"] > 0, content is not None)
        if content is None:
            return Outcome.SKIPPED, "the capture has no text"
        found = self._readers.count_records(content)
        same("records", self._done.document["text"]["records"], found)
        return Outcome.PASS, f"{found} records have the digests that they state"

    def _original_file(self) -> Found:
        if self._original is None:
            return Outcome.SKIPPED, "not requested (--media FILE)"
        digest = hashlib.file_digest(self._original, "sha256").hexdigest()  # type: ignore[arg-type]
        known = [name for name, each in apart(self._done.document).items() if each == digest]
        if not known:
            raise Failed(f"a file with the SHA-256 {digest} is not in this capture")
        return Outcome.PASS, f"it is {known[0]} of this capture"


@dataclass
class LookSteps:
    """The steps of looks at one post, as the service lists them."""

    _content: bytes
    _trust: Trust
    _done: Verification
    _looks: list[dict[str, Any]] = field(default_factory=list)

    def all(self) -> list[NamedStep]:
        """Return the steps in order."""
        return [
            ("The file lists looks", self._list),
            ("The records are statements about looks", self._records),
            ("Each record names the one before", self._chain),
            ("The signatures hold", self._signatures),
        ]

    def _list(self) -> Found:
        self._looks = listed_records(self._content)
        return Outcome.PASS, f"{len(self._looks)} looks"

    def _records(self) -> Found:
        statements = statements_of(self._looks)
        self._done.statement = statements[-1]
        return Outcome.PASS, f"looks at the post {statements[-1]['predicate']['post']}"

    def _chain(self) -> Found:
        last, p = require_chain(self._looks)[-1], self._done.predicate
        return Outcome.PASS, (
            f"the last one, of {p['at']}, found: {p['result']}; the issuer's audit log has its "
            f"SHA-256, {last}, and those of later ones, if there are any"
        )

    def _signatures(self) -> Found:
        signers = {envelope["signatures"][0]["keyid"] for envelope in self._looks}
        for signer in sorted(signers):
            self._trust.check_key(signer)
        if not self._trust.keys:
            return Outcome.UNKNOWN, "not checked: give the issuer's key with --public-key"
        for number, envelope in enumerate(self._looks, start=1):
            if not any(signed_by(envelope, key) for key in self._trust.keys):
                raise Failed(f"look {number} is not signed with a trusted key")
        self._done.signer = ", ".join(sorted(signers))
        return Outcome.PASS, f"signed with the trusted key {self._done.signer}"
