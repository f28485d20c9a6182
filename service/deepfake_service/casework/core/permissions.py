"""Who may see and delete what."""

from __future__ import annotations

from sqlalchemy import ColumnElement, or_, true

from deepfake_service.db import Case
from deepfake_service.db.enums import Role
from deepfake_service.security.accounts import MAY_READ_ALL, Caller


def may_see(caller: Caller, case: Case) -> bool:
    """Whether a caller may see what is in a case.

    Of a case in which somebody may be a minor, other analysts no longer may: its own account, who
    said so, and administrators alone.
    """
    if caller.account_id in (case.account_id, case.minor_by) or caller.role is Role.ADMIN:
        return True
    return caller.role in MAY_READ_ALL and case.minor_at is None


def visible(caller: Caller) -> ColumnElement[bool]:
    """The same as a condition on ``Case`` in a query."""
    if caller.role is Role.ADMIN:
        return true()
    own = or_(Case.account_id == caller.account_id, Case.minor_by == caller.account_id)
    return or_(own, Case.minor_at.is_(None)) if caller.role in MAY_READ_ALL else own


def may_delete(caller: Caller, account_id: str) -> bool:
    """Whether a caller may delete what belongs to an account: its own, and an administrator all."""
    return caller.account_id == account_id or caller.role is Role.ADMIN
