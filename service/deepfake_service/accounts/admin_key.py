"""The keys by which an administrator can sign in: on the first start, or set in the environment."""

from __future__ import annotations

import contextlib

from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import (
    ENVIRONMENT_ID,
    NewKey,
    create_account,
    exclude_others,
    generate_key,
    has_administrator,
    key_hash,
    store_key,
)
from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.platform.db import Account, Database, Key
from deepfake_service.platform.enums import Role
from deepfake_service.platform.files import replace_private
from deepfake_service.platform.settings import Settings

ADMIN_KEY_FILE = "admin-key"
FIRST_ACCOUNT = "administrator"


def ensure_admin_key(database: Database, settings: Settings, *, terminal: bool) -> str | None:
    """Ensure that an administrator can sign in.

    1. ``DEEPFAKE_ADMIN_KEY`` replaces the key of its earlier value. If it is no longer set,
       that key is revoked.
    2. If no administrator has a valid key, one is created. On a terminal its text is returned
       and must be shown once; otherwise it is written to a 0600 file in the data directory.

    Returns:
        The text of the key that was created, or ``None``.
    """
    text = settings.admin_key.get_secret_value() if settings.admin_key else None
    with database.write() as session:
        # Several services may do this at once, while the only other administrator is removed.
        exclude_others(database, session)
        _set_environment_key(session, text)
        if has_administrator(session):
            return None
        account = _administrator(session, FIRST_ACCOUNT)
        account.disabled_at = None
        new = generate_key(account.id, None)
        if not terminal:
            # Written before it is stored: a crash in between would lock everyone out.
            replace_private(settings.data_dir / ADMIN_KEY_FILE, new.text + "\n")
        store_key(session, new, SERVICE)
    return new.text


def delete_key_file(settings: Settings, key: str) -> None:
    """Delete the file of the first key once its owner has signed in, and so has a copy. Otherwise
    anyone who copies the data directory would stay an administrator."""
    path = settings.data_dir / ADMIN_KEY_FILE
    with contextlib.suppress(OSError):
        if path.read_bytes().strip() == key.encode():
            path.unlink()


def _administrator(session: Session, name: str) -> Account:
    found = session.scalars(select(Account).where(Account.name == name)).first()
    return found or create_account(session, name, "person", Role.ADMIN, SERVICE)


def _set_environment_key(session: Session, text: str | None) -> None:
    key = session.get(Key, ENVIRONMENT_ID)
    if text is None:
        if key is not None:
            session.delete(key)
            append_entry(session, SERVICE, Action.KEY_REVOKED, ENVIRONMENT_ID)
        return
    if key is not None and key.sha256 == key_hash(text):
        return
    if key is not None:
        session.delete(key)
        session.flush()
    account = _administrator(session, ENVIRONMENT_ID)
    store_key(session, NewKey(ENVIRONMENT_ID, account.id, None, text), SERVICE)
