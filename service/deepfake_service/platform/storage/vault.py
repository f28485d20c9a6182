"""Media and results, encrypted under the key of their case.

Media are encrypted while they arrive and are decrypted in memory only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from deepfake_service.platform.clock import Clock
from deepfake_service.platform.db import Case, Database, Secret
from deepfake_service.platform.errors import (
    DataDirError,
    DecryptionFailed,
    NotFound,
    SettingsError,
)
from deepfake_service.platform.files import create_private
from deepfake_service.platform.settings import EPOCH_KEYS_FOLDER, PREFIX, Settings
from deepfake_service.platform.storage.blobs import BLOB_FOLDER, Blobs, open_blobs
from deepfake_service.platform.storage.envelope import (
    KEY_BYTES,
    READ_AHEAD_CHUNKS,
    KeyWrapper,
    MasterKeys,
    StreamSealer,
    UnsealedReader,
    new_key,
    seal,
    unseal,
)
from deepfake_service.platform.storage.epoch_keys import EpochKeys

MASTER_KEY_FILE = "master-key"
LONGEST_UPLOAD = timedelta(hours=1)
"""Within which the upload of a video must complete. Object stores date a blob by its beginning."""
_BUFFER = READ_AHEAD_CHUNKS * 64 * 1024
_PIECE = 1024 * 1024
"""Bytes that the store is given at once: for each piece it changes to another thread."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored blob: the SHA-256 of its plaintext in hex, and its size in bytes."""

    sha256: str
    size: int


class Vault:
    """Encrypts and decrypts the blobs of cases. ``keys`` wraps the keys of cases."""

    def __init__(self, blobs: Blobs, keys: KeyWrapper) -> None:
        self.blobs = blobs
        self._keys = keys

    def new_case_key(self, case_id: str) -> tuple[bytes, bytes]:
        """Return a new key for a case, plain and wrapped. Store the wrapped one only."""
        key = new_key()
        return key, self._keys.wrap(key, context_of("case-key", case_id))

    def case_key(self, case: Case) -> bytes:
        """Return the key of a case; ``NotFound`` if the key was deleted, with which the deletion of
        a case begins, ``DecryptionFailed`` if the master key is another one."""
        if case.wrapped_key is None:
            raise NotFound
        return self._keys.unwrap(case.wrapped_key, context_of("case-key", case.id))

    async def store(self, name: str, key: bytes, chunks: AsyncIterator[bytes]) -> Stored:
        """Encrypt ``chunks`` into the blob ``name`` as they arrive, and hash them on the way."""
        digest, size = hashlib.sha256(), 0
        sealer = StreamSealer(key, name.encode())

        async def sealed() -> AsyncIterator[bytes]:
            nonlocal size
            ready = bytearray()
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                for part in sealer.update(chunk):
                    ready += part
                if len(ready) >= _PIECE:
                    yield bytes(ready)
                    ready.clear()
            for part in sealer.finish():
                ready += part
            yield bytes(ready)

        await self.blobs.put(name, sealed())
        return Stored(digest.hexdigest(), size)

    def open(self, name: str, key: bytes) -> io.BufferedReader:
        """Return the plaintext of the blob ``name`` as a seekable file, decrypted as it is read.

        Raises:
            BlobMissing, DecryptionFailed, StorageUnavailable.
        """
        reader = UnsealedReader(self.blobs.open(name), key, name.encode())
        return io.BufferedReader(cast(io.RawIOBase, reader), _BUFFER)

    def write(self, name: str, key: bytes, content: bytes) -> None:
        """Encrypt ``content`` into the small blob ``name``, which may exist."""
        self.blobs.put_bytes(name, seal(key, content, name.encode()))

    def create(self, name: str, key: bytes, content: bytes) -> None:
        """Do what ``write`` does, unless the blob exists."""
        self.blobs.create_bytes(name, seal(key, content, name.encode()))

    def read(self, name: str, key: bytes) -> bytes:
        """Return the content of a blob that ``write`` made.

        Raises:
            BlobMissing, DecryptionFailed, StorageUnavailable.
        """
        blob = self.blobs.open(name)
        return unseal(key, blob.read_at(0, blob.size), name.encode())


