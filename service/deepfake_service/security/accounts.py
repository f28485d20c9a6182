"""Accounts, their keys and roles: who may call the service.

An account is a person or a system; cases belong to accounts, and so do keys, which can be
exchanged without losing anything. A key's text is ``dfk_<id>_<secret>``. It is shown once, where it
is made; only its hash is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import delete, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from deepfake_service.db import Account, Database, Key, SignIn, current_time, new_id
from deepfake_service.db.enums import Role
from deepfake_service.errors import (
    AccountExists,
    AccountUnknown,
    Forbidden,
    KeyUnknown,
    NotAuthenticated,
)
from deepfake_service.files import replace_private
from deepfake_service.security.audit_log import SERVICE, Action, Actor, append_entry
from deepfake_service.settings import Settings

ADMIN_KEY_FILE = "admin-key"
ENVIRONMENT_ID = "environment"
"""Id of the key that ``DEEPFAKE_ADMIN_KEY`` sets; there is at most one."""
FIRST_ACCOUNT = "administrator"
SECRET_BYTES = 32
MAX_KEY_CHARS = 1024
"""Longer credentials are refused unhashed."""

_KEY = re.compile(r"dfk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")

Kind = Literal["person", "system"]


MAY_SUBMIT = frozenset({Role.PIPELINE, Role.ANALYST, Role.ADMIN})
MAY_READ_ALL = frozenset({Role.ANALYST, Role.ADMIN})
MAY_HOLD = frozenset({Role.ANALYST, Role.ADMIN})
"""Set and lift legal holds, and export originals."""
MAY_REVIEW = frozenset({Role.ANALYST, Role.ADMIN})
"""Decide about examinations, say who may be a minor."""
MAY_AUDIT = frozenset({Role.AUDITOR, Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: an account, by one of its keys."""

    account_id: str
    role: Role
    key_id: str

    @property
    def actor(self) -> Actor:
        return Actor(self.account_id, self.key_id)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. ``text`` is the only copy of the secret."""

    id: str
    account_id: str
    expires_at: datetime | None
    text: str

    def __repr__(self) -> str:
        return f"NewKey(id={self.id!r})"


@dataclass(frozen=True, slots=True)
class FirstKey:
    """An administrator's key made on the first start: its text, or the file that holds it."""

    text: str | None
    path: str | None

    def __repr__(self) -> str:
        return f"FirstKey(path={self.path!r})"


