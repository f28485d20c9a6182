"""One-time invitations: the owner of an account creates its key, and no one else sees it."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import (
    MAX_KEY_CHARS,
    SECRET_BYTES,
    Accounts,
    NewKey,
    generate_key,
    key_hash,
    require_future,
    store_key,
)
from deepfake_service.audit.log import SERVICE, Action, Actor, append_entry
from deepfake_service.platform.db import Account, Database, Invitation, current_time
from deepfake_service.platform.errors import Code, Gone

VALID_FOR = timedelta(hours=72)


class Invitations:
    """Creates invitations, and exchanges each of them once for a key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, name: str, actor: Actor = SERVICE, *, key_expires_at: datetime | None = None
    ) -> str:
        """Return the token of a new invitation for the account ``name``.

        It replaces the account's earlier invitation. Only its hash is stored. The key will expire
        at ``key_expires_at``, or never. ``NotFound`` if there is no such account,
        ``InvalidRequest`` if the end of the key is past.
        """
        account = Accounts(self._database).named(name)
        token = secrets.token_urlsafe(SECRET_BYTES)
        with self._database.write() as session:
            now = current_time(session)
            require_future(key_expires_at, now)
            session.execute(delete(Invitation).where(Invitation.account_id == account.id))
            session.add(
                Invitation(
                    id=key_hash(token),
                    account_id=account.id,
                    created_at=now,
                    expires_at=now + VALID_FOR,
                    key_expires_at=key_expires_at,
                )
            )
            append_entry(session, actor, Action.INVITATION_CREATED, account.id)
        return token

    def find(self, token: str) -> tuple[Invitation, Account]:
        """Return an invitation, and the account that it is for; ``Gone`` if it has
        expired, was used or replaced, or its account is disabled."""
        with self._database.read() as session:
            return _valid(session, token)

    def redeem(self, token: str) -> NewKey:
        """Create a key for the account of an invitation, which is then used up;
        ``Gone``: see ``find``."""
        with self._database.write() as session:
            invitation, account = _valid(session, token, for_update=True)
            session.delete(invitation)
            new = generate_key(account.id, invitation.key_expires_at)
            store_key(session, new, Actor(account.id, new.id), "invitation")
        return new


def _valid(session: Session, token: str, *, for_update: bool = False) -> tuple[Invitation, Account]:
    if len(token) > MAX_KEY_CHARS:
        raise Gone(code=Code.INVITATION_INVALID)
    now, end = current_time(session), Invitation.key_expires_at
    found = (
        select(Invitation, Account)
        .join(Account, Invitation.account_id == Account.id)
        .where(Invitation.id == key_hash(token), Invitation.expires_at > now)
        .where(or_(end.is_(None), end > now), Account.disabled_at.is_(None))
    )
    row = session.execute(found.with_for_update(of=Invitation) if for_update else found).first()
    if row is None:
        raise Gone(code=Code.INVITATION_INVALID)
    return row.Invitation, row.Account
