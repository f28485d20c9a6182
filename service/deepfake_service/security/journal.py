"""The journal: what protects people and must survive the restoration of an older database.

A backup knows nothing of the keys that were revoked or got an end, the second factors that were
switched on, the flags and holds that were set, the editions of evidence that replaced others and
the cases that were deleted after it was made. The journal is a copy of these entries of the audit
log in a file outside the database: ids, digests and times only, one JSON object a line, appended
and never changed. Each line has an HMAC-SHA256 (RFC 2104) over it and the code of the line before,
under a key that the master key wraps, so that lines cannot be added, changed or taken out of the
middle.

A database whose audit log ends before its journal does was replaced by an older one. It is refused
until ``deepfake restore`` has replayed the journal.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deepfake_service.db import AuditEntry, Database, Edition, Fact, Secret, SigningKey
from deepfake_service.db.tables import DIGEST_CHARS
from deepfake_service.errors import DatabaseError, DataDirError
from deepfake_service.files import private_folder
from deepfake_service.security.audit_log import Action, entry_json
from deepfake_service.settings import Settings
from deepfake_service.storage import installation_secret, open_keys

BACKUP_FACT = "backup"
"""Name of the fact that a database is the copy that ``deepfake backup`` made."""
RESTORING_FACT = "restoring"
"""Name of the fact that a restoration has begun: the last entry of the log before it."""
JOURNALED = (
    Action.KEY_REVOKED,
    Action.KEY_ROTATED,
    Action.KEY_CHANGED,
    Action.ACCOUNT_DISABLED,
    Action.SECOND_FACTOR_ADDED,
    Action.SECOND_FACTOR_REMOVED,
    Action.SIGNING_KEYS_MADE,
    Action.SIGNING_KEY_REVOKED,
    Action.EVIDENCE_MADE,
    Action.EDITION_WITHDRAWN,
    Action.HOLD_SET,
    Action.HOLD_LIFTED,
    Action.MINOR_FLAGGED,
    Action.MINOR_UNFLAGGED,
    Action.CASE_SHREDDED,
    Action.CASE_EXPIRED,
    Action.JOB_DELETED,
    Action.MEDIA_EXPIRED,
    Action.SCREENSHOT_EXPIRED,
    Action.EVIDENCE_EXPIRED,
)
_NAME = "journal"
_PAGE = 1000
_TAIL_BYTES = 64 * 1024
"""More than the longest line has."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An entry of the audit log in the journal.

    ``keys`` are the public signing keys that it created, ``sha256`` is the digest of the edition
    that it made or withdrew, and ``superseded`` that of the one before the edition that it made.
    """

    number: int
    at: str
    account: str | None
    action: str
    subject: str | None
    detail: str | None
    keys: tuple[dict[str, Any], ...] = ()
    sha256: str | None = None
    superseded: str | None = None


class Journal:
    """The journal of a database in the file ``path``. Several processes may append to it."""

    def __init__(self, path: Path, database: Database, key: bytes) -> None:
        self._path = path
        self._database = database
        self._key = key
        self._searched = 0
        """The last entry of the audit log up to which there is nothing to append."""

    def catch_up(self) -> None:
        """Append the entries that were committed since the last call, by any process.

        Raises:
            DataDirError: the file cannot be read or written.
        """
        if not self._path.exists():
            with _locked(self._path):
                pass  # a restoration tells an empty journal from a lost one
        after = max(last_number(self._path), self._searched)
        with self._database.read() as session:
            head = session.scalar(select(func.max(AuditEntry.number))) or 0
            newer = select(AuditEntry.number).where(
                AuditEntry.number > after, AuditEntry.action.in_(JOURNALED)
            )
            is_behind = session.scalars(newer.limit(1)).first() is not None
        if not is_behind:
            self._searched = head
            return
        with _locked(self._path) as file:
            last = _last_line(self._path)
            after, code = (last["number"], last["mac"]) if last else (0, "")
            while True:
                with self._database.read() as session:
                    contents = list(_contents(session, after))
                if not contents:
                    return
                lines = []
                for content in contents:
                    code = _code(self._key, code, content)
                    lines.append(_encoded({**content, "mac": code}) + b"\n")
                os.write(file, b"".join(lines))
                os.fsync(file)
                after = contents[-1]["number"]


def open_journal(settings: Settings, database: Database) -> Journal:
    """Open the journal that ``settings`` name."""
    key = installation_secret(database, open_keys(settings), _NAME)
    return Journal(settings.journal_path, database, key)


def require_newest(settings: Settings, database: Database) -> None:
    """Check that a database is neither a backup, nor older than its journal, nor half restored.

    Raises:
        DatabaseError: it is, and nobody has run ``deepfake restore``. DataDirError: the journal
            cannot be read.
    """
    with database.read() as session:
        mark, restoring = session.get(Fact, BACKUP_FACT), session.get(Fact, RESTORING_FACT)
        head = session.scalar(select(func.max(AuditEntry.number))) or 0
    if mark is not None:
        raise DatabaseError(
            f"This database is a backup of {json.loads(mark.value)['made_at'][:16]} UTC. Run "
            "`deepfake restore`, so that keys stay revoked and deleted cases stay deleted."
        )
    if restoring is not None:
        raise DatabaseError(
            "A restoration of this database was interrupted. Run `deepfake restore` again, with "
            "the same --journal and without a folder."
        )
    last = last_number(settings.journal_path)
    if last > head:
        raise DatabaseError(
            f"The database is older than its journal, {settings.journal_path}: the audit log ends "
            f"at entry {head}, and the journal at entry {last}. Run `deepfake restore`, so that "
            "keys stay revoked and deleted cases stay deleted."
        )


def read_journal(path: Path, settings: Settings, database: Database) -> list[JournalEntry]:
    """Return the entries of a journal, in order, after checking their codes.

    A last line that a power failure cut off is ignored.

    Raises:
        DataDirError: the file cannot be read, was altered, or belongs to another installation.
    """
    with database.read() as session:
        is_known = session.get(Secret, _NAME) is not None
    if not is_known:
        raise DataDirError(
            "The backup was made before this installation had a journal, so the journal "
            "cannot be verified. Restore it with --without-journal."
        )
    key = installation_secret(database, open_keys(settings), _NAME)
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise DataDirError(f"{path} cannot be read: {error.strerror}.") from error
    entries, code = [], ""
    for line in lines:
        content = _decoded(path, line)
        stated = content.pop("mac")
        code = _code(key, code, content)
        if not hmac.compare_digest(code, stated):
            raise DataDirError(f"{path} was altered, or belongs to another installation.")
        entries.append(JournalEntry(**{**content, "keys": tuple(content.get("keys", ()))}))
    return entries


def last_number(path: Path) -> int:
    """Return the number of the last entry of a journal, or 0 if there is none.

    Raises:
        DataDirError: the file cannot be read.
    """
    last = _last_line(path)
    return last["number"] if last else 0


def _last_line(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataDirError(f"{path} cannot be read: {error.strerror}.") from error
    return _decoded(path, lines[-1]) if lines else None


def _decoded(path: Path, line: bytes) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(line)
        if not isinstance(content["number"], int) or not isinstance(content["mac"], str):
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        raise DataDirError(f"{path} is not a journal of this service.") from error
    return content


def _encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _code(key: bytes, previous: str, content: dict[str, Any]) -> str:
    return hmac.digest(key, previous.encode() + _encoded(content), "sha256").hex()


def _contents(session: Session, after: int) -> Iterator[dict[str, Any]]:
    entries = session.scalars(
        select(AuditEntry)
        .where(AuditEntry.number > after, AuditEntry.action.in_(JOURNALED))
        .order_by(AuditEntry.number)
        .limit(_PAGE)
    )
    for entry in entries:
        content = entry_json(entry)
        del content["key"]
        if entry.action == Action.SIGNING_KEYS_MADE:
            content["keys"] = _signing_keys(session, entry)
        if entry.action == Action.EDITION_WITHDRAWN:
            content["sha256"] = _withdrawn(session, entry)
        if entry.action == Action.EVIDENCE_MADE:
            content |= _made(session, entry)
        yield content


def _withdrawn(session: Session, entry: AuditEntry) -> str | None:
    """Return the SHA-256 of the edition that an entry says was withdrawn.

    Its detail is the number of the edition or, since the edition itself may be missing, the digest
    if the entry was replayed.
    """
    detail = entry.detail or ""
    if len(detail) == DIGEST_CHARS:
        return detail
    if not detail.isdecimal():
        return None
    edition = select(Edition.sha256).where(Edition.job_id == entry.subject)
    return session.scalar(edition.where(Edition.number == int(detail)))


def _made(session: Session, entry: AuditEntry) -> dict[str, str | None]:
    """Return the SHA-256 of the edition that an entry says was made, and of the one before it.

    Its detail is the number of the edition or, if the entry was replayed and the job is lost, the
    digest of the one before.
    """
    detail = entry.detail or ""
    if len(detail) == DIGEST_CHARS:
        return {"superseded": detail}
    if not detail.isdecimal():
        return {}
    editions = select(Edition.sha256).where(Edition.job_id == entry.subject)
    before = editions.where(Edition.number < int(detail)).order_by(Edition.number.desc())
    return {
        "sha256": session.scalar(editions.where(Edition.number == int(detail))),
        "superseded": session.scalar(before.limit(1)),
    }


def _signing_keys(session: Session, entry: AuditEntry) -> list[dict[str, Any]]:
    """Return the public keys that were created with the one that an entry names."""
    named = session.get(SigningKey, entry.detail)
    if named is None:
        return []
    other = session.scalars(
        select(SigningKey)
        .where(SigningKey.purpose != named.purpose, SigningKey.created_at >= named.created_at)
        .order_by(SigningKey.created_at)
        .limit(1)
    )
    return [
        {
            "id": key.id,
            "purpose": key.purpose,
            "public_pem": key.public_pem,
            "certificate_pem": key.certificate_pem,
            "created_at": key.created_at.isoformat(),
        }
        for key in (named, *other)
    ]


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a journal for appending, and exclude other writers. A torn last line is removed."""
    private_folder(path.parent)
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise DataDirError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            start = max(0, size - _TAIL_BYTES)
            tail = os.pread(file, size - start, start)
            os.ftruncate(file, start + tail.rfind(b"\n") + 1)
        yield file
    except OSError as error:
        raise DataDirError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        os.close(file)
