"""The journal: what protects people and must survive the restoration of an older database.

A backup knows nothing of the keys that were revoked, the second factors that were switched on, the
flags and holds that were set, the editions that were replaced and the cases that were deleted after
it was made. Each of these is a row of the table ``protections``, which is part of every backup, and
of a file outside the database: ids and times only, signed as a whole by an HMAC-SHA256 (RFC 2104)
under a key that the master key wraps.

Both are sets. Of two rows about the same thing, the one of the higher version counts; in which
order or how often the file is merged into the database (``retention/restoration.py``) does not
matter. What the database lacks stays in the file: otherwise, whoever puts an older database in
place would only have to wait for a worker to overwrite it. Both forget the oldest deletions, and
remember until when.
"""

from __future__ import annotations

import hmac
import json
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

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
"""How many are remembered. Writing the file takes a second or two then; a centre never gets there,
a pipeline that deletes 100,000 jobs a day makes a backup each day."""
_SPARE = MOST_DELETIONS // 10
"""How many more there may be before the oldest are forgotten."""
_PAUSE = 20
"""How many times as long as it took to write the file a worker waits before it writes it again."""
_NAME = "journal"

_log = logger("deepfake_service.journal")


def protect(session: Session, kind: str, subject: str, value: str) -> None:
    """Record something that an older database must not undo, or with an empty ``value`` lift it."""
    row = session.get(Protection, (kind, subject))
    if row is None:
        session.add(Protection(kind=kind, subject=subject, version=1, value=value))
    else:
        row.version, row.value = row.version + 1, value


def refuse_backup(database: Database) -> None:
    """Raise ``DatabaseError`` if a database is a backup that nobody has restored."""
    with database.read() as session:
        mark = session.get(Fact, BACKUP_FACT)
    if mark is not None:
        raise DatabaseError(
            f"This database is a backup of {json.loads(mark.value)['made_at'][:16]} UTC. Run "
            "`deepfake restore`, so that keys stay revoked and deleted cases stay deleted."
        )


@dataclass(frozen=True, slots=True)
class Stored:
    """What a journal has: when it was written, the version and the value of each row, and the time
    until which deletions are forgotten."""

    written_at: datetime
    rows: dict[tuple[str, str], tuple[int, str]]
    forgotten: str = ""

    def lacks(self, kind: str, subject: str, version: int, value: str) -> bool:
        """Return whether it does not have a row that it has not forgotten either."""
        if version <= self.rows.get((kind, subject), (0, ""))[0]:
            return False
        return kind not in DELETIONS or value > self.forgotten


class Journal:
    """The journal of a database. Several processes may write it."""

    def __init__(self, path: Path, database: Database, key: bytes) -> None:
        self.path = path
        self._database = database
        self._key = key
        self._written: tuple[int, int, str] | None = None
        self._pause_until = 0.0

    def write(self, *, anew: bool = False, if_changed: bool = False) -> bool:
        """Write into the file what the database has, and return whether it lacks something that the
        file has: then an older one was put in its place. Unless the file is written ``anew``, it
        keeps that. ``DataDirError`` if the file was altered, or cannot be read or written."""
        # The file first: what another process writes meanwhile is in the database already.
        kept = self.read() if self.path.exists() and not anew else None
        with self._database.read() as session:
            state = _state(session)
            found = session.execute(select(*Protection.__table__.c))
            now = Stored(self._database.clock(), {row[:2]: row[2:] for row in found}, state[2])
        lacking = {}
        if kept is not None:
            lacking = {key: row for key, row in kept.rows.items() if now.lacks(*key, *row)}
        rows, forgotten = now.rows | lacking, max(now.forgotten, kept.forgotten if kept else "")
        if not (if_changed and kept and (kept.rows, kept.forgotten) == (rows, forgotten)):
            content = {
                "type": "deepfake-service/journal/1",
                "written_at": now.written_at.isoformat(),
                "forgotten": forgotten,
                "rows": [[*key, *row] for key, row in sorted(rows.items())],
            }
            private_folder(self.path.parent)
            replace_private(self.path, json.dumps({**content, "mac": self._mac(content)}) + "\n")
        if lacking:
            _log.error("database_was_older", rows=len(lacking))
        self._written = None if lacking else state
        return bool(lacking)

    def catch_up(self, *, may_pause: bool = False) -> bool:
        """Write the file if it differs from the database, unless neither has changed since this
        process wrote it, or it ``may_pause`` after a long write; return, as ``write`` does, whether
        the database lacks something."""
        began = time.monotonic()
        if may_pause and began < self._pause_until:
            return False
        self._forget()
        with self._database.read() as session:
            is_current = _state(session) == self._written
        if is_current and self.path.exists():
            return False
        is_older = self.write(if_changed=True)
        self._pause_until = time.monotonic() + _PAUSE * (time.monotonic() - began)
        return is_older

    def _forget(self) -> None:
        """Delete the oldest deletions from the database if there are too many."""
        are_deletions = Protection.kind.in_(DELETIONS)
        with self._database.read() as session:
            count = session.scalar(select(func.count()).where(are_deletions)) or 0
        if count <= MOST_DELETIONS + _SPARE:
            return
        with self._database.write() as session:
            times = select(Protection.value).where(are_deletions).order_by(Protection.value.desc())
            until = session.scalars(times.offset(MOST_DELETIONS).limit(1)).one()
            session.execute(delete(Protection).where(are_deletions, Protection.value <= until))
            session.merge(Fact(name=_NAME, value=until))

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
                content["forgotten"],
            )
        except OSError as error:
            raise DataDirError(f"{path} cannot be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataDirError(f"{path} is not a journal of this service.") from error

    def _mac(self, content: dict[str, Any]) -> str:
        encoded = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        return hmac.digest(self._key, encoded, "sha256").hex()


def _state(session: Session) -> tuple[int, int, str]:
    """Return what changes with every change of the table. Its last part is the time until which
    deletions are forgotten."""
    count, versions = session.execute(select(func.count(), func.sum(Protection.version))).one()
    forgotten = session.get(Fact, _NAME)
    return count, versions or 0, forgotten.value if forgotten else ""


def open_journal(settings: Settings, database: Database) -> Journal:
    """Open the journal that ``settings`` name."""
    key = installation_secret(database, open_keys(settings), _NAME)
    return Journal(settings.journal_path, database, key)
