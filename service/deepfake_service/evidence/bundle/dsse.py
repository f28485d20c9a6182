"""The signed statement of a bundle: an in-toto Statement v1 in a DSSE envelope.

Its subjects are the submitted media and every other file of the bundle. The formats are those of
https://github.com/in-toto/attestation (spec/v1/statement.md) and
https://github.com/secure-systems-lab/dsse (envelope.md and, for what is signed, protocol.md). Both
JSON documents are in the canonical form of RFC 8785, which neither specification requires.
"""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deepfake_service.evidence.bundle.steps import Failed

# securesystemslib imports the libraries of cloud services, so it is imported within functions.
if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope

    from deepfake_service.platform.timestamps import PostQuery

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
EVIDENCE_TYPE = "urn:deepfake-service:evidence:1"
CAPTURE_TYPE = "urn:deepfake-service:capture:1"
LOOK_TYPE = "urn:deepfake-service:look:1"
MAX_BYTES = 256 * 1024
"""Size limit of an envelope, which is read before its signature is checked. A statement about 200
files takes 30 kB."""
MEDIA_SUBJECT = "submitted-media"
_ED25519_PEM = re.compile(
    rb"-----BEGIN PUBLIC KEY-----\n(MCowBQYDK2VwAyEA[A-Za-z0-9+/]{43}=)\n-----END PUBLIC KEY-----\n"
)
"""A public key in PEM, as ``public_pem`` writes it: the same head and 32 bytes (RFC 8410)."""


def key_id(key: PublicKeyTypes) -> str:
    """Return securesystemslib's id of a public key, 64 hex digits."""
    from securesystemslib.signer import SSlibKey

    identifier: str = SSlibKey.from_crypto(key).keyid
    return identifier


def statement(digests: Mapping[str, str], kind: str, predicate: Mapping[str, object]) -> bytes:
    """Return the statement in canonical JSON; ``digests`` are SHA-256 by the name of a subject,
    and ``kind`` is one of the types above."""
    content: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": n, "digest": {"sha256": digests[n]}} for n in sorted(digests)],
        "predicateType": kind,
        "predicate": predicate,
    }
    return rfc8785.dumps(content)


def sign(payload: bytes, key: Ed25519PrivateKey, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """Return the DSSE envelope of a statement, or of other canonical JSON, signed with ``key``."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    envelope = Envelope(payload, payload_type, {})
    envelope.sign(CryptoSigner(key))
    return rfc8785.dumps(envelope.to_dict())


def parsed_envelope(envelope: dict[str, Any]) -> Envelope:
    """Return a DSSE envelope, whose signatures are not checked here. A malformed one raises
    ``ValueError``, ``KeyError``, ``TypeError`` or ``AttributeError``."""
    from securesystemslib.dsse import Envelope

    return Envelope.from_dict(copy.deepcopy(envelope))


def opened(
    envelope: bytes, kinds: Sequence[str] = (EVIDENCE_TYPE, CAPTURE_TYPE)
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an envelope and the statement in it, which is one of ``kinds``, parsed; the signature
    is not checked here.

    Only the canonical bytes are accepted, so that nothing can be hidden in an envelope.
    ``Failed``, whose message says what is wrong.
    """
    if len(envelope) > MAX_BYTES:
        raise Failed(f"the envelope is larger than {MAX_BYTES} bytes")
    try:
        outer = json.loads(envelope)
        (signature,) = outer["signatures"]
        # Libraries accept members that they do not know, and no signature covers those.
        if set(outer) != {"payload", "payloadType", "signatures"}:
            raise Failed("the envelope has members that DSSE does not define")
        if set(signature) != {"keyid", "sig"}:
            raise Failed("the envelope's signature has members that DSSE does not define")
        parsed = parsed_envelope(outer)
        if rfc8785.dumps(parsed.to_dict()) != envelope:
            raise Failed("the envelope is not in canonical form")
        if parsed.payload_type != PAYLOAD_TYPE:
            raise Failed("the envelope's payload is not an in-toto statement")
        inner = json.loads(parsed.payload)
        if rfc8785.dumps(inner) != parsed.payload:
            raise Failed("the statement is not in canonical JSON")
        if inner["_type"] != STATEMENT_TYPE or inner["predicateType"] not in kinds:
            raise Failed("the statement or its predicate has an unknown type")
        if not isinstance(inner["predicate"], dict):
            raise Failed("the statement has no predicate")
        return outer, inner
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failed("not a DSSE envelope of an in-toto statement") from error


def subjects(content: dict[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of a statement's subjects, by name; ``Failed`` if a subject is
    malformed, or named twice."""
    try:
        named = [(str(s["name"]), str(s["digest"]["sha256"])) for s in content["subject"]]
    except (KeyError, TypeError) as error:
        raise Failed("a subject of the statement is malformed") from error
    digests = dict(named)
    if len(digests) < len(named):
        raise Failed("the statement names a subject twice")
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


@dataclass(frozen=True, slots=True, repr=False)
class Signers:
    """The keys and certificates that sign one edition, and who stamps the signatures."""

    statement: Ed25519PrivateKey
    report_key: ec.EllipticCurvePrivateKey | None = None
    """Signs PDF files, if the operator has configured a certificate."""
    report_certificates: tuple[x509.Certificate, ...] = ()
    """The report key's certificate first, then the intermediate certificates of its chain."""
    authority: PostQuery | None = None
    """Sends queries to a time-stamp authority, if one is configured."""

    @property
    def certificate_sha256(self) -> str | None:
        """The SHA-256 of the report key's certificate, if there is one."""
        chain = self.report_certificates
        return chain[0].fingerprint(hashes.SHA256()).hex() if chain else None

    @property
    def certificates_pem(self) -> bytes:
        """The report certificates in PEM format."""
        return b"".join(c.public_bytes(Encoding.PEM) for c in self.report_certificates)


def public_pem(key: Ed25519PublicKey | ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key in PEM format."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def opened_pem(pem: bytes) -> Ed25519PublicKey | None:
    """Return the Ed25519 key in a stranger's PEM file; ``None`` unless the file is the one that
    ``public_pem`` writes. No parser of PEM or DER sees it: all but 32 bytes is known."""
    found = _ED25519_PEM.fullmatch(pem)
    key = found and Ed25519PublicKey.from_public_bytes(base64.b64decode(found[1])[-32:])
    return key if key and public_pem(key) == pem else None