class Accounts:
    """The accounts and keys in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, kind: Kind, role: Role, actor: Actor = SERVICE) -> Account:
        """Make an account without a key.

        Raises:
            AccountExists: another has this name.
        """
        try:
            with self._database.write() as session:
                return _account(session, name, kind, role, actor)
        except IntegrityError as error:
            raise AccountExists(f"there is an account named {name!r} already") from error

    def all(self) -> Sequence[Account]:
        """Every account, by name."""
        with self._database.read() as session:
            return session.scalars(select(Account).order_by(Account.name)).all()

    def named(self, name: str) -> Account:
        """The account of this name.

        Raises:
            AccountUnknown: there is none.
        """
        with self._database.read() as session:
            found = session.scalars(select(Account).where(Account.name == name)).first()
        if found is None:
            raise AccountUnknown(f"there is no account named {name!r}")
        return found

    def disable(self, name: str, actor: Actor = SERVICE) -> None:
        """Stop an account's keys from working, now. What it submitted stays."""
        found = self.named(name)
        with self._database.write() as session:
            session.get_one(Account, found.id).disabled_at = current_time(session)
            append_entry(session, actor, Action.ACCOUNT_DISABLED, found.id)

    def create_key(
        self, name: str, *, expires_in: timedelta | None = None, actor: Actor = SERVICE
    ) -> NewKey:
        """Make a key of 256 random bits for the account ``name`` and keep its hash."""
        found = self.named(name)
        with self._database.write() as session:
            now = current_time(session)
            new = _new_key(found.id, now + expires_in if expires_in is not None else None)
            _keep(session, new, actor, Action.KEY_CREATED)
        return new

    def keys(self, name: str | None = None) -> Sequence[tuple[Key, Account]]:
        """Keys with their accounts, oldest first; those of one account, if it is named."""
        statement = select(Key, Account).join(Account, Key.account_id == Account.id)
        if name is not None:
            statement = statement.where(Account.name == name)
        with self._database.read() as session:
            return [
                (key, account)
                for key, account in session.execute(statement.order_by(Key.created_at, Key.id))
            ]

    def revoke(self, key_id: str, actor: Actor = SERVICE) -> None:
        """Stop a key from working, now.

        Raises:
            KeyUnknown: there is no such key that still works.
        """
        with self._database.write() as session:
            key = _working(session, key_id)
            key.revoked_at = current_time(session)
            append_entry(session, actor, Action.KEY_REVOKED, key.id)

    def rotate(
        self, key_id: str, *, grace: timedelta = timedelta(0), actor: Actor = SERVICE
    ) -> NewKey:
        """Make another key of the same account; the old one works for ``grace`` longer.

        Raises:
            KeyUnknown: there is no such key that still works.
        """
        now = self._database.clock()
        with self._database.write() as session:
            key = _working(session, key_id)
            expires_at = now + (key.expires_at - key.created_at) if key.expires_at else None
            new = _new_key(key.account_id, expires_at)
            _keep(session, new, actor, Action.KEY_ROTATED, detail=key.id)
            key.expires_at = min(now + grace, key.expires_at or now + grace)
        return new

    def authenticate(self, text: str) -> Caller:
        """The caller whose key's text this is.

        1. The id is read from the text; a text of another form can only be the environment's key.
        2. The stored hash is looked up, or one that nothing matches stands in for it.
        3. Hashes are compared in constant time, so an unknown id answers like a wrong secret.
        4. The key must not be expired or revoked, nor its account disabled.

        Raises:
            NotAuthenticated: whatever the reason, with the same text.
        """
        if len(text) > MAX_KEY_CHARS:
            raise NotAuthenticated
        form = _KEY.fullmatch(text)
        wanted = [form[1], ENVIRONMENT_ID] if form else [ENVIRONMENT_ID]
        with self._database.read() as session:
            statement = select(Key, Account).join(Account, Key.account_id == Account.id)
            rows = session.execute(statement.where(Key.id.in_(wanted))).all()
        found = {key.id: (key, account) for key, account in rows}
        key, account = next((found[i] for i in wanted if i in found), (None, None))
        if not hmac.compare_digest(_hash(text), key.sha256 if key else _NO_HASH):
            raise NotAuthenticated
        if (
            key is None
            or account is None
            or account.disabled_at
            or not is_valid(key, self._database.clock())
        ):
            raise NotAuthenticated
        return Caller(account.id, account.role, key.id)

    def sign_in(self, text: str, *, hours: float) -> tuple[Caller, str]:
        """Sign in a browser with a key; the caller, and what its cookie is to hold.

        Raises:
            NotAuthenticated: see ``authenticate``.
        """
        caller = self.authenticate(text)
        token = secrets.token_urlsafe(SECRET_BYTES)
        now = self._database.clock()
        with self._database.write() as session:
            session.execute(delete(SignIn).where(SignIn.expires_at <= now))
            session.add(
                SignIn(
                    id=_hash(token),
                    key_id=caller.key_id,
                    created_at=now,
                    expires_at=now + timedelta(hours=hours),
                )
            )
            append_entry(session, caller.actor, Action.SIGNED_IN, caller.account_id)
        return caller, token

    def signed_in(self, token: str) -> Caller:
        """The caller whose browser holds this cookie, as long as the key still works.

        Raises:
            NotAuthenticated: nobody's does.
        """
        if len(token) > MAX_KEY_CHARS:
            raise NotAuthenticated
        with self._database.read() as session:
            found = session.execute(
                select(SignIn, Key, Account)
                .join(Key, SignIn.key_id == Key.id)
                .join(Account, Key.account_id == Account.id)
                .where(SignIn.id == _hash(token), SignIn.expires_at > current_time(session))
            ).first()
        if found is None or found[2].disabled_at or not is_valid(found[1], self._database.clock()):
            raise NotAuthenticated
        return Caller(found[2].id, found[2].role, found[1].id)

    def sign_out(self, token: str) -> None:
        """Forget a browser's cookie."""
        with self._database.write() as session:
            found = session.get(SignIn, _hash(token))
            if found is not None:
                key = session.get_one(Key, found.key_id)
                actor = Actor(key.account_id, key.id)
                append_entry(session, actor, Action.SIGNED_OUT, key.account_id)
                session.delete(found)

    def of(self, account_id: str) -> Account:
        """The account of this id, which there is."""
        with self._database.read() as session:
            return session.get_one(Account, account_id)

    def ensure_admin_key(self, settings: Settings, *, terminal: bool) -> FirstKey | None:
        """See to it that an administrator can sign in; what was made for that, if anything.

        1. ``DEEPFAKE_ADMIN_KEY`` replaces the key that its earlier value made; where it is no
           longer set, that key is withdrawn.
        2. If no administrator's key works, one is made. On a terminal its text is returned, to be
           shown once; otherwise it is written to a 0600 file in the data directory.
        """
        wanted = settings.admin_key.get_secret_value() if settings.admin_key else None
        with self._database.write() as session:
            self._environment_key(session, wanted)
            if _administrators(session):
                return None
            account = session.scalars(
                select(Account).where(Account.name == FIRST_ACCOUNT)
            ).first() or _account(session, FIRST_ACCOUNT, "person", Role.ADMIN, SERVICE)
            account.disabled_at = None
            new = _new_key(account.id, None)
            path = None if terminal else settings.data_dir / ADMIN_KEY_FILE
            if path is not None:
                # Before it is kept: otherwise a crash in between locks everybody out.
                replace_private(path, new.text + "\n")
            _keep(session, new, SERVICE, Action.KEY_CREATED)
        return FirstKey(None, str(path)) if path else FirstKey(new.text, None)

    @staticmethod
    def _environment_key(session: Session, wanted: str | None) -> None:
        key = session.get(Key, ENVIRONMENT_ID)
        if wanted is None:
            if key is not None:
                session.delete(key)
                append_entry(session, SERVICE, Action.KEY_REVOKED, ENVIRONMENT_ID)
            return
        digest = _hash(wanted)
        if key is not None and key.sha256 == digest:
            return
        if key is not None:
            session.delete(key)
            session.flush()
        account = session.scalars(
            select(Account).where(Account.name == ENVIRONMENT_ID)
        ).first() or _account(session, ENVIRONMENT_ID, "person", Role.ADMIN, SERVICE)
        session.add(
            Key(
                id=ENVIRONMENT_ID,
                account_id=account.id,
                sha256=digest,
                created_at=current_time(session),
            )
        )
        append_entry(session, SERVICE, Action.KEY_CREATED, ENVIRONMENT_ID)


