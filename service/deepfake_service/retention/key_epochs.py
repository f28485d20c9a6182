"""The keys that wrap the keys of cases: epochs, which deletions end, and the master key's rotation.

After a deletion:

1. A new epoch begins, a day after the last one. From then on new cases are wrapped by its key.
2. The other cases are wrapped again, in small transactions.
3. A minute later, once no case needs an older key, it is destroyed. Copies of the deleted case's
   wrapped key that are left on the disk cannot be unwrapped any more, not even with the master key.

The key that a case had before its last item was deleted counts as one of a deleted case.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import ColumnElement, LargeBinary, func, literal, select, update

from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.platform.db import AuditEntry, Case, Database, Secret
from deepfake_service.platform.errors import DataDirError, DecryptionFailed
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.storage import EpochKeys, context_of, rewrapped
from deepfake_service.platform.storage.envelope import KeyWrapper
from deepfake_service.platform.storage.epoch_keys import MAGIC, PREFIX_BYTES

EPOCH_KEY_AGE = timedelta(days=1)
"""Age of an epoch key before it is destroyed because a case was deleted. The remaining cases are
then wrapped again, a second or two for 10,000 of them."""
BATCH = 100
"""Cases that are wrapped again in one transaction, for which other writers wait."""
_DELETIONS = (Action.CASE_SHREDDED, Action.CASE_EXPIRED, Action.CASE_EMPTIED)

_log = logger("deepfake_service.key_epochs")


@dataclass
class KeyEpochs:
    """Replaces epoch keys after deletions."""

    _database: Database
    _keys: EpochKeys
    _emptied: set[bytes] = field(default_factory=set)

    def check(self) -> None:
        """Raise ``DataDirError`` if an epoch key that a case needs is missing."""
        known = {MAGIC + epoch_id for epoch_id in self._keys.ids()}
        with self._database.read() as session:
            wrapped = Case.wrapped_key.is_not(None)
            needed = set(session.scalars(select(_prefix()).where(wrapped).distinct()))
        if not needed <= known:
            raise DataDirError(
                f"{self._keys.folder} does not contain every epoch key that wraps a case. Put back "
                "the folder that belongs to this database."
            )

    def advance(self) -> None:
        """Take the next step of an epoch, if one is due. Call this every minute.

        An old key is destroyed by the call after the one that found no case under it, so that
        requests that have read a case before it was wrapped again can still open it.
        """
        if self._is_outdated():
            self._begin()
        old = self._keys.ids()[:-1]
        if old:
            self._wrap_older()
        for epoch_id in self._emptied.intersection(old):
            self._destroy(epoch_id)
        self._emptied = set(old)

    def renew(self) -> int:
        """Begin an epoch and destroy the older keys at once, which a request that a service is just
        processing may fail by. Return how many were not destroyed, because a case under them does
        not unwrap."""
        self._begin()
        self._wrap_older()
        for epoch_id in self._keys.ids()[:-1]:
            self._destroy(epoch_id)
        return len(self._keys.ids()) - 1

    def _is_outdated(self) -> bool:
        """Return whether a case was deleted in the current epoch, and that is old enough."""
        epoch = self._keys.current()
        deleted = select(AuditEntry.number).where(
            AuditEntry.number > epoch.audit_number, AuditEntry.action.in_(_DELETIONS)
        )
        # An epoch that began in the future began while the clock was ahead.
        if abs(self._database.clock() - epoch.begun_at) < EPOCH_KEY_AGE:
            return False
        with self._database.read() as session:
            return session.scalars(deleted.limit(1)).first() is not None

    def _begin(self) -> None:
        with self._database.read() as session:
            self._keys.begin(session.scalar(select(func.max(AuditEntry.number))) or 0)

    def _wrap_older(self) -> None:
        wrap_again(self._database, self._keys, ~_begins(self._keys.current().prefix))

    def _destroy(self, epoch_id: bytes) -> None:
        """Destroy the key of an epoch, unless a case is still wrapped by it."""
        with self._database.write() as session:  # no case can be created meanwhile
            needs = select(Case.id).where(_begins(MAGIC + epoch_id)).limit(1)
            if session.scalars(needs).first() is not None:
                return
            self._keys.destroy(epoch_id)
            append_entry(session, SERVICE, Action.CASE_KEYS_RENEWED, detail=epoch_id.hex())
        self._database.purge_deleted()
        _log.info("epoch_key_destroyed", epoch=epoch_id.hex())


def wrap_again(
    database: Database, keys: KeyWrapper, *conditions: ColumnElement[bool]
) -> tuple[int, list[str]]:
    """Wrap the keys of the cases that meet ``conditions`` as they would be wrapped now. Return how
    many changed, and the ids of the cases whose keys do not unwrap and stay as they are: they must
    not keep the others under an older key."""
    changed, unreadable, last = 0, [], ""
    while True:
        with database.write() as session:
            # Locked, so that a case deleted meanwhile does not get its key back.
            cases = session.execute(
                select(Case.id, Case.wrapped_key)
                .where(Case.wrapped_key.is_not(None), Case.id > last, *conditions)
                .order_by(Case.id)
                .limit(BATCH)
                .with_for_update()
            ).all()
            for case_id, wrapped in cases:
                last = case_id
                try:
                    again = rewrapped(keys, wrapped or b"", context_of("case-key", case_id))
                except DecryptionFailed as error:
                    _log.error("case_key_unreadable", case_id=case_id, failure=describe(error))
                    unreadable.append(case_id)
                    continue
                if again is not None:
                    row = update(Case).where(Case.id == case_id)
                    session.execute(row.values(wrapped_key=again))
                    changed += 1
        if len(cases) < BATCH:
            return changed, unreadable


def _prefix() -> ColumnElement[bytes]:
    return func.substr(Case.wrapped_key, 1, PREFIX_BYTES, type_=LargeBinary)


def _begins(prefix: bytes) -> ColumnElement[bool]:
    return _prefix() == literal(prefix, LargeBinary)


def rotate_master_key(
    database: Database, master: KeyWrapper, case_keys: KeyWrapper
) -> tuple[int, list[str]]:
    """Wrap all keys with the current master key, and audit that. ``case_keys`` wrap those of cases:
    epoch keys, or ``master``.

    Return how many changed, and the kinds and ids of those that do not unwrap and stay as they are:
    they must not leave the others under an older master key, which could never be removed.
    """
    changed, unreadable = 0, list[str]()
    if isinstance(case_keys, EpochKeys):
        changed, epochs = case_keys.rewrap()
        unreadable += [f"epoch {epoch_id.hex()}" for epoch_id in epochs]
    cases, unreadable_cases = wrap_again(database, case_keys)
    changed += cases
    unreadable += [f"case {case_id}" for case_id in unreadable_cases]
    with database.write() as session:
        for secret in session.scalars(select(Secret)):
            try:
                again = rewrapped(master, secret.wrapped, context_of("secret", secret.name))
            except DecryptionFailed:
                unreadable.append(f"secret {secret.name}")
                continue
            if again is not None:
                secret.wrapped = again
                changed += 1
        append_entry(session, SERVICE, Action.MASTER_KEY_ROTATED)
    return changed, unreadable
