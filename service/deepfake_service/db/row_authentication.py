"""Codes that authenticate rows, so that a row altered outside this program is refused, not used.

The code is an HMAC-SHA256 (RFC 2104) over the columns that decide something about people: decisions
and who made them, findings, flags, holds, roles, keys, expiry, digests. It is computed when the ORM
writes a row, and compared when the ORM loads one. Its key is not in the database in the clear, so
that write access to the database is not enough to forge a decision. A row replaced by an *earlier*
version of itself still has a valid code; the audit log, which is a chain, shows that.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, event, inspect, select
from sqlalchemy.orm import Mapper, Session, object_session
from sqlalchemy.orm.context import QueryContext

from deepfake_service.db.access_tables import Invitation, SecondFactor
from deepfake_service.db.contact_tables import Contact
from deepfake_service.db.hash_tables import FlaggedHashes
from deepfake_service.db.notice_tables import Notice, NoticeEvent
from deepfake_service.db.tables import (
    Account,
    AuditEntry,
    Authenticated,
    Case,
    Edition,
    Job,
    Key,
    Media,
    Occurrence,
    Review,
    RevokedEdition,
    SignIn,
    SigningKey,
)
from deepfake_service.errors import RecordAltered
from deepfake_service.observability.logs import logger

AUTHENTICATOR = "authenticator"
"""Key of the authenticator in the ``info`` of a session."""
_CHECKED_LATER = "checked_later"
"""Execution option of queries whose rows ``load_list`` checks after they were loaded."""
_VERSION = 1
"""The first byte of every code. It changes with the columns below or with their encoding."""

# Columns that are missing here are progress and keys: sealed values are bound to their row anyway.
COLUMNS: dict[type[Authenticated], tuple[str, ...]] = {
    Account: ("id", "name", "kind", "role", "created_at", "disabled_at", "second_factor"),
    Key: ("id", "account_id", "sha256", "created_at", "expires_at", "revoked_at"),
    SignIn: ("id", "key_id", "created_at", "expires_at"),
    Case: ("id", "account_id", "reference", "created_at", "reviewed_at", "held_at", "minor_at",
           "minor_by", "minor_from"),
    Media: ("id", "case_id", "sha256", "size", "created_at", "expires_at"),
    Occurrence: ("id", "case_id", "media_id", "digest", "sealed", "created_at"),
    Job: ("id", "case_id", "media_id", "account_id", "kind", "state", "frames", "bundle_sha256",
          "retention", "failure", "verdict", "leaning", "finding", "created_at", "finished_at",
          "evidence_expired_at"),
    Review: ("id", "job_id", "account_id", "decision", "sealed", "created_at"),
    Edition: ("id", "job_id", "number", "sha256", "blob", "imagery", "reviews",
              "created_at"),
    SigningKey: ("id", "purpose", "public_pem", "certificate_pem", "created_at", "retired_at",
                 "revoked_at"),
    Notice: ("id", "case_id", "account_id", "kind", "language", "state", "sealed", "created_at",
             "sent_at", "due_at", "answered_at", "withdraw_at"),
    NoticeEvent: ("id", "notice_id", "number", "account_id", "kind", "state", "digest", "sealed",
                  "created_at"),
    RevokedEdition: ("sha256", "state", "at"),
    FlaggedHashes: ("id", "case_id", "job_id", "digest", "flagged_by", "sealed", "created_at"),
    AuditEntry: ("number", "hash"),
    Invitation: ("id", "account_id", "created_at", "expires_at"),
    Contact: ("id", "sealed", "changed_at"),
    SecondFactor: ("id", "secret", "created_at", "confirmed_at", "last_step", "failures",
                   "paused_until"),
}  # fmt: skip
"""The authenticated columns of each table. The primary key is among them, so that codes cannot be
moved to another row."""

_ADDED_LATER = {
    Account.__tablename__: frozenset({"second_factor"}),
    SecondFactor.__tablename__: frozenset({"failures", "paused_until"}),
}
"""Columns that are left out of the code of a row while they are empty, so that codes made before
they were added remain valid."""

_log = logger("deepfake_service.records")


class RowAuthenticator:
    """Codes under one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.refused: set[tuple[str, str]] = set()
        """Tables and ids of the rows that were refused since this was created."""

    def code(self, table: str, values: Mapping[str, Any]) -> bytes:
        """Return the code of a row with these values of its authenticated columns."""
        later = _ADDED_LATER.get(table, frozenset())
        covered = {n: _canonical(v) for n, v in values.items() if v or n not in later}
        content = [_VERSION, table, covered]
        encoded = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        return bytes([_VERSION]) + hmac.digest(self._key, encoded, "sha256")

    def code_of(self, row: Authenticated) -> bytes:
        """Return the code that belongs to a row as it is in memory."""
        values = {name: getattr(row, name) for name in COLUMNS[type(row)]}
        return self.code(row.__tablename__, values)

    def is_authentic(self, row: Authenticated) -> bool:
        """Return whether a row has the code that belongs to it."""
        return row.mac is not None and hmac.compare_digest(row.mac, self.code_of(row))


