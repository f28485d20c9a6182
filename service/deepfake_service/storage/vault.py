"""Media and results under their case's key: sealed while they arrive, opened in memory alone."""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast

from deepfake_service.errors import CaseShredded, SettingsError
from deepfake_service.files import create_private
from deepfake_service.resource_limits import PREFIX
from deepfake_service.settings import Settings
from deepfake_service.storage.blobs import Blobs
from deepfake_service.storage.envelope import (
    KEY_BYTES,
    READ_AHEAD_CHUNKS,
    KeyWrapper,
    MasterKeys,
    MovedKeys,
    StreamSealer,
    UnsealedReader,
    new_key,
    seal,
    unseal,
)

MASTER_KEY_FILE = "master-key"
_BUFFER = READ_AHEAD_CHUNKS * 64 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """What was stored: the plaintext's SHA-256 in hex and its size in bytes."""

    sha256: str
    size: int


class Vault:
    """Seals and opens what belongs to cases."""

    def __init__(self, blobs: Blobs, keys: KeyWrapper) -> None:
        self.blobs = blobs
        self._keys = keys

    def new_case_key(self, case_id: str) -> tuple[bytes, bytes]:
        """A key for a new case, and the same wrapped, which is what is kept."""
        key = new_key()
        return key, self._keys.wrap(key, _case_context(case_id))

    def case_key(self, case_id: str, wrapped: bytes | None) -> bytes:
        """The key of a case.

        Raises:
            CaseShredded: it was forgotten; DecryptionFailed: the master key is another one.
        """
        if wrapped is None:
            raise CaseShredded
        return self._keys.unwrap(wrapped, _case_context(case_id))

    def rewrapped(self, case_id: str, wrapped: bytes) -> bytes | None:
        """The case's key wrapped by the current master key; ``None`` where it is already."""
        return self._rewrapped(wrapped, _case_context(case_id))

    def rewrapped_secret(self, name: str, wrapped: bytes) -> bytes | None:
        """The same of a secret of the service's own."""
        return self._rewrapped(wrapped, secret_context(name))

    def _rewrapped(self, wrapped: bytes, context: bytes) -> bytes | None:
        if self._keys.is_current(wrapped):
            return None
        return self._keys.wrap(self._keys.unwrap(wrapped, context), context)

    async def store(self, name: str, key: bytes, chunks: AsyncIterator[bytes]) -> Stored:
        """Seal ``chunks`` into the blob ``name`` while they come, and hash them on the way."""
        digest, size = hashlib.sha256(), 0
        sealer = StreamSealer(key, name.encode())

        async def sealed() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                for part in sealer.update(chunk):
                    yield part
            for part in sealer.finish():
                yield part

        await self.blobs.put(name, sealed())
        return Stored(digest.hexdigest(), size)

    def open(self, name: str, key: bytes) -> io.BufferedReader:
        """The plaintext of the blob ``name`` as a seekable file that is decrypted as it is read.

        Raises:
            BlobMissing, DecryptionFailed, StorageUnavailable.
        """
        reader = UnsealedReader(self.blobs.open(name), key, name.encode())
        return io.BufferedReader(cast(io.RawIOBase, reader), _BUFFER)

    def keep(self, name: str, key: bytes, content: bytes) -> None:
        """Seal a small blob."""
        self.blobs.put_bytes(name, seal(key, content, name.encode()))

    def kept(self, name: str, key: bytes) -> bytes:
        """What ``keep`` sealed."""
        blob = self.blobs.open(name)
        return unseal(key, blob.read_at(0, blob.size), name.encode())


def context_of(kind: str, row_id: str) -> bytes:
    """What a sealed column is bound to: one copied to another row does not open there."""
    return f"{kind}/{row_id}".encode()


def secret_context(name: str) -> bytes:
    """What a wrapped secret of the service's own is bound to."""
    return context_of("secret", name)


def _case_context(case_id: str) -> bytes:
    return context_of("case-key", case_id)


def open_keys(settings: Settings) -> KeyWrapper:
    """The key wrapper that ``settings`` name: a key management service's, or master keys.

    1. ``DEEPFAKE_KEY_WRAPPER`` (``package.module:function``) is called and gives one. Those of
       ``DEEPFAKE_OLDER_MASTER_KEYS`` unwrap what they wrapped before.
    2. Else ``DEEPFAKE_MASTER_KEY``, with those of ``DEEPFAKE_OLDER_MASTER_KEYS`` to unwrap by.
    3. Else a key is made in the data directory, readable by its owner alone.

    Raises:
        SettingsError: naming the setting that is wrong; DataDirError: the file is.
    """
    older = tuple(
        _decoded(text, f"{PREFIX}OLDER_MASTER_KEYS")
        for text in (settings.older_master_keys.get_secret_value() if settings.older_master_keys
                     else "").split(",") if text.strip()
    )  # fmt: skip
    if settings.key_wrapper:
        hook = _hook(settings.key_wrapper)
        return MovedKeys(hook, MasterKeys(older[0], older[1:])) if older else hook
    if settings.master_key:
        text = settings.master_key.get_secret_value()
        return MasterKeys(_decoded(text, f"{PREFIX}MASTER_KEY"), older)
    made = create_private(
        settings.data_dir / MASTER_KEY_FILE, lambda: base64.b64encode(new_key()).decode() + "\n"
    )
    return MasterKeys(_decoded(made, f"{MASTER_KEY_FILE} in the data directory"), older)


def _decoded(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(f"{where}: {KEY_BYTES} bytes in base64 (`openssl rand -base64 32`)")
    return key


def _hook(name: str) -> KeyWrapper:
    module, _, function = name.partition(":")
    try:
        factory = cast(Callable[[], KeyWrapper], getattr(importlib.import_module(module), function))
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"{PREFIX}KEY_WRAPPER: there is no function {name!r}") from error
    return factory()
