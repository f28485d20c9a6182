"""The keys and certificates that a verification trusts."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel

from deepfake_service.evidence.bundle.verification_result import Trust
from deepfake_service.platform.errors import KeyUnreadable

_PEM = b"-----BEGIN PUBLIC KEY-----"


class _JwkSet(BaseModel, extra="ignore"):  # RFC 7517 demands that other members are ignored
    keys: list[dict[str, Any]]


def _public_key(path: Path, content: bytes) -> Ed25519PublicKey:
    try:
        if not content.lstrip().startswith(_PEM):
            # An evidence bundle contains its key as PEM. If a user gives the bundle itself as the
            # key file, it must not vouch for itself.
            raise ValueError("not a PEM file")
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnreadable(
            f"{path.name} is not a public key in PEM format. Give the file statement-*.pem "
            "that the issuer published, not the bundle."
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnreadable(
            f"{path.name} is not an Ed25519 key, with which evidence is signed. Give the file "
            "statement-*.pem that the issuer published."
        )
    return key


def public_keys(path: Path) -> list[Ed25519PublicKey]:
    """Read the Ed25519 public key in a PEM file, or those in a JWK Set (RFC 7517, RFC 8037).

    Raises:
        KeyUnreadable: the file cannot be read, or holds no such key.
    """
    content = _read(path)  # once: the path may be that of a pipe
    if not content.lstrip().startswith(b"{"):
        return [_public_key(path, content)]
    try:
        found = _JwkSet.model_validate_json(content).keys
        keys = [
            Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(jwk["x"] + "=="))
            for jwk in found
            if jwk.get("crv") == "Ed25519"
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise _no_keys(path) from error
    if not keys:
        raise _no_keys(path)
    return keys


def _no_keys(path: Path) -> KeyUnreadable:
    return KeyUnreadable(
        f"{path.name} holds no Ed25519 key, with which evidence is signed. Give the key set of the "
        "issuer (/.well-known/jwks.json), or the file statement-*.pem that it published."
    )


def pinned_keys(folder: Path | None) -> list[Ed25519PublicKey]:
    """Read the keys in the ``*.pem`` files of a folder.

    Raises:
        KeyUnreadable: a file is not a public key.
    """
    return (
        [_public_key(path, _read(path)) for path in sorted(folder.glob("*.pem"))] if folder else []
    )


def certificates(path: Path | None) -> list[x509.Certificate]:
    """Read the certificates in a PEM file; none without a path.

    Raises:
        KeyUnreadable: the file cannot be read, or holds no certificate.
    """
    if path is None:
        return []
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise KeyUnreadable(
            f"{path.name} holds no certificates in PEM format. Give a file with the root "
            "certificates of the time-stamp authority."
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyUnreadable(
            f"{path.name} cannot be read: {error.strerror}. Check the path and who may read "
            "the file."
        ) from error


def trust_of(
    own: Sequence[Ed25519PublicKey], pinned: Path | None, timestamp_roots: Path | None
) -> Trust:
    """Trust a service's ``own`` keys, those in the folder ``pinned``, and time-stamp authorities.

    Raises:
        KeyUnreadable: a file is not what it should be.
    """
    return Trust((*own, *pinned_keys(pinned)), certificates(timestamp_roots))