def _canonical(value: Any) -> Any:
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


def refuse(authenticator: RowAuthenticator, table: str, row_id: object) -> RecordAltered:
    """Record and log that a row was altered, and return the error to raise."""
    authenticator.refused.add((table, str(row_id)))
    _log.error("record_altered", table=table, row=str(row_id))
    return RecordAltered(
        f"The row {row_id} of the table {table} was altered outside this program. `deepfake audit "
        "verify` lists such rows."
    )


@dataclass(frozen=True, slots=True)
class Listed:
    """Rows of a list, and the ids of records that were altered and are left out."""

    rows: list[Any]
    altered: list[str]


def _id_of(row: Authenticated) -> object:
    identity = inspect(row).identity
    return identity[0] if identity else None


def _check_loaded(row: Authenticated, context: QueryContext, *_: object) -> None:
    authenticator = authenticator_of(context.session)
    # The audit log is verified as a whole, so that the first entry that was altered is named.
    if authenticator is None or isinstance(row, AuditEntry):
        return
    if context.execution_options.get(_CHECKED_LATER) or authenticator.is_authentic(row):
        return
    raise refuse(authenticator, row.__tablename__, _id_of(row))


def load_list(session: Session, statement: Select[*tuple[Any, ...]]) -> Listed:
    """Return the rows of a query for a list, apart from those in which a record was altered.

    The first column of ``statement`` must be a model. An altered record must not prevent others
    from being listed.
    """
    authenticator = authenticator_of(session)
    listed = Listed([], [])
    refused: dict[int, Authenticated] = {}
    for row in session.execute(statement, execution_options={_CHECKED_LATER: True}):
        records = [r for r in row if isinstance(r, Authenticated)]
        altered = [r for r in records if authenticator and not authenticator.is_authentic(r)]
        if authenticator and altered:
            for record in altered:
                refuse(authenticator, record.__tablename__, _id_of(record))
                refused[id(record)] = record
            listed.altered.append(str(_id_of(row[0])))
        else:
            listed.rows.append(row)
    for record in refused.values():
        session.expunge(record)  # or this session would return it without a check
    return listed


def _seal_new(_: Mapper[Any], __: Connection, row: Authenticated) -> None:
    session = object_session(row)
    authenticator = authenticator_of(session) if session else None
    if authenticator is not None:
        row.mac = authenticator.code_of(row)


def _seal_changed(mapper: Mapper[Any], connection: Connection, row: Authenticated) -> None:
    """Renew the code of a row of which an authenticated column changes.

    The row is locked and read again: another transaction may have changed other columns since this
    one loaded it, and the code must cover what will be stored.
    """
    session = object_session(row)
    authenticator = authenticator_of(session) if session else None
    columns = COLUMNS[type(row)]
    state = inspect(row)
    changed = [name for name in columns if state.attrs[name].history.has_changes()]
    if authenticator is None or not changed:
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
        raise refuse(authenticator, table.name, key[0])
    row.mac = authenticator.code(
        table.name, {**current, **{name: getattr(row, name) for name in changed}}
    )


event.listen(Authenticated, "load", _check_loaded, propagate=True)
event.listen(Authenticated, "refresh", _check_loaded, propagate=True)
event.listen(Authenticated, "before_insert", _seal_new, propagate=True)
event.listen(Authenticated, "before_update", _seal_changed, propagate=True)
