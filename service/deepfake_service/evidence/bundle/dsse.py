"""The signed statement of a bundle: an in-toto Statement v1 in a DSSE envelope.

Its subjects are the submitted media and every other file of the bundle. The formats are those of
https://github.com/in-toto/attestation (spec/v1/statement.md) and
https://github.com/secure-systems-lab/dsse (envelope.md and, for what is signed, protocol.md). Both
JSON documents are in the canonical form of RFC 8785, which neither specification requires.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import AfterValidator, Base64Bytes, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from deepfake_service.evidence.bundle.documents import Document, Failed, read, read_canonical

# securesystemslib imports the libraries of cloud services, so it is imported within functions.
if TYPE_CHECKING:
    from deepfake_service.platform.timestamps import PostQuery

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
EVIDENCE_TYPE: Literal["urn:deepfake-service:evidence:1"] = "urn:deepfake-service:evidence:1"
CAPTURE_TYPE: Literal["urn:deepfake-service:capture:1"] = "urn:deepfake-service:capture:1"
MAX_BYTES = 256 * 1024
"""Size limit of an envelope, which is read before its signature is checked. A statement about 200
files takes 30 kB."""
MEDIA_SUBJECT = "submitted-media"
_ED25519_PEM = re.compile(
    rb"-----BEGIN PUBLIC KEY-----\n(MCowBQYDK2VwAyEA[A-Za-z0-9+/]{43}=)\n-----END PUBLIC KEY-----\n"
)
"""A public key in PEM, as ``public_pem`` writes it: the same head and 32 bytes (RFC 8410)."""
_CAMEL = ConfigDict(alias_generator=to_camel, serialize_by_alias=True)
Id = Annotated[str, Field(pattern=r"^[0-9a-z]{1,26}$")]
Written = Annotated[
    str,
    Field(pattern=r"^[0-9T:.+-]{10,40}$"),
    AfterValidator(lambda text: datetime.fromisoformat(text) and text),
]
"""A time in ISO 8601."""


class Signature(Document):
    """A signature, and the id of its key."""

    model_config = ConfigDict(extra="forbid")

    keyid: str
    sig: Base64Bytes


class Envelope(Document):
    """A DSSE envelope with one signature. Libraries accept members that they do not know, and no
    signature covers those."""

    model_config = ConfigDict(**_CAMEL, extra="forbid")

    payload: Base64Bytes
    payload_type: str
    signatures: tuple[Signature]


class Named(Document):
    """Something that its digest names."""

    model_config = ConfigDict(extra="forbid")

    sha256: str


class Subject(Document):
    """A file that a statement is about."""

    name: str
    digest: Named


class Predicate(Document):
    """What a statement says of the files of a bundle."""

    model_config = _CAMEL

    created_at: Written
    case: Id
    timestamp: Annotated[str, Field(pattern=r"^[a-z0-9]{1,20}$")]


class EvidencePredicate(Predicate):
    """What a statement repeats of ``verdict.json``."""

    issuer: str
    job: Id
    edition: int
    predecessor: Named | None
    verdict: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
    finding: str | None
    model: Named
    report_certificate: Named | None
    capture: None = None


class CapturePredicate(Predicate):
    """What a statement repeats of ``capture.json``."""

    capture: Id
    job: None = None
    edition: None = None
    verdict: None = None
    finding: None = None


class Statement(Document):
    """An in-toto statement."""

    model_config = _CAMEL

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: tuple[Subject, ...]

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of the subjects, by name; ``Failed`` if a subject is named twice."""
        digests = {subject.name: subject.digest.sha256 for subject in self.subject}
        if len(digests) < len(self.subject):
            raise Failed("the statement names a subject twice")
        return digests


class EvidenceStatement(Statement):
    """A statement about evidence."""

    predicate_type: Literal["urn:deepfake-service:evidence:1"]
    predicate: EvidencePredicate


class CaptureStatement(Statement):
    """A statement about a capture."""

    predicate_type: Literal["urn:deepfake-service:capture:1"]
    predicate: CapturePredicate


OfBundle = EvidenceStatement | CaptureStatement
OF_BUNDLE: TypeAdapter[OfBundle] = TypeAdapter(
    Annotated[OfBundle, Field(discriminator="predicate_type")]
)
S = TypeVar("S", bound=Statement)


def key_id(key: PublicKeyTypes) -> str:
    """Return securesystemslib's id of a public key, 64 hex digits."""
    from securesystemslib.signer import SSlibKey

    identifier: str = SSlibKey.from_crypto(key).keyid
    return identifier


def statement(digests: Mapping[str, str], kind: str, predicate: Mapping[str, object]) -> bytes:
    """Return the statement in canonical JSON; ``digests`` are SHA-256 by the name of a subject,
    and ``kind`` is one of the types above."""
    return rfc8785.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": n, "digest": {"sha256": digests[n]}} for n in sorted(digests)],
            "predicateType": kind,
            "predicate": predicate,  # type: ignore[dict-item]
        }
    )


def sign(payload: bytes, key: Ed25519PrivateKey, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """Return the DSSE envelope of a statement, or of other canonical JSON, signed with ``key``."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    envelope = Envelope(payload, payload_type, {})
    envelope.sign(CryptoSigner(key))
    return rfc8785.dumps(envelope.to_dict())


def envelope_in(raw: bytes, payload_type: str = PAYLOAD_TYPE) -> Envelope:
    """Return an envelope, whose signature is not checked here; ``Failed``, whose message says what
    is wrong, for another than the canonical bytes, so that nothing can be hidden in an envelope."""
    envelope = read(Envelope, raw, "the DSSE envelope")
    if envelope.canonical() != raw:
        raise Failed("the envelope is not in canonical form")
    if envelope.payload_type != payload_type:
        raise Failed(f"the type of the envelope's payload is not {payload_type}")
    return envelope


def opened(raw: bytes, kind: type[S] | TypeAdapter[S]) -> tuple[Envelope, S]:
    """Return an envelope and the statement of this ``kind`` in it; the signature is not checked
    here. ``Failed``, whose message says what is wrong. Members that this version does not know are
    signed, and so may be in the statement."""
    if len(raw) > MAX_BYTES:
        raise Failed(f"the envelope is larger than {MAX_BYTES} bytes")
    envelope = envelope_in(raw)
    return envelope, read_canonical(kind, envelope.payload, "the statement")


def signed_by(envelope: Envelope, key: Ed25519PublicKey) -> bool:
    """Return whether ``key`` signed an envelope."""
    from securesystemslib import dsse, signer
    from securesystemslib.exceptions import VerificationError

    (own,) = envelope.signatures
    signatures = {own.keyid: signer.Signature(own.keyid, own.sig.hex())}
    try:
        library = dsse.Envelope(envelope.payload, envelope.payload_type, signatures)
        library.verify([signer.SSlibKey.from_crypto(key)], 1)
    except VerificationError:
        return False
    return True


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
