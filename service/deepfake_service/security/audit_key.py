"""The key that signs checkpoints of the audit log."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from deepfake_service.errors import DataDirError
from deepfake_service.files import create_private

AUDIT_KEY_FILE = "audit-key.pem"


def audit_key(data_dir: Path) -> Ed25519PrivateKey:
    """Return the key that signs checkpoints. It is created on first use.

    Raises:
        DataDirError: the file cannot be read or created, or holds no Ed25519 key.
    """
    path = data_dir / AUDIT_KEY_FILE

    def generate() -> str:
        key = Ed25519PrivateKey.generate()
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    try:
        key = load_pem_private_key(create_private(path, generate).encode(), password=None)
    except ValueError as error:
        raise DataDirError(f"{path.name} is not a private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DataDirError(f"{path.name} is not an Ed25519 key")
    return key
