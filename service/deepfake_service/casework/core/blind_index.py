"""Keyed digests: to find again what is sealed, without being able to read it."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from sqlalchemy.exc import IntegrityError

from deepfake_service.db import Database, Secret
from deepfake_service.errors import DecryptionFailed
from deepfake_service.storage import secret_context
from deepfake_service.storage.envelope import KeyWrapper, new_key

_NAME = "lookup"


class BlindIndex:
    """HMAC-SHA256 under a key of the installation, which is kept wrapped in the database.

    Without a key, whoever has the database could try out references and URLs.
    """

    def __init__(self, database: Database, keys: KeyWrapper) -> None:
        self._key = installation_key(database, keys, _NAME)

    def of(self, purpose: str, *parts: str) -> str:
        """The digest (64 hex digits) of ``parts`` for ``purpose``."""
        text = json.dumps([purpose, *parts], ensure_ascii=False)
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def of_content(self, purpose: str, content: dict[str, Any]) -> str:
        """The digest of a JSON object, whatever the order of its members."""
        return self.of(purpose, json.dumps(content, sort_keys=True, ensure_ascii=False))


def installation_key(database: Database, keys: KeyWrapper, name: str) -> bytes:
    """A random key of the installation, made when it is first asked for, kept wrapped.

    Raises:
        DecryptionFailed: the master key is another one.
    """
    with database.read() as session:
        kept = session.get(Secret, name)
    if kept is None:
        try:
            with database.write() as session:
                session.add(Secret(name=name, wrapped=keys.wrap(new_key(), secret_context(name))))
        except IntegrityError:
            pass  # another process was first
        with database.read() as session:
            kept = session.get_one(Secret, name)
    try:
        return keys.unwrap(kept.wrapped, secret_context(name))
    except DecryptionFailed as error:
        raise DecryptionFailed(
            "The master key is not the one under which this database's keys are wrapped: give "
            "every service and worker on it the same DEEPFAKE_MASTER_KEY."
        ) from error
