"""Epochs of the keys that wrap the keys of cases: a deletion begins one, and ends the one before.

1. A new epoch begins. From then on new cases are wrapped by its key.
2. The other cases are wrapped again, in small transactions.
3. Once no case needs an older key, it is destroyed. Copies of the deleted case's wrapped key that
   are left on the disk cannot be unwrapped any more, not even with the master key.

The key that a case had before its last item was deleted counts as one of a deleted case.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, LargeBinary, func, literal, select, update

from deepfake_service.db import AuditEntry, Case, Database
from deepfake_service.errors import DataDirError, DecryptionFailed
from deepfake_service.observability.logs import describe, logger
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.settings import PREFIX
from deepfake_service.storage import CASE_KEYS_LOCK, EpochKeys, Vault
from deepfake_service.storage.epoch_keys import EPOCH_MAGIC, PREFIX_BYTES, Epoch

BATCH = 200
"""Cases that are wrapped again in one transaction, which other writers wait for."""
_DELETIONS = (Action.CASE_SHREDDED, Action.CASE_EXPIRED, Action.CASE_EMPTIED)

_log = logger("deepfake_service.key_epochs")


class KeyEpochs:
    """Replaces epoch keys after deletions.

    Without ``keys`` the master key wraps the keys of cases, and there is nothing to replace.
    """

    def __init__(
        self, database: Database, vault: Vault, keys: EpochKeys | None, *, min_age: timedelta
    ) -> None:
        self._database = database
        self._vault = vault
        self._keys = keys
        self._min_age = min_age
        self._emptied: set[bytes] = set()

    def check(self) -> None:
        """Check that every epoch key that a case needs exists.

        Raises:
            DataDirError: one does not. The message names the file, or the setting.
        """
        known = {epoch.prefix for epoch in self._keys.all()} if self._keys else set()
        with self._database.read() as session:
            wrapped = Case.wrapped_key.is_not(None)
            needed = set(session.scalars(select(_prefix()).where(wrapped).distinct()))
        if all(n in known for n in needed if n.startswith(EPOCH_MAGIC)):
            return
        if self._keys is None:
            raise DataDirError(
                "Cases of this database are wrapped by epoch keys, which this process does not "
                f"have. Set {PREFIX}EPOCH_KEYS to the file of the other processes, on the same "
                "machine."
            )
        raise DataDirError(
            f"{self._keys.path} does not contain every epoch key that wraps a case. Put back the "
            "file that belongs to this database."
        )

    def advance(self) -> None:
        """Take the next step of an epoch, if one is due. Call this every minute.

        An old key is destroyed by the call after the one that found no case under it, so that
        requests that have read a case before it was wrapped again can still open it.
        """
        if self._keys is None:
            return
        if self._is_outdated(self._keys.current()):
            self._keys.begin(self._last_audit_number())
        self._wrap_again(self._keys)
        old = self._keys.all()[:-1]
        for epoch in old:
            if epoch.id in self._emptied:
                self._destroy(self._keys, epoch)
        self._emptied = {epoch.id for epoch in old}

    def renew(self) -> int:
        """Begin an epoch and destroy the older keys at once.

        A request that a service is just processing may fail because of that.

        Returns:
            How many older keys were not destroyed, because a case under them does not unwrap.
        """
        if self._keys is None:
            return 0
        self._keys.begin(self._last_audit_number())
        self._wrap_again(self._keys)
        for epoch in self._keys.all()[:-1]:
            self._destroy(self._keys, epoch)
        return len(self._keys.all()) - 1

    def _is_outdated(self, epoch: Epoch) -> bool:
        """Return whether a case was deleted since ``epoch`` began, and that is long enough ago."""
        with self._database.read() as session:
            deleted = session.scalars(
                select(AuditEntry.number)
                .where(AuditEntry.number > epoch.audit_number, AuditEntry.action.in_(_DELETIONS))
                .limit(1)
            ).first()
        # An epoch that began in the future began while the clock was ahead.
        age = abs(self._database.clock() - epoch.begun_at)
        return deleted is not None and age >= self._min_age

    def _last_audit_number(self) -> int:
        with self._database.read() as session:
            return session.scalar(select(func.max(AuditEntry.number))) or 0

    def _wrap_again(self, keys: EpochKeys) -> None:
        """Wrap the keys of all cases with the current epoch's key.

        One that does not unwrap stays as it is, and keeps the key of its epoch alive: it must not
        do so with those of the others.
        """
        last = ""
        while True:
            with self._database.write() as session:
                self._database.one_at_a_time(session, CASE_KEYS_LOCK)
                is_current = _prefix() == literal(keys.current().prefix, LargeBinary)
                # By columns: a case whose record was altered must not keep old keys alive. In the
                # order of their ids, as transactions that lock several cases do.
                query = (
                    select(Case.id, Case.wrapped_key)
                    .where(Case.wrapped_key.is_not(None), ~is_current, Case.id > last)
                    .order_by(Case.id)
                    .limit(BATCH)
                )
                cases = session.execute(query.with_for_update()).all()
                for case_id, wrapped in cases:
                    last = case_id
                    try:
                        again = self._vault.rewrapped(case_id, wrapped or b"") or wrapped
                    except DecryptionFailed as error:
                        _log.error("case_key_unreadable", case_id=case_id, failure=describe(error))
                        continue
                    session.execute(
                        update(Case).where(Case.id == case_id).values(wrapped_key=again)
                    )
            if len(cases) < BATCH:
                return

    def _destroy(self, keys: EpochKeys, epoch: Epoch) -> None:
        """Destroy the key of ``epoch``, unless a case is still wrapped by it."""
        with self._database.write() as session:
            # No case can be created meanwhile, and those that were are seen.
            self._database.one_at_a_time(session, CASE_KEYS_LOCK)
            needs = _prefix() == literal(epoch.prefix, LargeBinary)
            if session.scalars(select(Case.id).where(needs).limit(1)).first() is not None:
                return
            keys.destroy(epoch.id)
        self._database.purge_deleted()
        with self._database.write() as session:
            append_entry(session, SERVICE, Action.CASE_KEYS_RENEWED, detail=epoch.id.hex())
        _log.info("epoch_key_destroyed", epoch=epoch.id.hex())


def _prefix() -> ColumnElement[bytes]:
    return func.substr(Case.wrapped_key, 1, PREFIX_BYTES, type_=LargeBinary)
