"""The records of looks at a post: in-toto statements in DSSE envelopes, each naming the one before.

A record is signed when the look is made, by the key that signs evidence, and is never changed. The
SHA-256 of its envelope is in the next one of its post, so that none can be removed in between, and
in the audit log, so that none can be removed at the end. It has the SHA-256 of the text that was
kept of the page, which is stored beside it.

The file in which looks are handed on follows from its records and these texts, byte for byte, so
that nobody can read anything in it that was not signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ConfigDict, JsonValue

from deepfake_service.evidence.bundle import dsse
from deepfake_service.evidence.bundle.documents import Document, Failed, read
from deepfake_service.evidence.bundle.steps import Found, Outcome, Verification
from deepfake_service.evidence.bundle.trust_store import Trust

LOOK_TYPE: Literal["urn:deepfake-service:look:1"] = "urn:deepfake-service:look:1"
MAX_FILE_BYTES = 32 << 20
"""Of a file of looks. One with 4,000 characters of a page has up to 27 kB, most in other scripts
12 kB, and the record itself about 2 kB: ``MAX_LOOKS`` of them are less."""
MAX_LOOKS = 1000
"""In a file. A year of looks by the service has about 450."""
MOST_FOR_PEOPLE = 500
"""Looks at a post until which people may add or ask for one. Those that the service makes by its
plan in a year after that still fit into a file."""


class _Look(Document):
    id: str
    number: int
    at: str
    account: str | None
    result: str
    strong: bool
    signals: tuple[JsonValue, ...]
    note: str | None


class LookPredicate(_Look):
    """What a record states about its look, and about the record before it."""

    post: str
    previous_sha256: str | None
    screenshot_sha256: str | None
    text_sha256: str | None
    recorded_at: str = ""


class LookStatement(dsse.Statement):
    """A statement about a look."""

    predicate_type: Literal["urn:deepfake-service:look:1"]
    predicate: LookPredicate


class StatedLook(_Look):
    """What follows from a record, and the text that was kept of the page."""

    model_config = ConfigDict(extra="forbid")

    screenshot: bool
    text: str
    sha256: str


class SignedLook(StatedLook):
    """A look with its record."""

    record: dsse.Envelope


class LooksFile(Document):
    """A file of looks at a post."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["deepfake-service/looks/1"] = "deepfake-service/looks/1"
    post: str
    looks: tuple[SignedLook, ...]


Record = tuple[dsse.Envelope, str]
"""The envelope of a look, and the text that was kept of its page."""


def signed_look(
    url: str | None, predicate: Mapping[str, object], text: str, key: Ed25519PrivateKey
) -> tuple[dsse.Envelope, str]:
    """Return the envelope of a look at the post at ``url``, and the SHA-256 of its bytes; ``text``
    is what is kept of the page."""
    digest = hashlib.sha256((url or "").encode()).hexdigest()
    predicate = {**predicate, "text_sha256": _digest_of(text)}
    envelope = dsse.sign(dsse.statement({"post-url": digest}, LOOK_TYPE, predicate), key)
    return read(dsse.Envelope, envelope, "the record"), hashlib.sha256(envelope).hexdigest()


def _digest_of(text: str) -> str | None:
    return hashlib.sha256(text.encode()).hexdigest() if text else None


def predicate_of(envelope: dsse.Envelope) -> LookPredicate:
    """Return what an envelope states about its look; ``Failed`` as ``dsse.opened``."""
    return dsse.opened(envelope.canonical(), LookStatement)[1].predicate


def record_of(content: Mapping[str, JsonValue]) -> Record:
    """Return the record in what is stored of a look."""
    return dsse.Envelope.model_validate(content["envelope"], strict=False), str(content["text"])


def looks_of(records: Sequence[Record]) -> tuple[str, list[StatedLook]]:
    """Return the post that records are about, and what they state: all those of one post up to the
    last, oldest first. ``Failed`` if one is missing, of another post, or at another place, or a
    text is not the one it was."""
    looks: list[StatedLook] = []
    posts = set()
    for number, (envelope, text) in enumerate(records, 1):
        stated = predicate_of(envelope)
        posts.add(stated.post)
        place = (stated.number, stated.previous_sha256)
        if place != (number, looks[-1].sha256 if looks else None):
            raise Failed(f"look {number} does not follow the one before")
        if stated.text_sha256 != _digest_of(text):
            raise Failed(f"look {number}: its text is not the one that its record names")
        look = StatedLook(
            **{name: getattr(stated, name) for name in _Look.model_fields},
            screenshot=stated.screenshot_sha256 is not None,
            text=text,
            sha256=hashlib.sha256(envelope.canonical()).hexdigest(),
        )
        looks.append(look)
    if len(posts) != 1:
        raise Failed("the looks are not at one post")
    return posts.pop(), looks


def file_of(records: Sequence[Record]) -> bytes:
    """Return the file in which looks at a post are handed on, in canonical JSON (RFC 8785);
    ``Failed`` as ``looks_of``."""
    post, looks = looks_of(records)
    signed = (
        SignedLook(**dict(look), record=envelope)
        for look, (envelope, _) in zip(looks, records, strict=True)
    )
    return LooksFile(post=post, looks=tuple(signed)).canonical()


def records_in(content: bytes) -> list[Record]:
    """Return the records in a file of looks, whose signatures are not checked here; ``Failed``,
    whose message says what is wrong."""
    file = read(LooksFile, content, "looks.json")
    if not 1 <= len(file.looks) <= MAX_LOOKS:
        raise Failed(f"the file has {len(file.looks)} looks instead of 1 to {MAX_LOOKS}")
    records = [(look.record, look.text) for look in file.looks]
    _, stated = looks_of(records)
    for number, (look, own) in enumerate(zip(file.looks, stated, strict=True), 1):
        for name, value in own:
            if getattr(look, name) != value:
                raise Failed(f"look {number}: its {name} is not what its record states")
    if file_of(records) != content:
        raise Failed(
            "the file is not what its records state, or was written anew: get it from the service "
            "again, and leave it as it is"
        )
    return records


@dataclass
class LookSteps:
    """The steps of verifying looks at a post, as ``/v1/cases/…/looks.json`` gives them."""

    _content: bytes
    _trust: Trust
    _done: Verification
    _read: Callable[[bytes], list[Record]]
    """Returns the records in a file, in bounds: see ``readers``."""
    _records: list[Record] = field(default_factory=list)

    def stated(self) -> Found:
        """Compare the file with its records, and what each says of the one before."""
        self._records = self._read(self._content)
        return Outcome.PASS, f"{len(self._records)} looks; what they amount to is not in the file"

    def signatures(self) -> Found:
        """Check each signature."""
        signers = {envelope.signatures[0].keyid for envelope, _ in self._records}
        for signer in sorted(signers):
            self._trust.check_key(signer)
        if not self._trust.keys:
            return Outcome.UNKNOWN, "not checked: give the issuer's key with --public-key"
        keys = {dsse.key_id(key): key for key in self._trust.keys}
        for number, (envelope, _) in enumerate(self._records, start=1):
            key = keys.get(envelope.signatures[0].keyid)
            if key is None or not dsse.signed_by(envelope, key):
                raise Failed(f"look {number} is not signed with a trusted key")
        self._done.signer = ", ".join(sorted(signers))
        post, (*_, last) = looks_of(self._records)
        return Outcome.PASS, (
            f"looks at the post {post}; the last one, of {last.at}, found: {last.result}; "
            f"the issuer's audit log has its SHA-256, {last.sha256}, and those of later ones, "
            f"if there are any; signed with the trusted key {self._done.signer}"
        )
