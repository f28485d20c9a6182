"""Whether an administrator can still sign in: nobody else can create accounts and keys."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from deepfake_service.platform.db import Account, Database, Key, current_time
from deepfake_service.platform.db.enums import Role
from deepfake_service.platform.errors import LastAdministrator


def one_at_a_time(database: Database, session: Session) -> None:
    """Exclude other changes after which an administrator has to be left, until this one ends.

    Two that each see the other's administrator could remove both.
    """
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
    """Raise ``LastAdministrator`` if a change to an account or its keys leaves no administrator who
    can sign in.

    Args:
        session: the transaction of the change, which the error rolls back, and which began with
            ``one_at_a_time``.
        changed: the account that the change is about.
    """
    if changed.role is Role.ADMIN and not has_administrator(session):
        raise LastAdministrator
