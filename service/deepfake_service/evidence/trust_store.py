"""Whom a verification trusts: keys that were given, pinned, or are this installation's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from deepfake_service.errors import KeyUnreadable
from deepfake_service.evidence.verification_result import Trust
from deepfake_service.settings import Settings

_PEM = b"-----BEGIN PUBLIC KEY-----"


def public_key(path: Path) -> Ed25519PublicKey:
    """The Ed25519 public key in a PEM file.

    Raises:
        KeyUnreadable: there is none.
    """
    try:
        content = path.read_bytes()
        if not content.lstrip().startswith(_PEM):
            # A bundle holds a PEM somewhere: given as the key, it must not vouch for itself.
            raise ValueError("not a PEM file")
        key = load_pem_public_key(content)
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnreadable(f"{path.name}: no public key in PEM can be read from it") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnreadable(f"{path.name}: evidence is signed with Ed25519, this key is another")
    return key


def pinned_keys(folder: Path | None) -> list[Ed25519PublicKey]:
    """The keys in the ``*.pem`` files of a folder."""
    return [public_key(path) for path in sorted(folder.glob("*.pem"))] if folder else []


def certificates(path: Path | None) -> list[x509.Certificate]:
    """The certificates in a PEM file.

    Raises:
        KeyUnreadable: there are none.
    """
    if path is None:
        return []
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise KeyUnreadable(f"{path.name}: no certificates in PEM can be read from it") from error


def trusted(settings: Settings, own: Sequence[Ed25519PublicKey]) -> Trust:
    """What a service trusts: its ``own`` keys, and those that its settings pin."""
    return Trust(
        keys=(*own, *pinned_keys(settings.pinned_keys)),
        timestamp_roots=certificates(settings.timestamp_roots),
    )
