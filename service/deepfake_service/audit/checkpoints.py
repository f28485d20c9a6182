"""Checkpoints of the audit log that leave the machine, so that no one there can rewrite the log.

They are in the service's own log, for a collector elsewhere, and are stored in object stores, whose
locks make them immutable and keep the time at which each was stored.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deepfake_service.audit.log import head
from deepfake_service.platform.db import Database
from deepfake_service.platform.errors import StorageError
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import installation_secret, open_checkpoint_store
from deepfake_service.platform.storage.envelope import KeyWrapper

_log = logger("deepfake_service.checkpoints")


class Checkpoints:
    """Signs checkpoints of a log, logs them and stores them in every store that ``settings`` name.
    ``StorageError`` if the URL of a store is invalid."""

    def __init__(self, settings: Settings, database: Database, keys: KeyWrapper) -> None:
        urls = [url.strip() for url in (settings.audit_checkpoints or "").split(",")]
        self._database = database
        self._keys = keys
        self._stores = [open_checkpoint_store(url) for url in urls if url]
        self._sent: tuple[int, str] | None = None

    def send(self) -> None:
        """Send a checkpoint, if the log has grown since the last one.

        A store that fails is logged. The next checkpoint covers what it missed.
        ``RecordAltered`` if the last entry of the log was altered.
        """
        with self._database.read() as session:
            point = head(session)
        if (point.number, point.hash) == self._sent:
            return
        document = point.signed(audit_key(self._database, self._keys))
        is_sent = True
        _log.info("audit_checkpoint", checkpoint=document)
        # Each is its own object, which is never replaced. Another process may have stored it.
        name = f"audit-checkpoint-{point.number:012}-{point.hash[:16]}.json"
        for store in self._stores:
            try:
                store.create_bytes(name, document.encode())
            except (OSError, StorageError) as error:
                is_sent = False
                _log.error("checkpoint_not_sent", number=point.number, failure=describe(error))
        if is_sent:
            self._sent = point.number, point.hash


def audit_key(database: Database, keys: KeyWrapper) -> Ed25519PrivateKey:
    """Return the key that signs checkpoints. It is created on first use. ``DecryptionFailed`` if
    the master key is another one."""
    secret = installation_secret(database, keys, "audit-checkpoints")
    return Ed25519PrivateKey.from_private_bytes(secret)
