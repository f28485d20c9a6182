"""The signed statement of a bundle: an in-toto Statement in a DSSE envelope.

Its subjects are the submitted media and every file of the bundle that was there before it. See
https://github.com/in-toto/attestation and https://github.com/secure-systems-lab/dsse.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from deepfake_models.errors import DeepfakeError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:deepfake-service:evidence:1"
MAX_BYTES = 256 * 1024
"""Two hundred files take 30 kB. What nobody signed must not take memory when it is read."""
MEDIA_SUBJECT = "submitted-media"


class InvalidStatement(DeepfakeError):
    """The statement is not one that could have been signed as it lies there."""


def key_id(key: Ed25519PublicKey) -> str:
    """The id of a public key, 64 hex digits, as securesystemslib makes it."""
    found: str = SSlibKey.from_crypto(key).keyid
    return found


def statement(digests: dict[str, str], media_sha256: str, predicate: dict[str, Any]) -> bytes:
    """The statement in canonical JSON (RFC 8785); ``digests`` are SHA-256 by file name."""
    named = {MEDIA_SUBJECT: media_sha256, **digests}
    content: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": n, "digest": {"sha256": named[n]}} for n in sorted(named)],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    return rfc8785.dumps(content)


def sign(content: bytes, key: Ed25519PrivateKey) -> bytes:
    """The envelope of a statement, in canonical JSON."""
    envelope = Envelope(content, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(key))
    return rfc8785.dumps(envelope.to_dict())


def opened(envelope: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The envelope and the statement in it; nothing of them is trusted yet.

    Only one form of bytes is taken, so that nothing can be put into an envelope unseen.

    Raises:
        InvalidStatement: saying what is wrong with it.
    """
    if len(envelope) > MAX_BYTES:
        raise InvalidStatement(f"the envelope has more than {MAX_BYTES} bytes")
    try:
        outer = json.loads(envelope)
        (signature,) = outer["signatures"]
        # Libraries keep members that they do not know, and no signature covers those.
        if set(outer) != {"payload", "payloadType", "signatures"}:
            raise InvalidStatement("the envelope holds more than an envelope does")
        if set(signature) != {"keyid", "sig"}:
            raise InvalidStatement("the envelope's signature holds more than a signature does")
        parsed = Envelope.from_dict(copy.deepcopy(outer))
        if rfc8785.dumps(parsed.to_dict()) != envelope:
            raise InvalidStatement("the envelope is not in canonical form")
        if parsed.payload_type != PAYLOAD_TYPE:
            raise InvalidStatement("the envelope holds something other than a statement")
        inner = json.loads(parsed.payload)
        if rfc8785.dumps(inner) != parsed.payload:
            raise InvalidStatement("the statement is not in canonical JSON")
        if (inner["_type"], inner["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise InvalidStatement("the statement is of another type")
        if not isinstance(inner["predicate"], dict):
            raise InvalidStatement("the statement states nothing")
        return outer, inner
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidStatement("this is no DSSE envelope of a statement") from error


def subjects(content: dict[str, Any]) -> dict[str, str]:
    """SHA-256 by name of what a statement is about.

    Raises:
        InvalidStatement: a subject is malformed, or named twice.
    """
    try:
        named = [(str(s["name"]), str(s["digest"]["sha256"])) for s in content["subject"]]
    except (KeyError, TypeError) as error:
        raise InvalidStatement("a subject of the statement is malformed") from error
    found = dict(named)
    if len(found) < len(named):
        raise InvalidStatement("the statement names a subject twice")
    return found


def signed_by(envelope: dict[str, Any], key: Ed25519PublicKey) -> bool:
    """Whether ``key`` signed an envelope that ``opened`` gave."""
    parsed = Envelope.from_dict(copy.deepcopy(envelope))
    try:
        parsed.verify([SSlibKey.from_crypto(key)], 1)
    except VerificationError:
        return False
    return list(parsed.signatures) == [key_id(key)]
