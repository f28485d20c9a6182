"""Epoch keys: between the master key and the keys of cases, and destroyed when cases are deleted.

Deleting the wrapped key of a case from the database does not delete it from the disk: a copy may be
left in blocks that are free, and could be unwrapped with the master key. So the master key wraps an
epoch key, and the epoch key wraps the keys of cases. After a deletion, a new epoch begins, the
remaining cases are wrapped again under its key, and the old key is overwritten in place.

The keys are in one small file of fixed size, whose blocks are allocated once. A slot is overwritten
and synced without moving, on file systems that overwrite in place (ext4, XFS without reflinks).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deepfake_models.machine import sync
from deepfake_service.clock import Clock, utc_now
from deepfake_service.errors import DataDirError, DecryptionFailed
from deepfake_service.files import private_folder
from deepfake_service.storage.envelope import KeyWrapper, new_key, seal, unseal

EPOCH_ID_BYTES = 8
EPOCH_MAGIC = b"DFEPOCH1"
"""How a key begins that an epoch key wrapped, and how a slot begins that is in use."""
PREFIX_BYTES = len(EPOCH_MAGIC) + EPOCH_ID_BYTES
SLOT_BYTES = 4096
"""A page of most file systems, so that a slot is written as a whole."""
SLOTS = 8
CASE_KEYS_LOCK = "case-keys"
"""The name under which new cases and the end of an epoch exclude each other."""

_HEAD = struct.Struct(f">8s{EPOCH_ID_BYTES}sIQQH")
_DIGEST_BYTES = 32
_EPOCH_0 = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Epoch:
    """A key epoch. ``audit_number`` is the audit log's last entry when it began."""

    id: bytes
    sequence: int
    begun_at: datetime
    audit_number: int
    wrapped: bytes
    slot: int

    @property
    def prefix(self) -> bytes:
        """How keys begin that this epoch's key wrapped."""
        return EPOCH_MAGIC + self.id

    def __repr__(self) -> str:
        return f"Epoch(id={self.id.hex()!r}, sequence={self.sequence})"


