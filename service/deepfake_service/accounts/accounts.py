"""Accounts and their keys: who may call the service.

An account belongs to a person or a system. It owns cases and keys; keys can be replaced without
losing anything. The text of a key is ``dfk_<id>_<secret>``. It is shown once, when it is created,
and only its hash is stored.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from deepfake_service.audit.log import SERVICE, Action, Actor, append_entry
from deepfake_service.platform.db import (
    Account,
    Database,
    Key,
    SecondFactor,
    SignIn,
    current_time,
    new_id,
)
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import (
    Code,
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
)

SECRET_BYTES = 32
MAX_KEY_CHARS = 1024
"""Longer credentials are refused without hashing them."""
NO_HASH = "-" * 64
"""A stored hash that no text has."""
_EXPIRES, _NEVER = "expires=", "never"
KEY_FORM = re.compile(r"dfk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
ENVIRONMENT_ID = "environment"
"""Id of the key that ``DEEPFAKE_ADMIN_KEY`` sets. There is at most one."""

SIGNED_IN_FOR = timedelta(hours=10)
"""After which a console user must sign in again: a working day."""
MAX_SESSIONS = 20
"""Browsers that are signed in with one key at a time: the oldest is signed out."""
Kind = Literal["person", "system"]
MAY_SUBMIT = frozenset({Role.PIPELINE, Role.ANALYST, Role.ADMIN})
MAY_READ_ALL = frozenset({Role.ANALYST, Role.ADMIN})
MAY_HOLD = frozenset({Role.ANALYST, Role.ADMIN})
"""Roles that may set and lift legal holds, and export originals."""
MAY_REVIEW = frozenset({Role.ANALYST, Role.ADMIN})
"""Roles that may decide about examinations, and flag that a minor may be shown."""
MAY_AUDIT = frozenset({Role.AUDITOR, Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Caller:
    """The account that makes a request, and the key that it uses."""

    account_id: str
    role: Role
    key_id: str | None
    """``None`` where the service acts for the account."""
    by_console: bool = False
    """Whether the request comes from a browser that signed in."""

    @property
    def actor(self) -> Actor:
        return Actor(self.account_id, self.key_id)


@dataclass(frozen=True, slots=True, repr=False)
class NewKey:
    """A new key. ``text`` is the only copy of its secret."""

    id: str
    account_id: str
    expires_at: datetime | None
    text: str


def may_review(account: Account) -> bool:
    """Return whether an account is that of a person who may review."""
    is_person = account.kind == "person" and account.disabled_at is None
    return is_person and account.role in MAY_REVIEW


class Accounts:
    """The accounts and keys of an installation."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: dict[str, date] = {}
        """The day on which this process noted that a key was used, by the key's id."""

    def create(
        self,
        name: str,
        kind: Kind,
        role: Role,
        actor: Actor = SERVICE,
        *,
        live: bool | None = None,
    ) -> Account:
        """Create an account without a key; ``Conflict`` if another one has this name. Its jobs
        may have the priority ``live`` if that is set, by default if it belongs to a person."""
        try:
            with self._database.write() as session:
                account = create_account(session, name, kind, role, actor)
                if live is not None:
                    account.live = live
                return account
        except IntegrityError as error:
            raise Conflict(
                f"An account named {name!r} already exists.", code=Code.ACCOUNT_EXISTS
            ) from error

    def all(self) -> Sequence[Account]:
        """List all accounts by name."""
        with self._database.read() as session:
            return session.scalars(select(Account).order_by(Account.name)).all()

    def named(self, name: str) -> Account:
        """Return the account with this name; ``NotFound`` if there is none."""
        with self._database.read() as session:
            account = session.scalars(select(Account).where(Account.name == name)).first()
        if account is None:
            raise NotFound(f"There is no account named {name!r}.", code=Code.ACCOUNT_UNKNOWN)
        return account

    def disable(self, name: str) -> None:
        """Disable an account and its keys immediately. Its submissions remain.
        ``Conflict`` if no other account has an administrator's key."""
        account = self.named(name)
        with self._database.write() as session:
            exclude_others(self._database, session)
            session.get_one(Account, account.id).disabled_at = current_time(session)
            require_administrator(session, account)
            append_entry(session, SERVICE, Action.ACCOUNT_DISABLED, account.id)

    def create_key(
        self, name: str, *, expires_at: datetime | None = None, actor: Actor = SERVICE
    ) -> NewKey:
        """Create a key of 256 random bits for the account ``name``, and store its hash;
        ``NotFound`` if there is no such account, ``InvalidRequest`` if ``expires_at`` is
        past."""
        account = self.named(name)
        with self._database.write() as session:
            require_future(expires_at, current_time(session))
            new = generate_key(account.id, expires_at)
            store_key(session, new, actor)
        return new

    def keys(self, name: str | None = None) -> Sequence[tuple[Key, Account]]:
        """List keys with their accounts, oldest first: all of them, or those of one account;
        ``NotFound`` if there is none of this name."""
        statement = select(Key, Account).join(Account, Key.account_id == Account.id)
        if name is not None:
            statement = statement.where(Account.id == self.named(name).id)
        with self._database.read() as session:
            rows = session.execute(statement.order_by(Key.created_at, Key.id))
            return [(key, account) for key, account in rows]

    def revoke(self, key_id: str, actor: Actor = SERVICE) -> None:
        """Revoke a key immediately; ``NotFound`` if there is no valid key with this id,
        ``Conflict`` if it is the only valid key of an administrator."""
        with self._database.write() as session:
            exclude_others(self._database, session)
            key = valid_key(session, key_id)
            key.revoked_at = current_time(session)
            require_administrator(session, session.get_one(Account, key.account_id))
            append_entry(session, actor, Action.KEY_REVOKED, key.id)

    def end(self, key_id: str, expires_at: datetime | None, actor: Actor = SERVICE) -> None:
        """Let a key expire at ``expires_at``, or never. Audited. ``NotFound`` if there is no
        valid key with this id, ``InvalidRequest`` if the time is past."""
        with self._database.write() as session:
            key = valid_key(session, key_id)
            require_future(expires_at, current_time(session))
            key.expires_at = expires_at
            append_entry(session, actor, Action.KEY_CHANGED, key.id, end_detail(expires_at))

    def authenticate(self, text: str, *, signs_in: bool = False) -> Caller:
        """Return the caller that a key belongs to.

        1. The id is read from the text. Text of another form can only be the key that
           ``DEEPFAKE_ADMIN_KEY`` sets.
        2. The stored hash is looked up. For an unknown id, a hash that never matches replaces it.
        3. Hashes are compared in constant time, so that an unknown id cannot be told from a wrong
           secret.
        4. The key must not be expired or revoked, and its account must not be disabled.
        5. A key of an account with a second factor is only accepted where a code is asked for
           next: ``signs_in``; else ``Forbidden``.

        For every other reason, ``NotAuthenticated`` with the same message.
        """
        if len(text) > MAX_KEY_CHARS:
            raise NotAuthenticated
        form = KEY_FORM.fullmatch(text)
        ids = [form[1], ENVIRONMENT_ID] if form else [ENVIRONMENT_ID]
        with self._database.read() as session:
            statement = select(Key, Account).join(Account, Key.account_id == Account.id)
            rows = session.execute(statement.where(Key.id.in_(ids))).all()
            # Whole rows, because only the code of one that is loaded is compared.
            factors = session.scalars(
                select(SecondFactor).where(SecondFactor.id.in_([account.id for _, account in rows]))
            ).all()
            protected = {factor.id for factor in factors if factor.confirmed_at is not None}
            protected |= {account.id for _, account in rows if account.second_factor}
        by_id = {row.Key.id: row for row in rows}
        found = next((by_id[i] for i in ids if i in by_id), None)
        stored = found.Key.sha256 if found else NO_HASH
        if not hmac.compare_digest(key_hash(text), stored) or found is None:
            raise NotAuthenticated
        key, account = found
        if account.disabled_at or not is_valid(key, self._database.clock()):
            raise NotAuthenticated
        if not signs_in and account.id in protected:
            raise Forbidden(code=Code.SECOND_FACTOR_REQUIRED)
        self._note_use(key)
        return Caller(account.id, account.role, key.id)

    def sign_in(self, text: str) -> tuple[Caller, str]:
        """Sign a browser in with a key, and return the caller and the value of its cookie;
        ``NotAuthenticated`` or ``Forbidden``: see ``authenticate``."""
        caller = self.authenticate(text)
        with self._database.write() as session:
            # One that was switched on meanwhile has ended the sessions that there were.
            account = session.get_one(Account, caller.account_id, with_for_update=True)
            if account.second_factor:
                raise Forbidden(code=Code.SECOND_FACTOR_REQUIRED)
            return caller, start_session(session, caller)

    def signed_in(self, token: str) -> Caller:
        """Return the caller that a browser's cookie belongs to; ``NotAuthenticated`` if the cookie
        is unknown or expired, or its key is no longer valid."""
        if len(token) > MAX_KEY_CHARS:
            raise NotAuthenticated
        with self._database.read() as session:
            row = session.execute(
                select(SignIn, Key, Account)
                .join(Key, SignIn.key_id == Key.id)
                .join(Account, Key.account_id == Account.id)
                .where(SignIn.id == key_hash(token), SignIn.expires_at > current_time(session))
            ).first()
        if row is None:
            raise NotAuthenticated
        _, key, account = row
        if account.disabled_at or not is_valid(key, self._database.clock()):
            raise NotAuthenticated
        self._note_use(key)
        return Caller(account.id, account.role, key.id, by_console=True)

    def _note_use(self, key: Key) -> None:
        """Note that a key is used now, with one write a day. The day alone is kept: it is enough to
        find keys that no one needs, and says nothing about a person's hours of work."""
        today = self._database.clock().date()
        if key.last_used_on is not None and key.last_used_on >= today:
            return
        if self._noted.get(key.id) == today:
            return  # another request writes it, or could not
        self._noted[key.id] = today
        earlier = or_(Key.last_used_on.is_(None), Key.last_used_on < today)
        # What the key is used for does not depend on this note.
        with contextlib.suppress(DatabaseUnavailable), self._database.write() as session:
            note = update(Key).where(Key.id == key.id, earlier).values(last_used_on=today)
            session.execute(note, execution_options={"synchronize_session": False})

    def sign_out(self, token: str) -> None:
        """Invalidate a browser's cookie."""
        with self._database.write() as session:
            sign_in = session.get(SignIn, key_hash(token))
            if sign_in is not None:
                key = session.get_one(Key, sign_in.key_id)
                actor = Actor(key.account_id, key.id)
                session.execute(delete(SignIn).where(SignIn.id == sign_in.id))
                append_entry(session, actor, Action.SIGNED_OUT, key.account_id)


