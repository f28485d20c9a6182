"""The key that signs checkpoints of the audit log, wrapped by the master key in the database.

Versions before 0.3 stored it in the file ``audit-key.pem`` of the data directory, beside the log
that it vouches for. That file is moved into the database.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from deepfake_service.db import Database, Secret
from deepfake_service.errors import DataDirError
from deepfake_service.storage import installation_secret, secret_context
from deepfake_service.storage.envelope import KeyWrapper

AUDIT_KEY_FILE = "audit-key.pem"
_NAME = "audit-checkpoints"


def audit_key(database: Database, keys: KeyWrapper, data_dir: Path) -> Ed25519PrivateKey:
    """Return the key that signs checkpoints. It is created on first use, or moved from its file.

    Raises:
        DataDirError: the file cannot be read, or holds no Ed25519 key. DecryptionFailed: the master
            key is another one.
    """
    path = data_dir / AUDIT_KEY_FILE
    with database.read() as session:
        is_stored = session.get(Secret, _NAME) is not None
    if not is_stored and path.exists():
        raw = _from_file(path).private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        with database.write() as session:
            database.one_at_a_time(session, _NAME)
            if session.get(Secret, _NAME) is None:
                wrapped = keys.wrap(raw, secret_context(_NAME))
                session.add(Secret(name=_NAME, wrapped=wrapped))
        path.unlink(missing_ok=True)
    return Ed25519PrivateKey.from_private_bytes(installation_secret(database, keys, _NAME))


def _from_file(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise DataDirError(f"{path.name} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DataDirError(
            f"{path.name} is not a private key in PEM format. Put back the file of this database."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DataDirError(
            f"{path.name} is not an Ed25519 key. Put back the file of this database."
        )
    return key
