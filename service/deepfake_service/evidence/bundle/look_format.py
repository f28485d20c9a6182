"""The records of looks at a post: in-toto statements in DSSE envelopes, each naming the one before.

A record is signed when the look is made, by the key that signs evidence, and is never changed. The
SHA-256 of its envelope is in the next one of its post, so that none can be removed in between, and
in the audit log, so that none can be removed at the end.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deepfake_service.evidence.bundle import dsse
from deepfake_service.evidence.bundle.steps import Failed, Found, Outcome, Verification
from deepfake_service.evidence.bundle.trust_store import Trust

MAX_LIST_BYTES = 8 << 20
"""Of a list of looks. Daily looks of a year have about 2 MiB with what was kept of the pages."""


def signed_look(
    url: str | None, predicate: dict[str, Any], key: Ed25519PrivateKey
) -> tuple[dict[str, Any], str]:
    """Return the envelope of a look at the post at ``url``, and the SHA-256 of its bytes."""
    digest = hashlib.sha256((url or "").encode()).hexdigest()
    envelope = dsse.sign(dsse.statement({"post-url": digest}, dsse.LOOK_TYPE, predicate), key)
    return json.loads(envelope), hashlib.sha256(envelope).hexdigest()


def predicate_of(envelope: dict[str, Any]) -> dict[str, Any]:
    """Return what an envelope states about its look."""
    predicate: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    return predicate


def require_chain(envelopes: Sequence[dict[str, Any]]) -> list[str]:
    """Require that records are all those of one post up to the last, oldest first, and return the
    SHA-256 of each; ``Failed`` if one is missing, of another post, or at another place.
    """
    digests: list[str] = []
    posts = set()
    for number, envelope in enumerate(envelopes, 1):
        stated = predicate_of(envelope)
        posts.add(stated["post"])
        place = (stated["number"], stated["previous_sha256"])
        if place != (number, digests[-1] if digests else None):
            raise Failed(f"look {number} does not follow the one before")
        digests.append(hashlib.sha256(rfc8785.dumps(envelope)).hexdigest())
    if len(posts) > 1:
        raise Failed("the looks are at several posts")
    return digests


@dataclass
class LookSteps:
    """The steps of verifying looks at a post, as ``/v1/cases/…/occurrences/…/looks`` lists them."""

    _content: bytes
    _trust: Trust
    _done: Verification
    _looks: list[dict[str, Any]] = field(default_factory=list)

    def listed(self) -> Found:
        """Take the records from the list, oldest first."""
        if len(self._content) > MAX_LIST_BYTES:
            raise Failed(f"a list of looks may have at most {MAX_LIST_BYTES} bytes")
        try:
            listed = reversed(json.loads(self._content)["looks"])  # oldest first
            self._looks = [look["record"] for look in listed]
        except (ValueError, KeyError, TypeError) as error:
            raise Failed("not a list of looks as the service gives it") from error
        if not self._looks:
            raise Failed("the list has no looks")
        return Outcome.PASS, f"{len(self._looks)} looks"

    def records(self) -> Found:
        """Read each record as a statement about a look."""
        for envelope in self._looks:
            _, self._done.statement = dsse.opened(rfc8785.dumps(envelope), (dsse.LOOK_TYPE,))
        return Outcome.PASS, f"looks at the post {self._done.predicate['post']}"

    def chain(self) -> Found:
        """Compare what each record says of the one before."""
        last, p = require_chain(self._looks)[-1], self._done.predicate
        return Outcome.PASS, (
            f"the last one, of {p['at']}, found: {p['result']}; the issuer's audit log has its "
            f"SHA-256, {last}, and those of later ones, if there are any"
        )

    def signatures(self) -> Found:
        """Check each signature."""
        signers = {envelope["signatures"][0]["keyid"] for envelope in self._looks}
        for signer in sorted(signers):
            self._trust.check_key(signer)
        if not self._trust.keys:
            return Outcome.UNKNOWN, "not checked: give the issuer's key with --public-key"
        for number, envelope in enumerate(self._looks, start=1):
            if not any(dsse.signed_by(envelope, key) for key in self._trust.keys):
                raise Failed(f"look {number} is not signed with a trusted key")
        self._done.signer = ", ".join(sorted(signers))
        return Outcome.PASS, f"signed with the trusted key {self._done.signer}"
