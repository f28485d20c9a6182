"""Signatures of WACZ files (specs.webrecorder.net/wacz-auth/0.1.0), checked offline.

Two kinds exist: by a key that the file brings along, which says only that one key signed it, and by
the certificate of a domain, with a time stamp. Whether that certificate was issued to the domain
cannot be said without the roots of its time, so that this is stated, not decided.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

MAX_TEXT = 64 * 1024


def check(signed: dict[str, Any], computed: str) -> dict[str, str]:
    """Return ``signature``, a state, and ``detail``: who signed, or why it does not hold.

    Args:
        signed: ``signedData`` of ``datapackage-digest.json``.
        computed: the digest of ``datapackage.json``, as it is signed: ``sha256:`` and hex.
    """
    texts = {name: value for name, value in signed.items() if isinstance(value, str)}
    if any(len(text) > MAX_TEXT for text in texts.values()):
        return _state("cannot_be_checked", "a value of it is too long")
    if texts.get("hash") != computed:
        return _state("invalid", "it is of another list of files")
    try:
        key, who = _key(texts)
        signature = base64.b64decode(texts["signature"], validate=True)
    except (KeyError, ValueError, binascii.Error):
        return _state("cannot_be_checked", "it names no key or certificate that can be read")
    if key is None:
        return _state("cannot_be_checked", "its key is not of the kind that the format has")
    if not _holds(key, signature, computed.encode()):
        return _state("invalid", "it does not belong to this list of files")
    return _state("valid", who)


def _key(texts: dict[str, str]) -> tuple[ec.EllipticCurvePublicKey | None, str]:
    key: PublicKeyTypes
    if "domainCert" in texts:
        certificate = x509.load_pem_x509_certificates(texts["domainCert"].encode())[0]
        key, domain = certificate.public_key(), texts.get("domain", "")
        issuer = certificate.issuer.rfc4514_string()[:200]
        who = f"by a certificate for {domain[:200]} that says that it is of {issuer}, unchecked"
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            is_named = domain in names.value.get_values_for_type(x509.DNSName)
        except x509.ExtensionNotFound:
            is_named = False
        if not is_named:
            who = f"by a certificate that does not name {domain[:200]}"
    else:
        der = base64.b64decode(texts["publicKey"], validate=True)
        key = load_der_public_key(der)
        who = f"by the key {hashlib.sha256(der).hexdigest()[:16]}, which only the file names"
    return (key if isinstance(key, ec.EllipticCurvePublicKey) else None), who


def _holds(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    """Return whether a signature belongs to a text: in DER, or as browsers write it (P1363)."""
    half = (key.key_size + 7) // 8
    if len(signature) == 2 * half:
        r, s = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
        signature = encode_dss_signature(r, s)
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _state(state: str, detail: str) -> dict[str, str]:
    return {"signature": state, "detail": detail}
