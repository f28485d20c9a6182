"""Who may see and delete what."""

from __future__ import annotations

from deepfake_service.accounts import MAY_READ_ALL, Caller, Role


def may_see(caller: Caller, account_id: str) -> bool:
    """Whether a caller may see what belongs to an account."""
    return caller.account_id == account_id or caller.role in MAY_READ_ALL


def may_delete(caller: Caller, account_id: str) -> bool:
    """Whether a caller may delete what belongs to an account: its own, and an administrator all."""
    return caller.account_id == account_id or caller.role is Role.ADMIN
