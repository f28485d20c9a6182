"""Who may see what."""

from __future__ import annotations

from deepfake_service.accounts import MAY_READ_ALL, Caller


def may_see(caller: Caller, account_id: str) -> bool:
    """Whether a caller may see what belongs to an account."""
    return caller.account_id == account_id or caller.role in MAY_READ_ALL
