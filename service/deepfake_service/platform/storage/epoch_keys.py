"""Epoch keys: between the master key and the keys of cases, and destroyed after deletions.

Deleting the wrapped key of a case from the database does not delete it from the disk: a copy may be
left in blocks that are free, and could be unwrapped with the master key. So the master key wraps an
epoch key, and the epoch key wraps the keys of cases. On a day after a deletion, a new epoch begins,
the remaining cases are wrapped again under its key, and the file of the old key is overwritten in
place and deleted; see ``retention/key_epochs.py``. Each key is a file of fixed size, in a folder
beside an SQLite database. Processes on several machines could not share it.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deepfake_models.machine import sync
from deepfake_service.platform.clock import Clock, utc_now
from deepfake_service.platform.errors import DataDirError, DecryptionFailed
from deepfake_service.platform.files import create_private, replace_private
from deepfake_service.platform.storage.envelope import KeyWrapper, new_key, seal, unseal

MAGIC = b"DFEPOCH1"
"""How a key begins that an epoch key wrapped. The id of the epoch follows."""
ID_BYTES = 8
"""A sequence number of four bytes, so that the newest epoch has the greatest id, and four random
ones, so that the files of another database are noticed."""
PREFIX_BYTES = len(MAGIC) + ID_BYTES
FILE_CHARS = 4096


@dataclass(frozen=True, slots=True, repr=False)
class Epoch:
    """A key epoch. ``audit_number`` is the audit log's last entry when it began."""

    id: bytes
    begun_at: datetime
    audit_number: int
    wrapped: bytes

    @property
    def prefix(self) -> bytes:
        """How keys begin that this epoch's key wrapped."""
        return MAGIC + self.id


class EpochKeys:
    """A ``KeyWrapper`` whose current key can be replaced, and whose older ones can be destroyed.

    Wrap keys of cases in the transaction that stores them: SQLite has one writer at a time, so that
    no case is wrapped by a key that is about to be destroyed.
    """

    def __init__(self, folder: Path, master: KeyWrapper, clock: Clock = utc_now) -> None:
        self.folder = folder
        self._master = master
        self._clock = clock
        self._keys: dict[bytes, bytes] = {}

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Wrap ``key`` with the key of the current epoch; ``DataDirError`` if a file of an epoch
        key cannot be read, written or understood."""
        epoch = self.current()
        return epoch.prefix + seal(self._key(epoch), key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the key that was wrapped; ``DecryptionFailed`` if the epoch's key was destroyed,
        or the master key or context is another one; ``DataDirError`` if the file cannot be read."""
        epoch_id = wrapped[len(MAGIC) : PREFIX_BYTES]
        key = self._keys.get(epoch_id)  # also of one that was destroyed since: a request can finish
        if key is None:
            if not (wrapped.startswith(MAGIC) and self._path(epoch_id).exists()):
                raise DecryptionFailed(
                    f"The epoch key that wraps this case is not in {self.folder.name}: it was "
                    "destroyed, or the folder belongs to another database."
                )
            key = self._key(self._read(epoch_id))
        return unseal(key, wrapped[PREFIX_BYTES:], context)

    def is_current(self, wrapped: bytes) -> bool:
        """Return whether the key of the current epoch wraps ``wrapped``."""
        return wrapped.startswith(self.current().prefix)

    def ids(self) -> list[bytes]:
        """Return the ids of the epochs whose keys exist, oldest first."""
        try:
            names = sorted(path.name for path in self.folder.glob("[0-9a-f]" * 2 * ID_BYTES))
        except OSError as error:
            raise self._unusable("read", error) from error
        return [bytes.fromhex(name) for name in names]

    def current(self) -> Epoch:
        """Return the current epoch. The first call begins the first one."""
        ids = self.ids()
        return self._read(ids[-1]) if ids else self.begin(0)

    def begin(self, audit_number: int) -> Epoch:
        """Begin a new epoch, whose key is on the disk before it is used."""
        sequence = int.from_bytes(self.ids()[-1][:4]) + 1 if self.ids() else 1
        epoch_id = sequence.to_bytes(4) + secrets.token_bytes(ID_BYTES - 4)
        wrapped = self._master.wrap(new_key(), _context(epoch_id))
        epoch = Epoch(epoch_id, self._clock(), audit_number, wrapped)
        create_private(self._path(epoch_id), lambda: _dump(epoch))
        sync(self.folder)
        return epoch

    def destroy(self, epoch_id: bytes) -> None:
        """Overwrite the key of an epoch that is not the current one in place, and delete its file;
        ``DataDirError`` if the file cannot be written, ``ValueError`` if the epoch is the current
        one."""
        if epoch_id == self.current().id:
            raise ValueError("the current epoch key cannot be destroyed")
        try:
            with self._path(epoch_id).open("r+b") as file:
                _overwrite(file.fileno())
            self._path(epoch_id).unlink()
            sync(self.folder)
        except OSError as error:
            raise self._unusable("written", error) from error
        self._keys.pop(epoch_id, None)

    def rewrap(self) -> tuple[int, list[bytes]]:
        """Wrap the epoch keys with the current master key; return how many were not yet, and the
        ids of those that do not unwrap and stay as they are."""
        changed, unreadable = 0, []
        for epoch in map(self._read, self.ids()):
            try:
                key = self._key(epoch)
            except DecryptionFailed:
                unreadable.append(epoch.id)
                continue
            if self._master.is_current(epoch.wrapped):
                continue
            wrapped = self._master.wrap(key, _context(epoch.id))
            again = Epoch(epoch.id, epoch.begun_at, epoch.audit_number, wrapped)
            with self._path(epoch.id).open("r+b") as before:
                replace_private(self._path(epoch.id), _dump(again))
                _overwrite(before.fileno())
            changed += 1
        return changed, unreadable

    def _path(self, epoch_id: bytes) -> Path:
        return self.folder / epoch_id.hex()

    def _read(self, epoch_id: bytes) -> Epoch:
        try:
            content = json.loads(self._path(epoch_id).read_text(encoding="ascii"))
            return Epoch(
                epoch_id,
                datetime.fromisoformat(content["begun_at"]),
                int(content["audit_number"]),
                bytes.fromhex(content["wrapped"]),
            )
        except OSError as error:
            raise self._unusable("read", error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataDirError(
                f"{self.folder.name}/{epoch_id.hex()} was damaged. Put back the file that belongs "
                "to this database."
            ) from error

    def _key(self, epoch: Epoch) -> bytes:
        key = self._keys.get(epoch.id)
        if key is None:
            key = self._keys[epoch.id] = self._master.unwrap(epoch.wrapped, _context(epoch.id))
        return key

    def _unusable(self, verb: str, error: OSError) -> DataDirError:
        return DataDirError(f"{self.folder.name} cannot be {verb}: {error.strerror}.")


def _context(epoch_id: bytes) -> bytes:
    return f"epoch-key/{epoch_id.hex()}".encode()


def _dump(epoch: Epoch) -> str:
    content = {
        "epoch": epoch.id.hex(),
        "begun_at": epoch.begun_at.isoformat(),
        "audit_number": epoch.audit_number,
        "wrapped": epoch.wrapped.hex(),
    }
    return json.dumps(content).ljust(FILE_CHARS)


def _overwrite(file: int) -> None:
    os.pwrite(file, secrets.token_bytes(os.fstat(file).st_size), 0)
    os.fsync(file)
