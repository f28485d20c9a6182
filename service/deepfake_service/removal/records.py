"""The record of one look: an in-toto statement in a DSSE envelope, which names the one before.

The record is signed when it is made, by the key that signs evidence, and is never changed. The
SHA-256 of its envelope is in the next one of its post, so that none can be removed in between.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deepfake_service.evidence.bundle.statement import STATEMENT_TYPE, sign
from deepfake_service.platform.db import Look
from deepfake_service.platform.errors import RecordAltered
from deepfake_service.platform.pages import Page

PREDICATE_TYPE = "urn:deepfake-service:look:1"


def signed_record(
    url: str | None, predicate: dict[str, Any], key: Ed25519PrivateKey
) -> tuple[dict[str, Any], str]:
    """Return the envelope of a look at the post at ``url``, and the SHA-256 of its bytes."""
    digest = hashlib.sha256((url or "").encode()).hexdigest()
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "post-url", "digest": {"sha256": digest}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    envelope = sign(rfc8785.dumps(statement), key)
    return json.loads(envelope), hashlib.sha256(envelope).hexdigest()


def exchanges_of(page: Page | None) -> list[dict[str, Any]]:
    """Return what a record has of each answer."""
    return [
        {
            "url": answer.url,
            "status": answer.status,
            "address": answer.address,
            "headers": dict(answer.headers),
            "body_bytes": answer.body_bytes,
            "body_sha256": answer.body_sha256,
            "cut": answer.is_cut,
        }
        for answer in (page.answers if page else ())
    ]


def predicate_of(envelope: dict[str, Any]) -> dict[str, Any]:
    """Return what an envelope states about its look."""
    statement = json.loads(base64.b64decode(envelope["payload"]))
    predicate: dict[str, Any] = statement["predicate"]
    return predicate


def require_whole(looks: Sequence[tuple[Look, dict[str, Any]]]) -> None:
    """Require that the records of a post, oldest first, are all there and as they were signed.

    Raises:
        RecordAltered: one was removed, changed, or moved here from elsewhere.
    """
    previous: str | None = None
    for number, (row, content) in enumerate(looks, 1):
        envelope = rfc8785.dumps(content["envelope"])
        stated = predicate_of(content["envelope"])
        facts = (stated["number"], stated["previous_sha256"], stated["post"], stated["result"])
        is_same = facts == (number, previous, row.occurrence_id, row.result)
        if not is_same or hashlib.sha256(envelope).hexdigest() != row.sha256:
            raise RecordAltered(
                f"The looks at the post {row.occurrence_id} contradict each other: they were "
                "altered outside this program."
            )
        previous = row.sha256
