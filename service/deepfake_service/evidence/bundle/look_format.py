"""The records of looks at a post: in-toto statements in DSSE envelopes, each naming the one before.

A record is signed when the look is made, by the key that signs evidence, and is never changed. The
SHA-256 of its envelope is in the next one of its post, so that none can be removed in between, and
in the audit log, so that none can be removed at the end. It has the SHA-256 of the text that was
kept of the page, which is stored beside it.

The file in which looks are handed on follows from its records and these texts, byte for byte, so
that nobody can read anything in it that was not signed.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deepfake_service.evidence.bundle import dsse
from deepfake_service.evidence.bundle.steps import Failed, Found, Outcome, Verification
from deepfake_service.evidence.bundle.trust_store import Trust

FORMAT = "deepfake-service/looks/1"
MAX_FILE_BYTES = 32 << 20
"""Of a file of looks. One with 4,000 characters of a page has up to 27 kB, most in other scripts
12 kB, and the record itself about 2 kB: ``MAX_LOOKS`` of them are less."""
MAX_LOOKS = 1000
"""In a file. A year of looks by the service has about 450."""
MOST_FOR_PEOPLE = 500
"""Looks at a post until which people may add or ask for one. Those that the service makes by its
plan in a year after that still fit into a file."""

Record = tuple[dict[str, Any], str]
"""The envelope of a look, and the text that was kept of its page."""


def signed_look(
    url: str | None, predicate: dict[str, Any], text: str, key: Ed25519PrivateKey
) -> tuple[dict[str, Any], str]:
    """Return the envelope of a look at the post at ``url``, and the SHA-256 of its bytes; ``text``
    is what is kept of the page."""
    digest = hashlib.sha256((url or "").encode()).hexdigest()
    predicate = {**predicate, "text_sha256": _digest_of(text)}
    envelope = dsse.sign(dsse.statement({"post-url": digest}, dsse.LOOK_TYPE, predicate), key)
    return json.loads(envelope), hashlib.sha256(envelope).hexdigest()


def _digest_of(text: str) -> str | None:
    return hashlib.sha256(text.encode()).hexdigest() if text else None


def predicate_of(envelope: dict[str, Any]) -> dict[str, Any]:
    """Return what an envelope states about its look."""
    predicate: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    return predicate


def looks_of(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return what records state: all those of one post up to the last, oldest first. ``Failed`` if
    one is missing, of another post, or at another place, or a text is not the one it was."""
    looks: list[dict[str, Any]] = []
    posts = set()
    for number, (envelope, text) in enumerate(records, 1):
        stated = predicate_of(envelope)
        posts.add(stated["post"])
        place = (stated["number"], stated["previous_sha256"])
        if place != (number, looks[-1]["sha256"] if looks else None):
            raise Failed(f"look {number} does not follow the one before")
        if stated["text_sha256"] != _digest_of(text):
            raise Failed(f"look {number}: its text is not the one that its record names")
        shown = ("id", "number", "at", "account", "result", "strong", "signals", "note")
        looks.append(
            {
                **{name: stated[name] for name in shown},
                "screenshot": stated["screenshot_sha256"] is not None,
                "text": text,
                "sha256": hashlib.sha256(rfc8785.dumps(envelope)).hexdigest(),
            }
        )
    if len(posts) > 1:
        raise Failed("the looks are at several posts")
    return looks


def file_of(records: Sequence[Record]) -> bytes:
    """Return the file in which looks at a post are handed on, in canonical JSON (RFC 8785);
    ``Failed`` as ``looks_of``."""
    document = {
        "format": FORMAT,
        "post": predicate_of(records[0][0])["post"],
        "looks": [
            {**look, "record": envelope}
            for look, (envelope, _) in zip(looks_of(records), records, strict=True)
        ],
    }
    return rfc8785.dumps(document)


def records_in(content: bytes) -> list[Record]:
    """Return the records in a file of looks, whose signatures are not checked here; ``Failed``,
    whose message says what is wrong."""
    try:
        document = json.loads(content)
        if document["format"] != FORMAT:
            raise Failed(f"its format is {document['format']!r:.100} instead of {FORMAT!r}")
        listed = document["looks"]
        if not 1 <= len(listed) <= MAX_LOOKS:
            raise Failed(f"the file has {len(listed)} looks instead of 1 to {MAX_LOOKS}")
        records = [(look["record"], look["text"]) for look in listed]
        for number, (envelope, text) in enumerate(records, 1):
            if not isinstance(text, str):  # others are empty as well
                raise Failed(f"look {number}: its text is no text")
            dsse.opened(rfc8785.dumps(envelope), (dsse.LOOK_TYPE,))
        if file_of(records) != content:
            raise Failed(_difference(listed, looks_of(records)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Failed("not a file of looks, which the service gives as looks.json") from error
    return records


def _difference(listed: Sequence[dict[str, Any]], stated: Sequence[dict[str, Any]]) -> str:
    """Return how a file differs from the one that follows from its records."""
    for number, (look, own) in enumerate(zip(listed, stated, strict=True), 1):
        for name in sorted({*look, *own} - {"record"}):
            if name not in own:
                return f"look {number} has a member {name!r:.100}, which the format does not have"
            if name not in look or look[name] != own[name]:
                return f"look {number}: its {name} is not what its record states"
    return (
        "the file is not what its records state, or was written anew: get it from the service "
        "again, and leave it as it is"
    )


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
        signers = {envelope["signatures"][0]["keyid"] for envelope, _ in self._records}
        for signer in sorted(signers):
            self._trust.check_key(signer)
        if not self._trust.keys:
            return Outcome.UNKNOWN, "not checked: give the issuer's key with --public-key"
        keys = {dsse.key_id(key): key for key in self._trust.keys}
        for number, (envelope, _) in enumerate(self._records, start=1):
            key = keys.get(envelope["signatures"][0]["keyid"])
            if key is None or not dsse.signed_by(envelope, key):
                raise Failed(f"look {number} is not signed with a trusted key")
        self._done.signer = ", ".join(sorted(signers))
        last, post = looks_of(self._records)[-1], predicate_of(self._records[-1][0])["post"]
        return Outcome.PASS, (
            f"looks at the post {post}; the last one, of {last['at']}, found: {last['result']}; "
            f"the issuer's audit log has its SHA-256, {last['sha256']}, and those of later ones, "
            f"if there are any; signed with the trusted key {self._done.signer}"
        )