def authorize(caller: Caller, allowed: frozenset[Role]) -> None:
    """Raise ``Forbidden`` unless the caller's role is one of ``allowed``."""
    if caller.role not in allowed:
        raise Forbidden


def _account(session: Session, name: str, kind: Kind, role: Role, actor: Actor) -> Account:
    account = Account(
        id=new_id(), name=name, kind=kind, role=role, created_at=current_time(session)
    )
    session.add(account)
    session.flush()
    append_entry(session, actor, Action.ACCOUNT_CREATED, account.id, role)
    return account


def is_valid(key: Key, now: datetime) -> bool:
    """Return whether a key is neither revoked nor expired at ``now``."""
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)


def _working(session: Session, key_id: str) -> Key:
    key = session.get(Key, key_id)
    if key is None or not is_valid(key, current_time(session)):
        raise KeyUnknown(f"there is no working key {key_id!r}")
    return key


def _administrators(session: Session) -> int:
    """How many keys let an administrator in."""
    return (
        session.scalar(
            select(func.count())
            .select_from(Key)
            .join(Account, Key.account_id == Account.id)
            .where(
                Account.role == Role.ADMIN,
                Account.disabled_at.is_(None),
                Key.revoked_at.is_(None),
                or_(Key.expires_at.is_(None), Key.expires_at > current_time(session)),
            )
        )
        or 0
    )


def _new_key(account_id: str, expires_at: datetime | None) -> NewKey:
    key_id = secrets.token_hex(6)
    text = f"dfk_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return NewKey(key_id, account_id, expires_at, text)


def _keep(
    session: Session, new: NewKey, actor: Actor, action: Action, detail: str | None = None
) -> None:
    session.add(
        Key(
            id=new.id,
            account_id=new.account_id,
            sha256=_hash(new.text),
            created_at=current_time(session),
            expires_at=new.expires_at,
        )
    )
    append_entry(session, actor, action, new.id, detail)


def _hash(text: str) -> str:
    # A slow hash (scrypt, Argon2) makes guessing dear where people choose the secret. 256 random
    # bits cannot be guessed at any speed, and a slow hash on every request would only let anybody
    # without a key keep the service busy.
    return hashlib.sha256(text.encode()).hexdigest()


_NO_HASH = "-" * 64
