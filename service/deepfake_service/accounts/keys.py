"""Keys: make them, store their hashes, give them an end, and replace them.

Everything here works in the transaction of its caller.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy.orm import Session

from deepfake_service.audit.log import Action, Actor, append_entry
from deepfake_service.platform.db import Key, current_time
from deepfake_service.platform.errors import Code, InvalidRequest, NotFound

SECRET_BYTES = 32
MAX_KEY_CHARS = 1024
"""Longer credentials are refused without hashing them."""
NO_HASH = "-" * 64
"""A stored hash that no text has."""
_EXPIRES, _NEVER = "expires=", "never"
KEY_FORM = re.compile(r"dfk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new key. ``text`` is the only copy of its secret."""

    id: str
    account_id: str
    expires_at: datetime | None
    text: str

    def __repr__(self) -> str:
        return f"NewKey(id={self.id!r})"


def is_valid(key: Key, now: datetime) -> bool:
    """Return whether a key is neither revoked nor expired at ``now``."""
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)


def valid_key(session: Session, key_id: str) -> Key:
    """Return a key that is neither revoked nor expired; ``NotFound`` if there is none with this
    id."""
    key = session.get(Key, key_id)
    if key is None or not is_valid(key, current_time(session)):
        raise NotFound(f"There is no valid key {key_id!r}.", code=Code.KEY_UNKNOWN)
    return key


def generate_key(account_id: str, expires_at: datetime | None) -> NewKey:
    """Return a key of 256 random bits, which is not stored yet."""
    key_id = secrets.token_hex(6)
    text = f"dfk_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return NewKey(key_id, account_id, expires_at, text)


def store_key(session: Session, new: NewKey, actor: Actor, detail: str | None = None) -> None:
    """Store the hash of a new key in the transaction of ``session``, with its audit entry."""
    session.add(
        Key(
            id=new.id,
            account_id=new.account_id,
            sha256=key_hash(new.text),
            created_at=current_time(session),
            expires_at=new.expires_at,
        )
    )
    append_entry(session, actor, Action.KEY_CREATED, new.id, detail)


def end_detail(expires_at: datetime | None) -> str:
    """Return the detail of an audit entry ``key.changed``, which ``end_of`` reads."""
    end = _NEVER if expires_at is None else expires_at.isoformat(timespec="seconds")
    return f"{_EXPIRES}{end}"


def end_of(detail: str) -> datetime | None:
    """Return the end of a key from the detail of an audit entry ``key.changed``; None: it has none.
    ``ValueError`` if the detail is not one that ``end_detail`` writes."""
    if not detail.startswith(_EXPIRES):
        raise ValueError(f"no end of a key: {detail}")
    end = detail.removeprefix(_EXPIRES)
    return None if end == _NEVER else datetime.fromisoformat(end)


def last_moment(day: date) -> datetime:
    """Return when a key expires that works through a day in UTC."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def require_future(expires_at: datetime | None, now: datetime) -> None:
    """Check the end that a key is to have; ``InvalidRequest`` if it is past."""
    if expires_at is not None and expires_at <= now:
        raise InvalidRequest("The expiry date of the key is past. To end a key now, revoke it.")


def key_hash(text: str) -> str:
    """Return the SHA-256 of a key's text in hex."""
    # A slow hash (scrypt, Argon2) makes guessing dear where people choose the secret. 256 random
    # bits cannot be guessed at any speed, and a slow hash on every request would only let anyone
    # without a key keep the service busy.
    return hashlib.sha256(text.encode()).hexdigest()
