"""Second factors: one-time codes of an authenticator app, for people who sign in (RFC 6238)."""

from __future__ import annotations

import hmac
import math
from datetime import datetime, timedelta

import pyotp
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller, is_valid, key_hash, start_session
from deepfake_service.audit.log import SERVICE, Action, Actor, append_entry
from deepfake_service.platform.db import (
    Account,
    Database,
    Key,
    SecondFactor,
    SignIn,
    current_time,
)
from deepfake_service.platform.errors import (
    Code,
    CodeRejected,
    DecryptionFailed,
    Forbidden,
    NotAuthenticated,
    TooManyRequests,
)
from deepfake_service.platform.storage import context_of, installation_secret
from deepfake_service.platform.storage.envelope import KeyWrapper, seal, unseal

STEP_S = 30
"""The time step that every authenticator app supports (RFC 6238, section 5.2)."""
PENDING_FOR = timedelta(minutes=5)
_PENDING = b"pending-sign-in"
FAILURES = 10
"""Wrong codes of an account in a row, in whatever sign-ins, after which none is accepted for a
while: a person who has the key can begin any number of sign-ins."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(hours=1), timedelta(days=1)
"""It doubles each time, until a right code is entered."""


class SecondFactors:
    """The second factors of accounts. Each account has at most one."""

    def __init__(self, database: Database, keys: KeyWrapper, issuer: str) -> None:
        self._database = database
        self._key = installation_secret(database, keys, "second-factors")
        self._issuer = issuer

    def is_on(self, account_id: str) -> bool:
        """Return whether an account asks for a code."""
        with self._database.read() as session:
            account = session.get_one(Account, account_id)
            return _is_on(account, session.get(SecondFactor, account_id))

    def enrol(self, caller: Caller) -> pyotp.TOTP:
        """Store a new secret for the caller, and return it. It counts once ``confirm`` was called
        with a code. ``Forbidden`` if the account belongs to a system, or has a second factor
        already."""
        secret = pyotp.random_base32()
        with self._database.write() as session:
            factor = _locked(session, caller.account_id)  # or it could be confirmed meanwhile
            account = session.get_one(Account, caller.account_id)
            if account.kind != "person" or _is_on(account, factor):
                raise Forbidden
            if factor is not None:
                session.delete(factor)
                session.flush()
            sealed = seal(self._key, secret.encode(), context_of("second-factor", account.id))
            now = current_time(session)
            session.add(SecondFactor(id=account.id, secret=sealed, created_at=now, failures=0))
        return self._totp(secret, account)

    def unconfirmed(self, caller: Caller) -> pyotp.TOTP | None:
        """Return the secret that awaits its first code, if there is one."""
        with self._database.read() as session:
            factor = session.get(SecondFactor, caller.account_id)
            account = session.get_one(Account, caller.account_id)
        if factor is None or factor.confirmed_at is not None:
            return None
        return self._totp(_secret(self._key, factor), account)

    def confirm(self, caller: Caller, code: str, *, keep: str | None = None) -> None:
        """Switch the caller's second factor on, and end the sessions that were begun without it,
        but for the one with the cookie ``keep``.

        ``CodeRejected`` if the code is not the one that the authenticator shows now, or the second
        factor is on already: what is tried for it must be counted, which ``check`` does.
        """
        with self._database.write() as session:
            factor = _locked(session, caller.account_id)
            if factor is None or factor.confirmed_at is not None:
                raise CodeRejected
            if not _accepts(session, self._key, factor, code):
                raise CodeRejected
            factor.confirmed_at = current_time(session)
            session.get_one(Account, caller.account_id).second_factor = True
            keys = select(Key.id).where(Key.account_id == caller.account_id)
            others = delete(SignIn).where(SignIn.key_id.in_(keys))
            session.execute(others.where(SignIn.id != key_hash(keep)) if keep else others)
            append_entry(session, caller.actor, Action.SECOND_FACTOR_ADDED, caller.account_id)

    def remove(self, account_id: str, actor: Actor = SERVICE) -> bool:
        """Switch the second factor of an account off; return whether it had one."""
        with self._database.write() as session:
            account = session.get_one(Account, account_id)
            factor = _locked(session, account_id)
            if factor is None and not account.second_factor:
                return False
            account.second_factor = False
            if factor is not None:
                session.delete(factor)
            append_entry(session, actor, Action.SECOND_FACTOR_REMOVED, account_id)
        return True

    def check(self, caller: Caller, code: str) -> None:
        """Use up the caller's current code; ``CodeRejected`` if ``code`` is another one,
        ``TooManyRequests`` if too many codes of the account were wrong."""
        with self._database.write() as session:
            factor = _locked(session, caller.account_id)
            accepted = factor is not None and _tried(session, caller.actor, self._key, factor, code)
        if not accepted:  # raised here, or the failure would not be counted
            raise CodeRejected

    def begin_sign_in(self, caller: Caller) -> str:
        """Return the value of the cookie of a browser whose code is still missing;
        ``TooManyRequests`` if too many codes of the account were wrong."""
        with self._database.read() as session:
            now = current_time(session)
            factor = session.get(SecondFactor, caller.account_id)
        if factor is not None:
            _require_no_pause(factor, now)
        pending = f"{caller.key_id} {(now + PENDING_FOR).isoformat()}"
        return seal(self._key, pending.encode(), _PENDING).hex()

    def finish_sign_in(self, token: str, code: str) -> tuple[Caller, str]:
        """Sign a browser in, and return the caller and the value of its cookie.
        ``NotAuthenticated`` if the sign-in has expired; ``CodeRejected``, with the ``key_id`` of
        the key, if the code is wrong or used; ``TooManyRequests`` if too many were wrong."""
        try:
            pending = unseal(self._key, bytes.fromhex(token), _PENDING).decode()
        except (ValueError, DecryptionFailed):
            raise NotAuthenticated from None
        key_id, end = pending.split()
        with self._database.write() as session:
            now = current_time(session)
            key = session.get(Key, key_id)
            if key is None or not is_valid(key, now) or datetime.fromisoformat(end) <= now:
                raise NotAuthenticated
            account = session.get_one(Account, key.account_id)
            factor = _locked(session, account.id)
            if account.disabled_at or factor is None:
                raise NotAuthenticated
            accepted = _tried(session, Actor(account.id, key.id), self._key, factor, code)
            if accepted:
                caller = Caller(account.id, account.role, key.id)
                new_token = start_session(session, caller)
        if not accepted:
            raise CodeRejected(key_id=key.id)
        return caller, new_token

    def _totp(self, secret: str, account: Account) -> pyotp.TOTP:
        return pyotp.TOTP(secret, name=account.name, issuer=self._issuer, interval=STEP_S)


def _is_on(account: Account, factor: SecondFactor | None) -> bool:
    return account.second_factor or (factor is not None and factor.confirmed_at is not None)


def _locked(session: Session, account_id: str) -> SecondFactor | None:
    """Return the second factor of an account, and exclude others that try a code for it."""
    return session.get(SecondFactor, account_id, with_for_update=True)


def _secret(key: bytes, factor: SecondFactor) -> str:
    return unseal(key, factor.secret, context_of("second-factor", factor.id)).decode()


def _require_no_pause(factor: SecondFactor, now: datetime) -> None:
    if factor.paused_until is not None and factor.paused_until > now:
        wait_s = math.ceil((factor.paused_until - now).total_seconds())
        raise TooManyRequests(code=Code.TOO_MANY_CODES, retry_after_s=wait_s)


def _tried(session: Session, actor: Actor, key: bytes, factor: SecondFactor, code: str) -> bool:
    """Return whether a code is right, and count it if it is wrong; ``TooManyRequests`` if too many
    were wrong."""
    now = current_time(session)
    _require_no_pause(factor, now)
    if _accepts(session, key, factor, code):
        factor.failures, factor.paused_until = 0, None
        return True
    factor.failures += 1
    pauses, others = divmod(factor.failures, FAILURES)
    if others == 0:
        factor.paused_until = now + min(FIRST_PAUSE * 2 ** min(pauses - 1, 10), LONGEST_PAUSE)
        append_entry(session, actor, Action.SECOND_FACTOR_PAUSED, factor.id)
    return False


def _accepts(session: Session, key: bytes, factor: SecondFactor, code: str) -> bool:
    """Return whether a code is right, and record its time step, so that it works only once.

    The steps before and after the present one are accepted as well, for clocks that differ (RFC
    6238, section 5.2).
    """
    totp = pyotp.TOTP(_secret(key, factor), interval=STEP_S)
    sent = "".join(code.split()).encode()
    present = int(current_time(session).timestamp()) // STEP_S
    for step in (present - 1, present, present + 1):
        is_new = factor.last_step is None or step > factor.last_step
        if hmac.compare_digest(totp.generate_otp(step).encode(), sent) and is_new:
            factor.last_step = step
            return True
    return False