class EpochKeys:
    """A ``KeyWrapper`` whose current key can be replaced, and whose older ones can be destroyed.

    Several processes of one machine may use the file: it is read for every wrapping.

    Wrap keys of cases inside the transaction that stores them, and under ``CASE_KEYS_LOCK``: no
    case may be wrapped by a key that is about to be destroyed.
    """

    def __init__(self, path: Path, master: KeyWrapper, clock: Clock = utc_now) -> None:
        self.path = path
        self._master = master
        self._clock = clock
        self._keys: dict[bytes, bytes] = {}

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Wrap ``key`` with the key of the current epoch. The first call begins the first epoch.

        Raises:
            DataDirError: the file cannot be read, written or understood.
        """
        epoch = self.current()
        return epoch.prefix + seal(self._key(epoch), key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the key that was wrapped.

        Raises:
            DecryptionFailed: the epoch's key was destroyed, or the master key or context is another
                one. DataDirError: the file cannot be read.
        """
        if not wrapped.startswith(EPOCH_MAGIC):
            return self._master.unwrap(wrapped, context)
        prefix, sealed = wrapped[:PREFIX_BYTES], wrapped[PREFIX_BYTES:]
        if prefix[len(EPOCH_MAGIC) :] not in self._keys:
            self._load(prefix[len(EPOCH_MAGIC) :])
        key = self._keys.get(prefix[len(EPOCH_MAGIC) :])
        if key is None:
            raise DecryptionFailed(
                f"The epoch key that wraps this case is not in {self.path.name}: it was destroyed, "
                "or the file belongs to another database."
            )
        return unseal(key, sealed, context)

    def is_current(self, wrapped: bytes) -> bool:
        """Return whether the key of the current epoch wraps ``wrapped``."""
        return wrapped.startswith(self.current().prefix)

    def all(self) -> list[Epoch]:
        """Return the epochs whose keys exist, oldest first; an empty list if there is no file.

        Raises:
            DataDirError: the file cannot be read.
        """
        try:
            return parse_slots(self.path.read_bytes())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unusable("read", error) from error

    def current(self) -> Epoch:
        """Return the current epoch. The first call creates the file.

        Raises:
            DataDirError: the file cannot be read, written or understood.
        """
        epochs = self.all()
        if not epochs:
            self._create()
            epochs = self.all()
        if not epochs:
            raise DataDirError(
                f"{self.path.name} holds no epoch key: it was damaged. Put back the file that "
                "belongs to this database."
            )
        return epochs[-1]

    def begin(self, audit_number: int) -> Epoch:
        """Begin a new epoch, whose key is synced to the disk before it is used.

        Raises:
            DataDirError: the file cannot be written, or has no free slot.
        """
        self.current()
        with self._locked() as file:
            epochs = self.all()
            last = epochs[-1].sequence if epochs else 0
            self._write(file, self._new(last + 1, audit_number, _free_slot(epochs)))
        return self.current()

    def destroy(self, epoch_id: bytes) -> None:
        """Overwrite the key of an epoch that is not the current one, and sync the file.

        Raises:
            DataDirError: the file cannot be written. ValueError: the epoch is the current one.
        """
        with self._locked() as file:
            epochs = self.all()
            if epochs and epochs[-1].id == epoch_id:
                raise ValueError("the current epoch key cannot be destroyed")
            for epoch in epochs:
                if epoch.id == epoch_id:
                    self._overwrite(file, epoch.slot, secrets.token_bytes(SLOT_BYTES))
        self._keys.pop(epoch_id, None)

    def rewrap(self) -> int:
        """Wrap the epoch keys with the current master key, and return how many were not yet.

        Those that are ``unreadable`` stay as they are.

        Raises:
            DataDirError: the file cannot be written.
        """
        changed = 0
        with self._locked() as file:
            for epoch in self.all():
                if self._master.is_current(epoch.wrapped):
                    continue
                try:
                    key = self._key(epoch)
                except DecryptionFailed:
                    continue
                wrapped = self._master.wrap(key, _context(epoch.id))
                # Into another slot first: a power failure must not leave neither.
                slot = _free_slot(self.all())
                again = Epoch(
                    epoch.id, epoch.sequence, epoch.begun_at, epoch.audit_number, wrapped, slot
                )
                self._write(file, again)
                self._overwrite(file, epoch.slot, secrets.token_bytes(SLOT_BYTES))
                changed += 1
        return changed

    def unreadable(self) -> list[Epoch]:
        """Return the epochs whose keys do not unwrap, because an older master key is missing.

        Raises:
            DataDirError: the file cannot be read.
        """
        found = []
        for epoch in self.all():
            try:
                self._key(epoch)
            except DecryptionFailed:
                found.append(epoch)
        return found

    def _load(self, wanted: bytes) -> None:
        """Unwrap the keys of all epochs, so that a request can finish with one that is destroyed.

        Raises:
            DecryptionFailed: that of ``wanted`` does not unwrap. Others must not keep it from that.
        """
        for epoch in self.all():
            try:
                self._key(epoch)
            except DecryptionFailed:
                if epoch.id == wanted:
                    raise

    def _key(self, epoch: Epoch) -> bytes:
        key = self._keys.get(epoch.id)
        if key is None:
            key = self._keys[epoch.id] = self._master.unwrap(epoch.wrapped, _context(epoch.id))
        return key

    def _new(self, sequence: int, audit_number: int, slot: int) -> Epoch:
        epoch_id = secrets.token_bytes(EPOCH_ID_BYTES)
        wrapped = self._master.wrap(new_key(), _context(epoch_id))
        return Epoch(epoch_id, sequence, self._clock(), audit_number, wrapped, slot)

    def _create(self) -> None:
        """Create the file with a first epoch, unless another process has just done so."""
        private_folder(self.path.parent)
        partial = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.new")
        try:
            file = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                # Not yet in its place, so that it is synced once, with the first epoch.
                os.pwrite(file, secrets.token_bytes(SLOTS * SLOT_BYTES), 0)
                self._write(file, self._new(1, 0, 0))
            finally:
                os.close(file)
            try:
                os.link(partial, self.path)
            except FileExistsError:
                return
            sync(self.path.parent)
        except OSError as error:
            raise self._unusable("written", error) from error
        finally:
            partial.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Open the file for writing, and exclude other writers."""
        try:
            file = os.open(self.path, os.O_RDWR)
        except OSError as error:
            raise self._unusable("written", error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        except OSError as error:
            raise self._unusable("written", error) from error
        finally:
            os.close(file)

    def _write(self, file: int, epoch: Epoch) -> None:
        self._overwrite(file, epoch.slot, _dump(epoch))

    @staticmethod
    def _overwrite(file: int, slot: int, content: bytes) -> None:
        assert len(content) == SLOT_BYTES
        os.pwrite(file, content, slot * SLOT_BYTES)
        os.fsync(file)

    def _unusable(self, verb: str, error: OSError) -> DataDirError:
        return DataDirError(f"{self.path.name} cannot be {verb}: {error.strerror}.")


def _context(epoch_id: bytes) -> bytes:
    return f"epoch-key/{epoch_id.hex()}".encode()


def _free_slot(epochs: list[Epoch]) -> int:
    used = {epoch.slot for epoch in epochs}
    for slot in range(SLOTS):
        if slot not in used:
            return slot
    raise DataDirError("The file of epoch keys is full: cases are still wrapped by earlier ones.")


def _dump(epoch: Epoch) -> bytes:
    milliseconds = (epoch.begun_at - _EPOCH_0) // timedelta(milliseconds=1)
    head = _HEAD.pack(
        EPOCH_MAGIC,
        epoch.id,
        epoch.sequence,
        milliseconds,
        epoch.audit_number,
        len(epoch.wrapped),
    )
    content = head + epoch.wrapped
    content += hashlib.sha256(content).digest()
    if len(content) > SLOT_BYTES:
        raise DataDirError("The key management service wraps keys into more bytes than a slot has.")
    return content + bytes(SLOT_BYTES - len(content))


def parse_slots(content: bytes) -> list[Epoch]:
    """Return the epochs in a file, oldest first. Slots that are free or torn are skipped."""
    by_id = {}
    for slot in range(len(content) // SLOT_BYTES):
        part = content[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES]
        magic, epoch_id, sequence, milliseconds, number, length = _HEAD.unpack_from(part)
        end = _HEAD.size + length
        if magic != EPOCH_MAGIC or end + _DIGEST_BYTES > SLOT_BYTES:
            continue
        if hashlib.sha256(part[:end]).digest() != part[end : end + _DIGEST_BYTES]:
            continue
        begun_at = _EPOCH_0 + timedelta(milliseconds=milliseconds)
        wrapped = part[_HEAD.size : end]
        by_id[epoch_id] = Epoch(epoch_id, sequence, begun_at, number, wrapped, slot)
    return sorted(by_id.values(), key=lambda epoch: epoch.sequence)
