"""Codes that authenticate the rows by which people get in, and the entries of the audit log.

The code is an HMAC-SHA256 (RFC 2104) over the columns that decide something. It is computed when
the ORM writes a row, and compared when the ORM loads one. Its key is not in the database in the
clear, so that write access to the database is not enough to make an administrator, a session or an
entry of the log. A row replaced by an *earlier* version of itself still has a valid code. So what
was decided on cases is compared with the audit log instead; see ``evidence/chain_of_custody.py``.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import Connection, Table, event, inspect, select
from sqlalchemy.orm import Mapper, Session, object_session
from sqlalchemy.orm.context import QueryContext

from deepfake_service.platform.db.columns import Authenticated
from deepfake_service.platform.db.installation_tables import (
    Account,
    AuditEntry,
    Invitation,
    Key,
    SecondFactor,
    SignIn,
    SigningKey,
)
from deepfake_service.platform.errors import RecordAltered
from deepfake_service.platform.logs import logger

AUTHENTICATOR = "authenticator"
"""Key of the authenticator in the ``info`` of a session."""

COLUMNS: dict[type[Authenticated], tuple[str, ...]] = {
    Account: ("id", "name", "kind", "role", "created_at", "disabled_at", "second_factor"),
    Key: ("id", "account_id", "sha256", "created_at", "expires_at", "revoked_at"),
    SignIn: ("id", "key_id", "created_at", "expires_at"),
    Invitation: ("id", "account_id", "created_at", "expires_at", "key_expires_at"),
    SecondFactor: ("id", "secret", "created_at", "confirmed_at", "last_step", "failures",
                   "paused_until"),
    SigningKey: ("id", "purpose", "public_pem", "certificate_pem", "created_at", "retired_at",
                 "revoked_at"),
    AuditEntry: ("number", "hash"),
}  # fmt: skip
"""The authenticated columns of each table. The primary key is among them, so that codes cannot be
moved to another row."""

_log = logger("deepfake_service.records")


class RowAuthenticator:
    """Codes under one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.refused: set[tuple[str, str]] = set()
        """Tables and ids of the records that were refused since this was created."""

    def code(self, table: str, values: Mapping[str, object]) -> bytes:
        """Return the code of a row with these values of its authenticated columns."""
        content = [table, {name: _canonical(value) for name, value in values.items()}]
        encoded = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        return hmac.digest(self._key, encoded, "sha256")

    def code_of(self, row: Authenticated) -> bytes:
        """Return the code that belongs to a row as it is in memory."""
        values = {name: getattr(row, name) for name in COLUMNS[type(row)]}
        return self.code(row.__tablename__, values)


def _canonical(value: object) -> object:
    """Return a value as JSON data: the same for what was set and for what a database returns."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return str(value) if isinstance(value, str) else value


def authenticator_of(session: Session) -> RowAuthenticator | None:
    """Return the authenticator of a session's database, if it has one."""
    found: RowAuthenticator | None = session.info.get(AUTHENTICATOR)
    return found


def is_authentic(session: Session, row: Authenticated) -> bool:
    """Return whether a row has the code that belongs to it, if its database has codes."""
    authenticator = authenticator_of(session)
    if authenticator is None:
        return True
    return row.mac is not None and hmac.compare_digest(row.mac, authenticator.code_of(row))


def refuse(
    session: Session, table: str, row_id: object, reason: str | None = None
) -> RecordAltered:
    """Count and log that a record was altered, and return the error to raise."""
    authenticator = authenticator_of(session)
    if authenticator is not None:
        authenticator.refused.add((table, str(row_id)))
    _log.error("record_altered", table=table, row=str(row_id), reason=reason)
    return RecordAltered()


def _check_loaded(row: Authenticated, context: QueryContext, *_: object) -> None:
    # The audit log is verified as a whole, so that the first entry that was altered is named.
    if isinstance(row, AuditEntry) or is_authentic(context.session, row):
        return
    identity = inspect(row).identity
    raise refuse(context.session, row.__tablename__, identity[0] if identity else None)


def _seal_new(_: Mapper[Authenticated], __: Connection, row: Authenticated) -> None:
    session = object_session(row)
    authenticator = authenticator_of(session) if session else None
    if authenticator is not None:
        row.mac = authenticator.code_of(row)


def _seal_changed(
    mapper: Mapper[Authenticated], connection: Connection, row: Authenticated
) -> None:
    """Renew the code of a row of which an authenticated column changes.

    The row is locked and read again: another transaction may have changed other columns since this
    one loaded it, and the code must cover what will be stored.
    """
    session = object_session(row)
    authenticator = authenticator_of(session) if session else None
    columns = COLUMNS[type(row)]
    state = inspect(row)
    changed = [name for name in columns if state.attrs[name].history.has_changes()]
    if session is None or authenticator is None or not changed:
        return
    table = mapper.local_table
    assert isinstance(table, Table)
    key = mapper.primary_key_from_instance(row)
    query = select(*(table.c[name] for name in columns), table.c.mac).where(
        *(c == k for c, k in zip(table.primary_key.columns, key, strict=True))
    )
    stored = connection.execute(query.with_for_update()).mappings().one_or_none()
    if stored is None:
        return  # the row was deleted, which the update itself reports
    current = {name: stored[name] for name in columns}
    if not hmac.compare_digest(stored["mac"] or b"", authenticator.code(table.name, current)):
        raise refuse(session, table.name, key[0])
    row.mac = authenticator.code(
        table.name, {**current, **{name: getattr(row, name) for name in changed}}
    )


event.listen(Authenticated, "load", _check_loaded, propagate=True)
event.listen(Authenticated, "refresh", _check_loaded, propagate=True)
event.listen(Authenticated, "before_insert", _seal_new, propagate=True)
event.listen(Authenticated, "before_update", _seal_changed, propagate=True)
