"""Restoration of an older database: what protects people holds again before anything is served.

The journal is merged into the database as a set. Keys stay revoked or keep their ends, accounts
stay disabled or protected by a second factor, flags and holds are set again, what was deleted is
deleted again, and editions of evidence that were replaced stay so. What was lifted after a backup
stays in force until a person lifts it again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import end_of
from deepfake_service.audit.journal import BACKUP_FACT, Journal, Stored, forgotten, lacking, rows_of
from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.cases.case_lock import lock_case
from deepfake_service.evidence.signing_keys import SigningKeys
from deepfake_service.platform.db import (
    Account,
    AuditEntry,
    Capture,
    Case,
    Database,
    Fact,
    Invitation,
    Job,
    Key,
    Protection,
    RevokedEdition,
    SecondFactor,
    SignIn,
    SigningKey,
    current_time,
)
from deepfake_service.platform.enums import EditionState, JobState
from deepfake_service.platform.errors import DataDirError
from deepfake_service.retention.deletion import delete_capture_rows, delete_case_key

Renewal = Callable[[Session, str, str], bool]
"""Does again what a protection says, by the id of its subject and its value; whether that changed
anything."""


def merge_journal(database: Database, journal: Journal, signing_keys: SigningKeys) -> None:
    """Write the journal if it is behind, and merge it into a database that lacks something and so
    is an older one: when a process starts, and every few seconds while a worker runs.
    ``DataDirError`` if the journal was altered, or cannot be read or written."""
    if journal.catch_up():
        merge(database, journal.read())
        finish(database, signing_keys, "the journal")
        journal.catch_up()


def require_complete(database: Database, stored: Stored) -> bool:
    """Check that a journal is not older than a database that is being restored, and return whether
    it has all deletions since; ``DataDirError`` if it was written before the backup was made, or
    the database has rows that it lacks, so that it cannot say what happened after the backup."""
    with database.read() as session:
        mark = session.get(Fact, BACKUP_FACT)
        rows = rows_of(session)
        last = session.scalar(select(func.max(AuditEntry.at)))
    made_at = datetime.fromisoformat(json.loads(mark.value)["made_at"]) if mark else None
    if lacking(stored.rows, rows) or (made_at and stored.written_at < made_at):
        raise DataDirError(
            f"The journal of {stored.written_at:%Y-%m-%d %H:%M} UTC is older than the backup. Name "
            "the newest one, or pass --without-journal if it is lost."
        )
    known, first = made_at or last, forgotten(stored.rows)
    return not (known and first and known < datetime.fromisoformat(first))


def merge(database: Database, stored: Stored) -> Counter[str]:
    """Do again what a journal has and the database lacks, and return how many rows of each kind
    changed something. If interrupted, it can be repeated."""
    with database.read() as session:
        lacks = lacking(rows_of(session), stored.rows)
    changed = Counter[str]()
    for (kind, subject), (version, value) in lacks.items():
        with database.write() as session:
            if value:
                changed[kind] += _RENEWALS[kind](session, subject, value)
            row = session.get(Protection, (kind, subject)) or Protection(kind=kind, subject=subject)
            row.version, row.value = version, value
            session.add(row)
    return +changed


def distrust(database: Database) -> int:
    """Revoke all keys, because it is unknown which ones were revoked; return how many."""
    with database.write() as session:
        keys = session.scalars(select(Key).where(Key.revoked_at.is_(None))).all()
        return sum(_RENEWALS["key"](session, key.id, "lost") for key in keys)


def finish(database: Database, signing_keys: SigningKeys, restored: str) -> None:
    """Renew the signing keys, end all sign-ins, and let the database be served again. Invitations
    end as well, because it is unknown which ones were used."""
    if signing_keys.all():
        signing_keys.rotate()
    with database.write() as session:
        for table in (SignIn, Invitation):
            session.execute(delete(table))
        session.execute(delete(Fact).where(Fact.name == BACKUP_FACT))
        append_entry(session, SERVICE, Action.RESTORED, detail=restored)


def _stamp(
    model: type[Account | Case | Key], column: str, action: Action, by: str | None = None
) -> Renewal:
    """Return what sets a time that a row lacks, for instance when its legal hold was set. The
    column ``by`` gets the value of the protection."""

    def renew(session: Session, row_id: str, value: str) -> bool:
        row = session.get(model, row_id, with_for_update=True, populate_existing=True)
        if row is None or getattr(row, column) is not None:
            return False
        setattr(row, column, current_time(session))
        if by is not None:
            setattr(row, by, value)
        append_entry(session, SERVICE, action, row_id, value)
        return True

    return renew


def _end_key(session: Session, key_id: str, value: str) -> bool:
    key, end = session.get(Key, key_id), end_of(value)
    if key is None or key.expires_at == end:
        return False
    key.expires_at = end
    append_entry(session, SERVICE, Action.KEY_CHANGED, key_id, value)
    return True


def _require_second_factor(session: Session, account_id: str, _: str) -> bool:
    """Refuse the keys of an account whose second factor is lost with the newer database. A stored
    one is older, or was never confirmed."""
    account, factor = session.get(Account, account_id), session.get(SecondFactor, account_id)
    if account is None:
        return False
    account.second_factor = True
    if factor is not None:
        session.delete(factor)
    append_entry(session, SERVICE, Action.SECOND_FACTOR_ADDED, account_id)
    return True


def _publish_signing_key(session: Session, key_id: str, value: str) -> bool:
    """Publish a key that was made later, and whose private part is lost."""
    if session.get(SigningKey, key_id) is not None:
        return False
    made = json.loads(value)
    created_at = datetime.fromisoformat(made.pop("created_at"))
    now = current_time(session)
    session.add(SigningKey(id=key_id, created_at=created_at, retired_at=now, **made))
    return True


def _revoke_signing_key(session: Session, key_id: str, _: str) -> bool:
    key = session.get(SigningKey, key_id)
    if key is None or key.revoked_at is not None:
        return False
    key.revoked_at = current_time(session)
    key.retired_at = key.retired_at or key.revoked_at
    append_entry(session, SERVICE, Action.SIGNING_KEY_REVOKED, detail=key_id)
    return True


def _list_edition(session: Session, sha256: str, value: str) -> bool:
    session.merge(
        RevokedEdition(sha256=sha256, state=EditionState(value), at=current_time(session))
    )
    return True


def _delete_case(session: Session, case_id: str, _: str) -> bool:
    case = lock_case(session, case_id)
    if case is None or case.wrapped_key is None:
        return False
    delete_case_key(session, SERVICE, Action.CASE_SHREDDED, case)  # the next sweep does the rest
    return True


def _cancel_job(session: Session, job_id: str, _: str) -> bool:
    job = session.get(Job, job_id)
    if job is None or job.state == JobState.CANCELLED:
        return False
    job.state, job.finished_at = JobState.CANCELLED, job.finished_at or current_time(session)
    append_entry(session, SERVICE, Action.JOB_DELETED, job_id)
    return True


def _delete_capture(session: Session, capture_id: str, _: str) -> bool:
    if session.get(Capture, capture_id) is None:
        return False
    delete_capture_rows(session, SERVICE, capture_id)  # the sweep of orphans does the rest
    return True


_RENEWALS: dict[str, Renewal] = {
    "key": _stamp(Key, "revoked_at", Action.KEY_REVOKED),
    "key_end": _end_key,
    "account": _stamp(Account, "disabled_at", Action.ACCOUNT_DISABLED),
    "second_factor": _require_second_factor,
    "signing_key": _publish_signing_key,
    "revoked_key": _revoke_signing_key,
    "edition": _list_edition,
    "hold": _stamp(Case, "held_at", Action.HOLD_SET),
    "minor": _stamp(Case, "minor_at", Action.MINOR_FLAGGED, by="minor_by"),
    "case": _delete_case,
    "job": _cancel_job,
    "capture": _delete_capture,
}
"""What is done again for each kind of protection."""