def rewrapped(keys: KeyWrapper, wrapped: bytes, context: bytes) -> bytes | None:
    """Return ``wrapped`` as ``keys`` would wrap it now, or ``None`` if nothing would change;
    ``DecryptionFailed`` if ``keys`` cannot unwrap it."""
    if keys.is_current(wrapped):
        return None
    return keys.wrap(keys.unwrap(wrapped, context), context)


def context_of(kind: str, row_id: str) -> bytes:
    """Return the context that binds a sealed value to its row, so that copies do not open."""
    return f"{kind}/{row_id}".encode()


def open_keys(settings: Settings, *, is_new: bool = True) -> MasterKeys:
    """Return the master keys that ``settings`` name: ``DEEPFAKE_MASTER_KEY``, or else a key that a
    new installation creates in the data directory, readable by its owner only. The first one wraps.

    Raises:
        SettingsError: a setting has an invalid value; the message names it. DataDirError: the key
            file cannot be used, or an installation that is not new lacks it.
    """
    if settings.master_key:
        texts = settings.master_key.get_secret_value().split(",")
        current, *older = (_decoded(text, f"Each key in {PREFIX}MASTER_KEY") for text in texts)
        return MasterKeys(current, tuple(older))
    file = settings.data_dir / MASTER_KEY_FILE
    if not is_new and not file.exists():
        # Another one would open nothing, and be taken for the real one when copies of it are made.
        raise DataDirError(
            f"The database has a master key, and {file} is missing. Put it there, or set "
            f"{PREFIX}MASTER_KEY to it."
        )
    text = create_private(file, lambda: base64.b64encode(new_key()).decode() + "\n")
    return MasterKeys(_decoded(text, f"{MASTER_KEY_FILE} in the data directory"))


def open_case_keys(settings: Settings, master: KeyWrapper, clock: Clock) -> KeyWrapper:
    """Return what wraps the keys of cases: with SQLite epoch keys under ``master``, or ``master``.
    Services on several machines, which PostgreSQL is for, could not share the files."""
    if settings.database_url is not None:
        return master
    return EpochKeys(settings.data_dir / EPOCH_KEYS_FOLDER, master, clock)


def open_vault(settings: Settings, case_keys: KeyWrapper) -> Vault:
    """Open the blob store that ``settings`` name, with what wraps the keys of cases."""
    return Vault(open_blobs(settings.blob_url, settings.data_dir / BLOB_FOLDER), case_keys)


def _decoded(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(
            f"{where} must be {KEY_BYTES} bytes in base64. Create a key with "
            "`openssl rand -base64 32`."
        )
    return key


def installation_secret(database: Database, keys: KeyWrapper, name: str) -> bytes:
    """Return the secret ``name`` (32 random bytes), which is created on first use;
    ``DecryptionFailed`` if the secret was wrapped by another master key."""
    with database.read() as session:
        secret = session.get(Secret, name)
    if secret is None:
        try:
            with database.write() as session:
                session.add(
                    Secret(name=name, wrapped=keys.wrap(new_key(), context_of("secret", name)))
                )
        except IntegrityError:
            pass  # another process created it first
        with database.read() as session:
            secret = session.get_one(Secret, name)
    try:
        return keys.unwrap(secret.wrapped, context_of("secret", name))
    except DecryptionFailed as error:
        raise DecryptionFailed(
            "The master key is not the one under which this database's keys are wrapped: give "
            "every service and worker on it the same DEEPFAKE_MASTER_KEY. If it was replaced, add "
            "the earlier one behind it, after a comma."
        ) from error


def replace_secret(session: Session, keys: KeyWrapper, name: str) -> bytes:
    """Replace the secret ``name``, which exists, by another one, and return that."""
    secret, replacement = session.get_one(Secret, name), new_key()
    secret.wrapped = keys.wrap(replacement, context_of("secret", name))
    return replacement
