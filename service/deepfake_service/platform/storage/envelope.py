"""Envelope encryption at rest: sealed values, sealed streams with random access, wrapped keys.

Every case has its own key, wrapped by the master key; deleting the wrapped key shreds the
case. Everything is encrypted with AES-256-GCM (NIST SP 800-38D) from the cryptography package.
Streams are cut into chunks by the STREAM construction (Hoang, Reyhanitabar, Rogaway and Vizár,
CRYPTO 2015): the number of a chunk and whether it is the last are part of its nonce and of its
associated data, so that chunks cannot be changed, reordered, dropped or moved from another blob.
"""

from __future__ import annotations

import io
import secrets
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from deepfake_service.platform.errors import DecryptionFailed

if TYPE_CHECKING:
    from deepfake_service.platform.storage.blobs import Blob

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
CHUNK_BYTES = 64 * 1024
"""Bytes of plaintext in a chunk. Reading decrypts whole chunks, and each chunk adds 16 bytes.
Measurements show neither cost."""

_MAGIC = b"DFE1"
_SALT_BYTES = 16
_HEADER = struct.Struct(f">4sI{_SALT_BYTES}s")
HEADER_BYTES = _HEADER.size
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
_PLACE = struct.Struct(">QB")
READ_AHEAD_CHUNKS = 16
"""Chunks fetched at once, so that a remote store is asked once per mebibyte."""


def new_key() -> bytes:
    """Return a random key."""
    return secrets.token_bytes(KEY_BYTES)


def seal(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Encrypt a small value for ``context``, which ``unseal`` needs again."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """Decrypt a value that ``seal`` encrypted; ``DecryptionFailed`` if the key or context is
    another one, or the bytes were altered."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
    except (InvalidTag, ValueError) as error:
        raise DecryptionFailed from error


class KeyWrapper(Protocol):
    """Encrypts keys with a master key, or with a key under it."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Return ``key`` encrypted, so that ``unwrap`` needs the same ``context``."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the key that was wrapped; ``DecryptionFailed`` if it was not wrapped by this
        wrapper for this context."""
        ...

    def is_current(self, wrapped: bytes) -> bool:
        """Return whether ``wrap`` would use the same master key. Rotation rewraps the others."""
        ...


class MasterKeys:
    """A ``KeyWrapper`` with master keys in memory: one to wrap with, older ones to unwrap with."""

    _ID_BYTES = 8

    def __init__(self, current: bytes, older: tuple[bytes, ...] = ()) -> None:
        for key in (current, *older):
            if len(key) != KEY_BYTES:
                raise ValueError(f"a master key must have {KEY_BYTES} bytes")
        self._current = current
        self._by_id = {self._id(k): k for k in (*older, current)}

    @classmethod
    def _id(cls, key: bytes) -> bytes:
        return _derived(key, b"", b"deepfake-service/master-key-id")[: cls._ID_BYTES]

    def wrap(self, key: bytes, context: bytes) -> bytes:
        return self._id(self._current) + seal(self._current, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        master = self._by_id.get(wrapped[: self._ID_BYTES])
        if master is None:
            raise DecryptionFailed
        return unseal(master, wrapped[self._ID_BYTES :], context)

    def is_current(self, wrapped: bytes) -> bool:
        return wrapped[: self._ID_BYTES] == self._id(self._current)


class StreamSealer:
    """Encrypts a stream: the header first, then each chunk once the next one has begun.

    ``context`` identifies the stream, for instance by its name in the store: bytes that are moved
    to another name do not decrypt there.
    """

    def __init__(self, key: bytes, context: bytes) -> None:
        salt = secrets.token_bytes(_SALT_BYTES)
        self._header = _HEADER.pack(_MAGIC, CHUNK_BYTES, salt)
        self._cipher = AESGCM(_derived(key, salt, b"deepfake-service/stream"))
        self._context = context
        self._pending = bytearray()
        self._index = 0
        self._begun = False

    def update(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Encrypt ``data``, and yield what is ready to be written."""
        if not self._begun:
            self._begun = True
            yield self._header
        self._pending += data
        while len(self._pending) > CHUNK_BYTES:
            with memoryview(self._pending) as view:
                chunk = bytes(view[:CHUNK_BYTES])
            del self._pending[:CHUNK_BYTES]
            yield self._sealed(chunk, last=False)

    def finish(self) -> Iterator[bytes]:
        """Yield the last chunk. An empty stream has one empty chunk."""
        yield from self.update(b"")
        yield self._sealed(bytes(self._pending), last=True)
        self._pending.clear()

    def _sealed(self, chunk: bytes, *, last: bool) -> bytes:
        place = _place(self._index, last)
        self._index += 1
        return self._cipher.encrypt(_nonce(place), chunk, self._header + place + self._context)


class UnsealedReader(io.RawIOBase):
    """The plaintext of a sealed stream as a readable and seekable binary file.

    The last chunk is decrypted first, which authenticates the length.

    Raises:
        DecryptionFailed: the key or context is another one, or bytes were altered, cut off or
            moved. The constructor and every read can raise it.
    """

    def __init__(self, source: Blob, key: bytes, context: bytes) -> None:
        super().__init__()
        self._source = source
        self._context = context
        body = source.size - HEADER_BYTES
        self._chunks = -(-body // SEALED_CHUNK_BYTES)
        if body < TAG_BYTES:
            raise DecryptionFailed
        self._header = source.read_at(0, HEADER_BYTES)
        magic, chunk_bytes, salt = _HEADER.unpack(self._header)
        if magic != _MAGIC or chunk_bytes != CHUNK_BYTES:
            raise DecryptionFailed
        self._cipher = AESGCM(_derived(key, salt, b"deepfake-service/stream"))
        self._fetched: tuple[int, bytes] = (0, b"")
        self._cached: tuple[int, bytes] = (-1, b"")
        last = self._chunk(self._chunks - 1)
        self.size = (self._chunks - 1) * CHUNK_BYTES + len(last)
        self._position = 0
        self.failure: Exception | None = None
        """The error of the last read that failed. Decoders that read from here hide it."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("cannot seek to a position before the start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._position >= self.size:
            return 0
        index, start = divmod(self._position, CHUNK_BYTES)
        try:
            chunk = self._chunk(index)
        except Exception as error:
            self.failure = error
            raise
        part = memoryview(chunk)[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _chunk(self, index: int) -> bytes:
        if self._cached[0] == index:
            return self._cached[1]
        place = _place(index, index == self._chunks - 1)
        try:
            plain = self._cipher.decrypt(
                _nonce(place), self._sealed(index), self._header + place + self._context
            )
        except InvalidTag as error:
            raise DecryptionFailed from error
        self._cached = (index, plain)
        return plain

    def _sealed(self, index: int) -> bytes:
        start = HEADER_BYTES + index * SEALED_CHUNK_BYTES
        end = min(start + SEALED_CHUNK_BYTES, self._source.size)
        offset, held = self._fetched
        if not (offset <= start and end <= offset + len(held)):
            ahead = min(start + READ_AHEAD_CHUNKS * SEALED_CHUNK_BYTES, self._source.size)
            offset, held = start, self._source.read_at(start, ahead - start)
            self._fetched = (offset, held)
        return held[start - offset : end - offset]


def _derived(key: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt or None, info=purpose).derive(key)


def _place(index: int, last: bool) -> bytes:
    return _PLACE.pack(index, last)


def _nonce(place: bytes) -> bytes:
    return bytes(NONCE_BYTES - len(place)) + place
