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
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deepfake_service.evidence.bundle.statement import LOOK_TYPE, opened, sign, statement
from deepfake_service.evidence.bundle.steps import Failed

MAX_LIST_BYTES = 8 << 20
"""Of a list of looks. Daily looks of a year have about 2 MiB with what was kept of the pages."""


def signed_look(
    url: str | None, predicate: dict[str, Any], key: Ed25519PrivateKey
) -> tuple[dict[str, Any], str]:
    """Return the envelope of a look at the post at ``url``, and the SHA-256 of its bytes."""
    digest = hashlib.sha256((url or "").encode()).hexdigest()
    envelope = sign(statement({"post-url": digest}, LOOK_TYPE, predicate), key)
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


def listed_records(content: bytes) -> list[dict[str, Any]]:
    """Return the envelopes in the answer of ``/v1/cases/…/occurrences/…/looks``, oldest first;
    ``Failed`` if it is too large, or has no records."""
    if len(content) > MAX_LIST_BYTES:
        raise Failed(f"a list of looks may have at most {MAX_LIST_BYTES} bytes")
    try:
        records = [look["record"] for look in reversed(json.loads(content)["looks"])]
    except (ValueError, KeyError, TypeError) as error:
        raise Failed("not a list of looks as the service gives it") from error
    if not records:
        raise Failed("the list has no looks")
    return records


def statements_of(envelopes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the statements in envelopes; the signatures are not checked here. ``Failed`` if one is
    not a look, or not in canonical form."""
    return [opened(rfc8785.dumps(envelope), (LOOK_TYPE,))[1] for envelope in envelopes]
