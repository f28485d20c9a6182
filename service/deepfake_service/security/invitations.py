"""One-time invitations: the owner of an account creates its key, and nobody else sees it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from deepfake_service.db import Account, Database, Invitation, Key, current_time
from deepfake_service.errors import InvitationInvalid
from deepfake_service.security.accounts import Accounts
from deepfake_service.security.audit_log import SERVICE, Action, Actor, append_entry
from deepfake_service.security.keys import (
    MAX_KEY_CHARS,
    SECRET_BYTES,
    NewKey,
    generate_key,
    is_valid,
    key_hash,
    replace_key,
    require_future,
    store_key,
    valid_key,
)

VALID_FOR = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What an invitation says about the key that it creates.

    The token contains them: the stored hash covers them, so that whoever holds the link cannot
    change them.
    """

    expires_at: datetime | None = None
    """When the key expires, in whole seconds; ``None``: never."""
    replaces: str | None = None
    """Id of the key that it takes the place of."""
    grace_hours: int = 0
    """How long the replaced key still works."""

    def token(self) -> str:
        """Return a new token with these terms, which are left out if there are none."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        if self == KeyTerms():
            return secret
        end = "" if self.expires_at is None else f"{self.expires_at.timestamp():.0f}"
        return f"{end}.{self.replaces or ''}.{self.grace_hours}.{secret}"

    @classmethod
    def of(cls, token: str) -> KeyTerms:
        """Return the terms in a token that was made here, which its hash has shown."""
        *terms, _ = token.split(".")
        if not terms:
            return cls()
        end, replaces, grace = terms
        expires_at = datetime.fromtimestamp(int(end), UTC) if end else None
        return cls(expires_at, replaces or None, int(grace))


class Invitations:
    """Creates invitations, and exchanges each of them once for a key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, actor: Actor = SERVICE, terms: KeyTerms | None = None) -> str:
        """Return the token of a new invitation for the account ``name``.

        It replaces the account's earlier invitation. Only its hash is stored.

        Raises:
            AccountUnknown: there is no such account. InvalidRequest: the end of the key is past.
        """
        return self._create(Accounts(self._database).named(name), actor, terms or KeyTerms())

    def replace(self, key_id: str, actor: Actor = SERVICE, *, grace_hours: int = 0) -> str:
        """Return the token of an invitation to replace a key, which works until that is done.

        It then expires after ``grace_hours``; see ``create``.

        Raises:
            KeyUnknown: there is no valid key with this id.
        """
        with self._database.read() as session:
            key = valid_key(session, key_id)
            account = session.get_one(Account, key.account_id)
        return self._create(account, actor, KeyTerms(None, key_id, grace_hours))

    def _create(self, account: Account, actor: Actor, terms: KeyTerms) -> str:
        token = terms.token()
        with self._database.write() as session:
            now = current_time(session)
            require_future(terms.expires_at, now)
            session.execute(delete(Invitation).where(Invitation.account_id == account.id))
            session.add(
                Invitation(
                    id=key_hash(token),
                    account_id=account.id,
                    created_at=now,
                    expires_at=now + VALID_FOR,
                )
            )
            append_entry(session, actor, Action.INVITATION_CREATED, account.id, terms.replaces)
        return token

    def account_of(self, token: str) -> Account:
        """Return the account that an invitation is for.

        Raises:
            InvitationInvalid: it has expired, was used or replaced, its account is disabled, or
                the key that it is to replace is no longer valid.
        """
        with self._database.read() as session:
            return _valid(session, token)[1]

    def redeem(self, token: str) -> NewKey:
        """Create a key for the account of an invitation, which is then used up.

        Raises:
            InvitationInvalid: see ``account_of``.
        """
        with self._database.write() as session:
            invitation, account = _valid(session, token, for_update=True)
            session.delete(invitation)
            terms = KeyTerms.of(token)
            if terms.replaces is not None:
                old = session.get_one(Key, terms.replaces)
                return replace_key(session, old, timedelta(hours=terms.grace_hours), None)
            new = generate_key(account.id, terms.expires_at)
            store_key(session, new, Actor(account.id, new.id), Action.KEY_CREATED, "invitation")
        return new


def _valid(session: Session, token: str, *, for_update: bool = False) -> tuple[Invitation, Account]:
    if len(token) > MAX_KEY_CHARS:
        raise InvitationInvalid
    found = select(Invitation).where(
        Invitation.id == key_hash(token), Invitation.expires_at > current_time(session)
    )
    invitation = session.scalars(found.with_for_update() if for_update else found).first()
    if invitation is None:
        raise InvitationInvalid
    terms, now = KeyTerms.of(token), current_time(session)
    if terms.expires_at is not None and terms.expires_at <= now:
        raise InvitationInvalid
    if terms.replaces is not None:
        # Who revoked the key must not have to think of the link.
        old = session.get(Key, terms.replaces)
        if old is None or not is_valid(old, now):
            raise InvitationInvalid
    account = session.get_one(Account, invitation.account_id)
    if account.disabled_at is not None:
        raise InvitationInvalid
    return invitation, account
