"""The signed statement of a bundle: an in-toto Statement v1 in a DSSE envelope.

Its subjects are the submitted media and every other file of the bundle. The formats are those of
https://github.com/in-toto/attestation (spec/v1/statement.md) and
https://github.com/secure-systems-lab/dsse (envelope.md and, for what is signed, protocol.md). Both
JSON documents are in the canonical form of RFC 8785, which neither specification requires.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from deepfake_models.errors import DeepfakeError

# securesystemslib imports the libraries of cloud services, so it is imported within functions.
if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:deepfake-service:evidence:1"
MAX_BYTES = 256 * 1024
"""Size limit of an envelope, which is read before its signature is checked. A statement about 200
files takes 30 kB."""
MEDIA_SUBJECT = "submitted-media"


class InvalidStatement(DeepfakeError):
    """The statement is not in canonical form."""


def key_id(key: PublicKeyTypes) -> str:
    """Return securesystemslib's id of a public key, 64 hex digits."""
    from securesystemslib.signer import SSlibKey

    identifier: str = SSlibKey.from_crypto(key).keyid
    return identifier


def statement(digests: dict[str, str], media_sha256: str, predicate: dict[str, Any]) -> bytes:
    """Return the statement in canonical JSON; ``digests`` are SHA-256 by file name."""
    named = {MEDIA_SUBJECT: media_sha256, **digests}
    content: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": n, "digest": {"sha256": named[n]}} for n in sorted(named)],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    return rfc8785.dumps(content)


def sign(content: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return the DSSE envelope of a statement in canonical JSON, signed with ``key``."""
    return signed_envelope(content, PAYLOAD_TYPE, key)


def signed_envelope(payload: bytes, payload_type: str, key: Ed25519PrivateKey) -> bytes:
    """Return a DSSE envelope in canonical JSON, signed with ``key``."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    envelope = Envelope(payload, payload_type, {})
    envelope.sign(CryptoSigner(key))
    return rfc8785.dumps(envelope.to_dict())


def parsed_envelope(envelope: dict[str, Any]) -> Envelope:
    """Return a DSSE envelope; the signatures are not checked here.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is malformed.
    """
    from securesystemslib.dsse import Envelope

    return Envelope.from_dict(copy.deepcopy(envelope))


def opened(envelope: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an envelope and the statement in it, parsed; the signature is not checked here.

    Only the canonical bytes are accepted, so that nothing can be hidden in an envelope.

    Raises:
        InvalidStatement: the message says what is wrong.
    """
    if len(envelope) > MAX_BYTES:
        raise InvalidStatement(f"the envelope is larger than {MAX_BYTES} bytes")
    try:
        outer = json.loads(envelope)
        (signature,) = outer["signatures"]
        # Libraries accept members that they do not know, and no signature covers those.
        if set(outer) != {"payload", "payloadType", "signatures"}:
            raise InvalidStatement("the envelope has members that DSSE does not define")
        if set(signature) != {"keyid", "sig"}:
            raise InvalidStatement("the envelope's signature has members that DSSE does not define")
        parsed = parsed_envelope(outer)
        if rfc8785.dumps(parsed.to_dict()) != envelope:
            raise InvalidStatement("the envelope is not in canonical form")
        if parsed.payload_type != PAYLOAD_TYPE:
            raise InvalidStatement("the envelope's payload is not an in-toto statement")
        inner = json.loads(parsed.payload)
        if rfc8785.dumps(inner) != parsed.payload:
            raise InvalidStatement("the statement is not in canonical JSON")
        if (inner["_type"], inner["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise InvalidStatement("the statement or its predicate has an unknown type")
        if not isinstance(inner["predicate"], dict):
            raise InvalidStatement("the statement has no predicate")
        return outer, inner
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidStatement("not a DSSE envelope of an in-toto statement") from error


def subjects(content: dict[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of a statement's subjects, by name.

    Raises:
        InvalidStatement: a subject is malformed, or named twice.
    """
    try:
        named = [(str(s["name"]), str(s["digest"]["sha256"])) for s in content["subject"]]
    except (KeyError, TypeError) as error:
        raise InvalidStatement("a subject of the statement is malformed") from error
    digests = dict(named)
    if len(digests) < len(named):
        raise InvalidStatement("the statement names a subject twice")
    return digests


def signed_by(envelope: dict[str, Any], key: Ed25519PublicKey) -> bool:
    """Return whether ``key`` signed an envelope that ``opened`` returned."""
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    parsed = parsed_envelope(envelope)
    try:
        parsed.verify([SSlibKey.from_crypto(key)], 1)
    except VerificationError:
        return False
    return list(parsed.signatures) == [key_id(key)]