def start_session(session: Session, caller: Caller) -> str:
    """Store a session for a browser, and return the value of its cookie."""
    token = secrets.token_urlsafe(SECRET_BYTES)
    now = current_time(session)
    newest = (
        select(SignIn.id).where(SignIn.key_id == caller.key_id).order_by(SignIn.created_at.desc())
    )
    kept = session.scalars(newest.limit(MAX_SESSIONS - 1)).all()
    beyond = and_(SignIn.key_id == caller.key_id, SignIn.id.not_in(kept))
    session.execute(delete(SignIn).where(or_(SignIn.expires_at <= now, beyond)))
    session.add(
        SignIn(
            id=key_hash(token),
            key_id=caller.key_id,
            created_at=now,
            expires_at=now + SIGNED_IN_FOR,
        )
    )
    append_entry(session, caller.actor, Action.SIGNED_IN, caller.account_id)
    return token


def authorize(caller: Caller, allowed: frozenset[Role]) -> None:
    """Raise ``Forbidden`` unless the caller's role is one of ``allowed``."""
    if caller.role not in allowed:
        raise Forbidden


def create_account(session: Session, name: str, kind: Kind, role: Role, actor: Actor) -> Account:
    """Create an account in the transaction of ``session``."""
    account = Account(
        id=new_id(),
        name=name,
        kind=kind,
        role=role,
        created_at=current_time(session),
        live=kind == "person",
        second_factor=False,
    )
    session.add(account)
    session.flush()
    append_entry(session, actor, Action.ACCOUNT_CREATED, account.id, role)
    return account


def exclude_others(database: Database, session: Session) -> None:
    """Exclude other changes after which an administrator has to be left, until this one ends. Two
    that each see the other's administrator could remove both."""
    database.one_at_a_time(session, "administrators")


def has_administrator(session: Session) -> bool:
    """Return whether an administrator has a valid key."""
    valid = (
        select(Key.id)
        .join(Account, Key.account_id == Account.id)
        .where(
            Account.role == Role.ADMIN,
            Account.disabled_at.is_(None),
            Key.revoked_at.is_(None),
            or_(Key.expires_at.is_(None), Key.expires_at > current_time(session)),
        )
        .limit(1)
    )
    return session.scalar(valid) is not None


def require_administrator(session: Session, changed: Account) -> None:
    """Raise ``Conflict`` if a change to an account or its keys leaves no administrator who
    can sign in. The error rolls back the transaction of the change, which began with
    ``exclude_others``."""
    if changed.role is Role.ADMIN and not has_administrator(session):
        raise Conflict(code=Code.LAST_ADMINISTRATOR)


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
