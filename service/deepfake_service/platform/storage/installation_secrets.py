"""Random secrets of an installation, stored in the database under the master key."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from deepfake_service.platform.db import Database, Secret
from deepfake_service.platform.errors import DecryptionFailed
from deepfake_service.platform.storage.envelope import KeyWrapper, new_key
from deepfake_service.platform.storage.vault import secret_context


def installation_secret(database: Database, keys: KeyWrapper, name: str) -> bytes:
    """Return the secret ``name`` (32 random bytes), which is created on first use.

    Raises:
        DecryptionFailed: the secret was wrapped by another master key.
    """
    with database.read() as session:
        secret = session.get(Secret, name)
    if secret is None:
        try:
            with database.write() as session:
                session.add(Secret(name=name, wrapped=keys.wrap(new_key(), secret_context(name))))
        except IntegrityError:
            pass  # another process created it first
        with database.read() as session:
            secret = session.get_one(Secret, name)
    try:
        return keys.unwrap(secret.wrapped, secret_context(name))
    except DecryptionFailed as error:
        raise DecryptionFailed(
            "The master key is not the one under which this database's keys are wrapped: give "
            "every service and worker on it the same DEEPFAKE_MASTER_KEY. If it was replaced, "
            "add the earlier one to DEEPFAKE_OLDER_MASTER_KEYS."
        ) from error


def replace_secret(session: Session, keys: KeyWrapper, name: str) -> bytes:
    """Replace the secret ``name``, which exists, by another one, and return that."""
    secret, replacement = session.get_one(Secret, name), new_key()
    secret.wrapped = keys.wrap(replacement, secret_context(name))
    return replacement
