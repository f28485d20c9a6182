"""A blind index: keyed hashes by which sealed values are found without being decrypted."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from deepfake_service.platform.db import Database
from deepfake_service.platform.storage import installation_secret
from deepfake_service.platform.storage.envelope import KeyWrapper

_NAME = "lookup"


class BlindIndex:
    """HMAC-SHA256 (RFC 2104) under a secret of the installation.

    Without the secret, a copy of the database does not allow trying out references and URLs.
    """

    def __init__(self, database: Database, keys: KeyWrapper) -> None:
        self._key = installation_secret(database, keys, _NAME)

    def of(self, purpose: str, *parts: str) -> str:
        """Return the digest (64 hex digits) of ``parts`` for ``purpose``."""
        text = json.dumps([purpose, *parts], ensure_ascii=False)
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def of_content(self, purpose: str, content: dict[str, Any]) -> str:
        """Return the digest of a JSON object, whatever the order of its members."""
        return self.of(purpose, json.dumps(content, sort_keys=True, ensure_ascii=False))
