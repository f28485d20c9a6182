"""Wrap all keys of an installation with its current master key, so that older ones can go."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import select, update

from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.platform.db import Case, Database, Secret
from deepfake_service.platform.errors import DecryptionFailed
from deepfake_service.platform.storage import EpochKeys, Vault, rewrapped, secret_context
from deepfake_service.platform.storage.envelope import KeyWrapper

BATCH = 100
"""Cases that are wrapped again in one transaction. A key management service may be asked twice for
each, and other writers wait meanwhile."""


@dataclass(slots=True)
class Rotation:
    """What became of the keys that were not wrapped by the current master key yet."""

    changed: int = 0
    unreadable: list[str] = field(default_factory=list)
    """The keys that do not unwrap and stay as they are, each with its kind."""


def rotate_master_key(
    database: Database, vault: Vault, master: KeyWrapper, case_keys: KeyWrapper
) -> Rotation:
    """Wrap all keys with the current master key, and audit that.

    A key that does not unwrap must not leave the others under an older master key, which its
    operator then could never remove.

    Args:
        case_keys: what wraps the keys of cases: epoch keys, or ``master``.
    """
    done = Rotation()
    if isinstance(case_keys, EpochKeys):
        done.changed, unreadable = case_keys.rewrap()
        done.unreadable += [f"epoch {epoch_id.hex()}" for epoch_id in unreadable]
    keyed = Case.wrapped_key.is_not(None)
    with database.read() as session:
        ids = list(session.scalars(select(Case.id).where(keyed)))
    for start in range(0, len(ids), BATCH):
        with database.write() as session:
            # Locked and read again, so that a case deleted meanwhile does not get its key back.
            batch = Case.id.in_(ids[start : start + BATCH])
            query = select(Case.id, Case.wrapped_key).where(batch, keyed)
            locked = query.order_by(Case.id).with_for_update()
            for case_id, wrapped in session.execute(locked).all():
                try:
                    again = vault.rewrapped(case_id, wrapped or b"")
                except DecryptionFailed:
                    done.unreadable.append(f"case {case_id}")
                    continue
                if again is not None:
                    row = update(Case).where(Case.id == case_id)
                    session.execute(row.values(wrapped_key=again))
                    done.changed += 1
    with database.write() as session:
        for secret in session.scalars(select(Secret)):
            try:
                again = rewrapped(master, secret.wrapped, secret_context(secret.name))
            except DecryptionFailed:
                done.unreadable.append(f"secret {secret.name}")
                continue
            if again is not None:
                secret.wrapped = again
                done.changed += 1
        append_entry(session, SERVICE, Action.MASTER_KEY_ROTATED)
    return done
