"""Keys and roles: who may call the service.

A key's text is ``dfk_<id>_<secret>``. It is shown once, where it is made; only its hash is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepfake_service.errors import Forbidden, KeyStoreError, NotAuthenticated
from deepfake_service.settings import Settings

KEY_FILE = "keys.json"
ADMIN_KEY_FILE = "admin-key"
ENVIRONMENT_ID = "environment"
"""Id of the key that ``DEEPFAKE_ADMIN_KEY`` sets; there is at most one."""
SECRET_BYTES = 32
MAX_KEY_CHARS = 1024
"""Longer credentials are refused unhashed."""

_KEY = re.compile(r"dfk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class Role(StrEnum):
    """What the holder of a key may do."""

    PIPELINE = "pipeline"
    """Submit; read what it submitted."""
    ANALYST = "analyst"
    """Submit, read, review."""
    AUDITOR = "auditor"
    """Read the audit log; no media and no scores."""
    ADMIN = "admin"
    """Everything, and manage keys."""


MAY_SUBMIT = frozenset({Role.PIPELINE, Role.ANALYST, Role.ADMIN})


class StoredKey(BaseModel):
    """A key as it is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    role: Role
    created_at: datetime
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. ``text`` is the only copy of the secret."""

    key: StoredKey
    text: str

    def __repr__(self) -> str:
        return f"NewKey(key={self.key!r})"


class KeyStore(Protocol):
    """Where keys are kept. Implementations are safe to use from several processes at once."""

    def get(self, key_id: str) -> StoredKey | None:
        """The key with this id."""
        ...

    def all(self) -> list[StoredKey]:
        """All keys, oldest first."""
        ...

    def put(self, key: StoredKey) -> None:
        """Keep ``key``, in place of one with the same id."""
        ...

    def remove(self, key_id: str) -> bool:
        """Forget a key; whether there was one."""
        ...


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format_version: Literal[1] = 1
    keys: list[StoredKey] = []


class FileKeyStore:
    """Keys in one JSON file, readable by its owner alone and only ever replaced as a whole.

    The file is read again whenever it has changed, so a key revoked by another process stops
    working at once.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / KEY_FILE
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, StoredKey] = {}
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise KeyStoreError(f"the data directory cannot be made: {error.strerror}") from error

    def get(self, key_id: str) -> StoredKey | None:
        return self._current().get(key_id)

    def all(self) -> list[StoredKey]:
        return sorted(self._current().values(), key=lambda k: (k.created_at, k.id))

    def put(self, key: StoredKey) -> None:
        with self._exclusive() as keys:
            keys[key.id] = key

    def remove(self, key_id: str) -> bool:
        with self._exclusive() as keys:
            return keys.pop(key_id, None) is not None

    def _current(self) -> dict[str, StoredKey]:
        try:
            stat = self._path.stat()
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if stamp != self._seen:
                document = _Document.model_validate_json(self._path.read_bytes())
                self._keys = {k.id: k for k in document.keys}
                self._seen = stamp
        except FileNotFoundError:
            self._keys, self._seen = {}, None
        except (OSError, ValidationError) as error:
            # Neither error's text: a file damaged in place may hold anything.
            raise KeyStoreError(f"{KEY_FILE} in the data directory cannot be read") from error
        return self._keys

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[dict[str, StoredKey]]:
        try:
            lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise KeyStoreError(f"{KEY_FILE} cannot be locked: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = dict(self._current())
            yield keys
            document = _Document(keys=list(keys.values()))
            _replace(self._path, document.model_dump_json(indent=1) + "\n")
        except OSError as error:
            raise KeyStoreError(f"{KEY_FILE} cannot be written: {error.strerror}") from error
        finally:
            os.close(lock)


def create_key(store: KeyStore, role: Role) -> NewKey:
    """Make a key of 256 random bits and keep its hash."""
    new = _new_key(role)
    store.put(new.key)
    return new


def authenticate(store: KeyStore, text: str) -> StoredKey:
    """The key whose text this is.

    1. The id is read from the text; a text of another form can only be the environment's key.
    2. The stored hash is looked up, or one that nothing matches stands in for it.
    3. Hashes are compared in constant time, so an unknown id answers like a wrong secret.

    Raises:
        NotAuthenticated: whatever the reason, with the same text.
    """
    if len(text) > MAX_KEY_CHARS:
        raise NotAuthenticated
    form = _KEY.fullmatch(text)
    key = (store.get(form[1]) if form else None) or store.get(ENVIRONMENT_ID)
    expected = key.sha256 if key else _NO_HASH
    if not hmac.compare_digest(_hash(text), expected) or key is None:
        raise NotAuthenticated
    return key


def authorize(key: StoredKey, allowed: frozenset[Role]) -> None:
    """Raise ``Forbidden`` unless the key's role is one of ``allowed``."""
    if key.role not in allowed:
        raise Forbidden


@dataclass(frozen=True, slots=True)
class FirstKey:
    """An administrator's key made on the first start: its text, or the file that holds it."""

    text: str | None
    path: Path | None

    def __repr__(self) -> str:
        return f"FirstKey(path={self.path!r})"


def ensure_admin_key(store: KeyStore, settings: Settings, *, terminal: bool) -> FirstKey | None:
    """See to it that an administrator can sign in; what was made for that, if anything.

    1. ``DEEPFAKE_ADMIN_KEY`` replaces the key that its earlier value made; where it is no longer
       set, that key is withdrawn.
    2. If no administrator's key is left, one is made. On a terminal its text is returned, to be
       shown once; otherwise it is written to a 0600 file in the data directory.
    """
    wanted = settings.admin_key.get_secret_value() if settings.admin_key else None
    present = store.get(ENVIRONMENT_ID)
    if wanted is None and present is not None:
        store.remove(ENVIRONMENT_ID)
    if wanted is not None and (present is None or present.sha256 != _hash(wanted)):
        store.put(_stored(ENVIRONMENT_ID, Role.ADMIN, wanted))
    if any(k.role is Role.ADMIN for k in store.all()):
        return None
    new = _new_key(Role.ADMIN)
    path = None if terminal else settings.data_dir / ADMIN_KEY_FILE
    if path is not None:
        try:
            _replace(path, new.text + "\n")
        except OSError as error:
            raise KeyStoreError(f"{ADMIN_KEY_FILE} cannot be written: {error.strerror}") from error
    # Kept only once it has been handed over: otherwise a crash in between locks everybody out.
    store.put(new.key)
    return FirstKey(None, path) if path else FirstKey(new.text, None)


def _new_key(role: Role) -> NewKey:
    key_id = secrets.token_hex(6)
    text = f"dfk_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return NewKey(_stored(key_id, role, text), text)


def _stored(key_id: str, role: Role, text: str) -> StoredKey:
    return StoredKey(id=key_id, role=role, created_at=datetime.now(UTC), sha256=_hash(text))


def _hash(text: str) -> str:
    # A slow hash (scrypt, Argon2) makes guessing dear where people choose the secret. 256 random
    # bits cannot be guessed at any speed, and a slow hash on every request would only let anybody
    # without a key keep the service busy.
    return hashlib.sha256(text.encode()).hexdigest()


_NO_HASH = "-" * 64


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else a power cut may bring the old file, and a revoked key, back
    finally:
        os.close(folder)
