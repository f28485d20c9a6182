"""The audit log: who did what to which item, when, with which key. No content, no file names.

Every entry's hash covers the entry and the hash before it, so that no line can be changed, left
out or put in without breaking all that follow. Whoever can write to the database could still write
the whole chain anew, or cut its end off: a signed checkpoint, exported and kept elsewhere, shows
either.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from deepfake_service.db import AuditEntry, current_time
from deepfake_service.errors import AuditBroken, InvalidCheckpoint

START = "0" * 64
"""What the first entry's hash covers in place of one before it."""
_LOCK = 0x61756469746C6F67
_PAGE = 1000


class Action(StrEnum):
    """What can be done. Names are part of the log's format: add, never change."""

    ACCOUNT_CREATED = "account.created"
    ACCOUNT_DISABLED = "account.disabled"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    KEY_ROTATED = "key.rotated"
    SIGNED_IN = "signed.in"
    SIGNED_OUT = "signed.out"
    MEDIA_SUBMITTED = "media.submitted"
    OCCURRENCE_ADDED = "occurrence.added"
    RESULT_READ = "result.read"
    CASE_CREATED = "case.created"
    CASE_READ = "case.read"
    SCREENSHOT_READ = "screenshot.read"
    MEDIA_READ = "media.read"
    MEDIA_EXPORTED = "media.exported"
    JOB_FINISHED = "job.finished"
    JOB_CANCELLED = "job.cancelled"
    MEDIA_EXPIRED = "media.expired"
    CASE_SHREDDED = "case.shredded"
    HOLD_SET = "hold.set"
    HOLD_LIFTED = "hold.lifted"
    AUDIT_READ = "audit.read"
    MASTER_KEY_ROTATED = "master_key.rotated"
    SIGNING_KEYS_MADE = "signing_keys.made"
    SIGNING_KEY_REVOKED = "signing_key.revoked"
    EVIDENCE_MADE = "evidence.made"
    EVIDENCE_READ = "evidence.read"
    EVIDENCE_EXPIRED = "evidence.expired"
    CASE_REVIEWED = "case.reviewed"
    MINOR_FLAGGED = "minor.flagged"
    MINOR_UNFLAGGED = "minor.unflagged"
    NOTICE_MADE = "notice.made"
    NOTICE_READ = "notice.read"
    NOTICE_UPDATED = "notice.updated"
    NOTICE_TO_WITHDRAW = "notice.to_withdraw"
    MATCH_FOUND = "match.found"
    HASHES_EXPORTED = "hashes.exported"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something; nobody, for what the service does by itself."""

    account_id: str | None = None
    key_id: str | None = None


SERVICE = Actor()


def append_entry(
    session: Session,
    actor: Actor,
    action: Action,
    subject: str | None = None,
    detail: str | None = None,
    *,
    at: datetime | None = None,
) -> AuditEntry:
    """Append an entry in the transaction of what it tells of: both happen, or neither.

    ``subject`` is the id of what it was done to, ``detail`` a code or an id of ours.
    """
    if session.get_bind().dialect.name == "postgresql":
        # SQLite has one writer anyway.
        session.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
    last = session.scalars(select(AuditEntry).order_by(AuditEntry.number.desc()).limit(1)).first()
    entry = AuditEntry(
        number=last.number + 1 if last else 1,
        # To the millisecond, so that it reads back as it was hashed from any database.
        at=_milliseconds(at or current_time(session)),
        account_id=actor.account_id,
        key_id=actor.key_id,
        action=str(action),
        subject=subject,
        detail=None if detail is None else str(detail),
    )
    entry.hash = _hash(entry, last.hash if last else START)
    session.add(entry)
    session.flush()
    return entry


def _milliseconds(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def entry_json(entry: AuditEntry) -> dict[str, Any]:
    """An entry as it is read and exported."""
    return {
        "number": entry.number,
        "at": entry.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "account": entry.account_id,
        "key": entry.key_id,
        "action": entry.action,
        "subject": entry.subject,
        "detail": entry.detail,
    }


def _hash(entry: AuditEntry, previous: str) -> str:
    content = {**entry_json(entry), "previous": previous}
    return hashlib.sha256(rfc8785.dumps(content)).hexdigest()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How the log stood: its last entry's number and hash, and when that was said."""

    number: int
    hash: str
    at: str

    def _payload(self) -> bytes:
        return rfc8785.dumps({"number": self.number, "hash": self.hash, "at": self.at})

    def signed(self, key: Ed25519PrivateKey) -> str:
        """The checkpoint as a JSON document to be kept where the service cannot write."""
        document = {
            "type": "deepfake-service/audit-checkpoint/1",
            "number": self.number,
            "hash": self.hash,
            "at": self.at,
            "public_key": _public(key.public_key()),
            "signature": base64.b64encode(key.sign(self._payload())).decode(),
        }
        return json.dumps(document, indent=2) + "\n"

    @classmethod
    def opened(cls, document: str, key: Ed25519PublicKey) -> Checkpoint:
        """Read a signed checkpoint. The key that it names confers no trust: ``key`` does.

        Raises:
            InvalidCheckpoint: not a checkpoint, or not signed by ``key``.
        """
        try:
            content = json.loads(document)
            point = cls(int(content["number"]), str(content["hash"]), str(content["at"]))
            signature = base64.b64decode(content["signature"], validate=True)
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise InvalidCheckpoint("this is no checkpoint of an audit log") from error
        try:
            key.verify(signature, point._payload())
        except InvalidSignature as error:
            raise InvalidCheckpoint(
                "the checkpoint is not signed by this service's key: it was altered, or it is of "
                "another service"
            ) from error
        return point


def _public(key: Ed25519PublicKey) -> str:
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def checkpoint(session: Session) -> Checkpoint:
    """How the log stands now.

    Raises:
        AuditBroken: the chain does not hold.
    """
    return verify(session)


def verify(session: Session, since: Checkpoint | None = None) -> Checkpoint:
    """Check the whole chain, and that it still holds what it held at ``since``.

    1. Numbers run from 1 without a gap.
    2. Every hash is that of its entry and the hash before.
    3. The entry that the checkpoint names is there, with the checkpoint's hash.

    Raises:
        AuditBroken: naming the first entry at which a check fails.
    """
    previous, number, known = START, 0, False
    for entry in _all(session):
        if entry.number != number + 1:
            raise AuditBroken(f"entry {number + 1} is missing")
        if entry.hash != _hash(entry, previous):
            raise AuditBroken(f"entry {entry.number} was altered, or one before it")
        previous, number = entry.hash, entry.number
        if since and number == since.number:
            known = True
            if previous != since.hash:
                raise AuditBroken(f"entry {number} is not the one that the checkpoint names")
    if since and since.number and not known:
        raise AuditBroken(
            f"the log ends at entry {number}, but it had {since.number} at the checkpoint"
        )
    at = current_time(session).isoformat(timespec="milliseconds")
    return Checkpoint(number, previous, at)


def _all(session: Session) -> Iterator[AuditEntry]:
    """Every entry in order, some at a time: the log can be longer than memory."""
    last = 0
    while entries := page(session, after=last, limit=_PAGE):
        yield from entries
        last = entries[-1].number


def page(
    session: Session, *, after: int = 0, limit: int = 100, subject: str | None = None
) -> list[AuditEntry]:
    """Entries in order, after number ``after``; those about ``subject`` alone, if it is given."""
    statement = select(AuditEntry).where(AuditEntry.number > after)
    if subject is not None:
        statement = statement.where(AuditEntry.subject == subject)
    return list(session.scalars(statement.order_by(AuditEntry.number).limit(limit)))
