"""The journal: what protects people and must survive the restoration of an older database.

A backup knows nothing of the keys that were revoked, the second factors that were switched on, the
flags and holds that were set, the editions that were replaced and the cases that were deleted after
it was made. Each of these is a row of the table ``protections``, which is part of every backup, and
of a file outside the database: ids and times only, signed as a whole by an HMAC-SHA256 (RFC 2104)
under a key that the master key wraps.

Both are sets. Of two rows about the same thing, the one of the higher version counts; in which
order or how often the file is merged into the database (``retention/restoration.py``) does not
matter. What the database lacks stays in the file: otherwise, a person who puts an older database in
place would only have to wait for a worker to overwrite it. Of deletions, both have the last ones.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from deepfake_service.platform.db import Database, Fact, Protection
from deepfake_service.platform.errors import DatabaseError, DataDirError
from deepfake_service.platform.files import private_folder, replace_private
from deepfake_service.platform.logs import logger
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import installation_secret, open_keys

BACKUP_FACT = "backup"
"""Name of the fact that a database is the copy that ``deepfake backup`` made."""
DELETIONS = ("case", "job", "capture")
"""Kinds of protections that have their time, in ISO 8601, as their value."""
MOST_DELETIONS = 200_000
"""How many are remembered, of which the file takes a second or two to write. A centre never gets
there; a pipeline that deletes 100,000 jobs a day makes a backup each day."""
_SPARE = MOST_DELETIONS // 10  # rows, before the oldest deletions are forgotten
_NAME = "journal"
Rows = dict[tuple[str, str], tuple[int, str]]
"""Protections: the version and the value by the kind and the id of the subject."""

_log = logger("deepfake_service.journal")


def protect(session: Session, kind: str, subject: str, value: str) -> None:
    """Record something that an older database must not undo, or with an empty ``value`` lift it."""
    row = session.get(Protection, (kind, subject))
    if row is None:
        session.add(Protection(kind=kind, subject=subject, version=1, value=value))
    else:
        row.version, row.value = row.version + 1, value


def refuse_backup(database: Database) -> None:
    """Raise ``DatabaseError`` if a database is a backup that was not restored."""
    with database.read() as session:
        mark = session.get(Fact, BACKUP_FACT)
    if mark is not None:
        raise DatabaseError(
            f"This database is a backup of {json.loads(mark.value)['made_at'][:16]} UTC. Run "
            "`deepfake restore`, so that keys stay revoked and deleted cases stay deleted."
        )


@dataclass(frozen=True, slots=True)
class Stored:
    """What a journal has, and when it was written."""

    written_at: datetime
    rows: Rows


class Journal:
    """The journal of a database. Several processes may write it."""

    def __init__(self, path: Path, database: Database, key: bytes) -> None:
        self.path = path
        self._database = database
        self._key = key
        self._written: tuple[int, int] | None = None

    def write(self, *, anew: bool = False, if_changed: bool = False) -> bool:
        """Write into the file what the database has, and return whether it lacks something that the
        file has: then an older one was put in its place. Unless the file is written ``anew``, it
        keeps that. ``DataDirError`` if the file was altered, or cannot be read or written."""
        # The file first: what another process writes meanwhile is in the database already.
        kept = self.read().rows if self.path.exists() and not anew else {}
        with self._database.read() as session:
            state, rows = _state(session), rows_of(session)
        lacks = lacking(rows, kept)
        rows |= lacks
        if not if_changed or rows != kept:
            content = {
                "type": "deepfake-service/journal/1",
                "written_at": self._database.clock().isoformat(),
                "rows": [[*key, *row] for key, row in sorted(rows.items())],
            }
            private_folder(self.path.parent)
            replace_private(self.path, json.dumps({**content, "mac": self._mac(content)}) + "\n")
        if lacks:
            _log.error("database_was_older", rows=len(lacks))
        self._written = None if lacks else state
        return bool(lacks)

    def catch_up(self) -> bool:
        """Write the file if it differs from the database, which is only looked at if that has
        changed since this process wrote it; return, as ``write`` does, whether the database lacks
        something."""
        with self._database.read() as session:
            state = _state(session)
        exists = self.path.exists()
        if exists and state == self._written:
            return False
        if state[0] > MOST_DELETIONS + _SPARE:
            self._forget()
        return self.write(if_changed=exists)

    def _forget(self) -> None:
        """Delete all but the last deletions from the database."""
        are_deletions = Protection.kind.in_(DELETIONS)
        times = select(Protection.value).where(are_deletions).order_by(Protection.value.desc())
        with self._database.write() as session:
            first = session.scalars(times.offset(MOST_DELETIONS - 1).limit(1)).first()
            if first is not None:
                session.execute(delete(Protection).where(are_deletions, Protection.value < first))

    def read(self, path: Path | None = None) -> Stored:
        """Return what a journal has; by default, what the one of this installation has.
        ``DataDirError`` if the file cannot be read, was altered, or belongs to another
        installation."""
        path = path or self.path
        try:
            content = json.loads(path.read_bytes())
            stated = content.pop("mac")
            if not hmac.compare_digest(stated, self._mac(content)):
                raise DataDirError(f"{path} was altered, or belongs to another installation.")
            return Stored(
                datetime.fromisoformat(content["written_at"]),
                {(kind, subject): (v, value) for kind, subject, v, value in content["rows"]},
            )
        except OSError as error:
            raise DataDirError(f"{path} cannot be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataDirError(f"{path} is not a journal of this service.") from error

    def _mac(self, content: Mapping[str, object]) -> str:
        encoded = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        return hmac.digest(self._key, encoded, "sha256").hex()


def rows_of(session: Session) -> Rows:
    """Return the protections that a database has."""
    columns = Protection.kind, Protection.subject, Protection.version, Protection.value
    return {
        (kind, subject): (v, value) for kind, subject, v, value in session.execute(select(*columns))
    }


def forgotten(rows: Rows) -> str:
    """Return the time before which deletions are forgotten; an empty one if none are."""
    times = [value for (kind, _), (_, value) in rows.items() if kind in DELETIONS]
    return min(times) if len(times) >= MOST_DELETIONS else ""


def lacking(rows: Rows, others: Rows) -> Rows:
    """Return which of ``others`` are lacking in ``rows``, and are not forgotten there."""
    first = forgotten(rows)
    return {
        key: row
        for key, row in others.items()
        if row[0] > rows.get(key, (0, ""))[0] and (key[0] not in DELETIONS or row[1] >= first)
    }


def _state(session: Session) -> tuple[int, int]:
    """Return numbers that change with every change of the table."""
    count, versions = session.execute(select(func.count(), func.sum(Protection.version))).one()
    return count, versions or 0


def open_journal(settings: Settings, database: Database) -> Journal:
    """Open the journal that ``settings`` name."""
    key = installation_secret(database, open_keys(settings), _NAME)
    return Journal(settings.journal_path, database, key)
