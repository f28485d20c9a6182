"""The audit log: who did what to which item, when and with which key. It has no content.

The hash of an entry covers the entry and the hash of the entry before it, so that no entry can be
changed, removed or inserted without breaking the chain after it. Anyone can check the hashes of the
entries in a bundle. The database also has an authentication code of every hash, so that an attacker
who can only write to the database cannot build another chain. Entries cut off at the end, and a
chain built by an attacker who has the key as well, are revealed by signed checkpoints elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from deepfake_service.audit.journal import DELETIONS, protect
from deepfake_service.platform.answers import ItemId, Published, Time
from deepfake_service.platform.db import AuditEntry, current_time
from deepfake_service.platform.db.row_authentication import is_authentic
from deepfake_service.platform.errors import InvalidRequest, RecordAltered

START = "0" * 64
"""The hash that the first entry covers in place of an earlier one."""
_LOCK = 0x61756469746C6F67
_PAGE = 1000


class Action(StrEnum):
    """An action. Its value is part of the format of the log: add values, but never change one."""

    ACCOUNT_CREATED = "account.created"
    ACCOUNT_DISABLED = "account.disabled"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    KEY_CHANGED = "key.changed"
    """The end that it was given is in the detail."""
    INVITATION_CREATED = "invitation.created"
    SECOND_FACTOR_ADDED = "second_factor.added"
    SECOND_FACTOR_REMOVED = "second_factor.removed"
    SECOND_FACTOR_PAUSED = "second_factor.paused"
    """No code of the account is accepted for a while, because too many were wrong."""
    SIGNED_IN = "signed.in"
    SIGNED_OUT = "signed.out"
    SIGN_IN_FAILED = "sign_in.failed"
    MEDIA_SUBMITTED = "media.submitted"
    MEDIA_EXAMINED_AGAIN = "media.examined_again"
    """In another job; the id of the account that submitted the file first is the detail."""
    UPLOAD_CREATED = "upload.created"
    UPLOAD_DELETED = "upload.deleted"
    """By its account, or because it expired."""
    OCCURRENCE_ADDED = "occurrence.added"
    SCREENSHOT_ADDED = "screenshot.added"
    """To an occurrence that had none; its id is the detail."""
    OCCURRENCE_STATED = "occurrence.stated"
    """What only a capture had claimed of an occurrence; its id is the detail."""
    RESULT_READ = "result.read"
    CASE_CREATED = "case.created"
    CASE_READ = "case.read"
    SCREENSHOT_READ = "screenshot.read"
    MEDIA_READ = "media.read"
    MEDIA_EXPORTED = "media.exported"
    JOB_FINISHED = "job.finished"
    JOB_REASSIGNED = "job.reassigned"
    """No worker had the model or version of a job; the SHA-256 of the bundle that examines it
    instead is the detail."""
    JOB_CANCELLED = "job.cancelled"
    JOB_DELETED = "job.deleted"
    MEDIA_EXPIRED = "media.expired"
    CASE_SHREDDED = "case.shredded"
    CASE_EXPIRED = "case.expired"
    CASE_EMPTIED = "case.emptied"
    """The key of a case was replaced, because its last item was deleted."""
    SCREENSHOT_EXPIRED = "screenshot.expired"
    CAPTURE_SUBMITTED = "capture.submitted"
    CAPTURE_ENDED = "capture.ended"
    """It was read and signed, or refused; the SHA-256 of its bundle or the reason is the detail."""
    CAPTURE_READ = "capture.read"
    CAPTURE_EXAMINED = "capture.examined"
    """Pictures or videos in it were chosen to be examined; how many is the detail."""
    CAPTURE_EXPIRED = "capture.expired"
    CAPTURE_DELETED = "capture.deleted"
    HASHES_EXPIRED = "hashes.expired"
    RESTORED = "installation.restored"
    """A backup was restored; its last entry is the detail."""
    CLOCK_CONFIRMED = "clock.confirmed"
    HOLD_SET = "hold.set"
    HOLD_LIFTED = "hold.lifted"
    AUDIT_READ = "audit.read"
    MASTER_KEY_ROTATED = "master_key.rotated"
    CASE_KEYS_RENEWED = "case_keys.renewed"
    """An epoch key was destroyed after deletions; its id is the detail."""
    SIGNING_KEYS_MADE = "signing_keys.made"
    SIGNING_KEY_REVOKED = "signing_key.revoked"
    EVIDENCE_MADE = "evidence.made"
    EVIDENCE_READ = "evidence.read"
    EVIDENCE_EXPIRED = "evidence.expired"
    CASE_REVIEWED = "case.reviewed"
    MINOR_FLAGGED = "minor.flagged"
    MINOR_UNFLAGGED = "minor.unflagged"
    REVIEWERS_NAMED = "reviewers.named"
    """The ids of the accounts that may review a flagged case are in the detail."""
    NOTICE_MADE = "notice.made"
    NOTICE_SIGNED = "notice.signed"
    """The SHA-256 of the PDF is in the detail."""
    NOTICE_READ = "notice.read"
    NOTICE_UPDATED = "notice.updated"
    NOTICE_TO_WITHDRAW = "notice.to_withdraw"
    LOOK_ASKED = "look.asked"
    """A worker is to look at the post."""
    POST_LOOKED_AT = "post.looked_at"
    """A person looked at a post; the result and the SHA-256 of the record are in the detail."""
    POST_GONE = "post.gone"
    POST_RETURNED = "post.returned"
    """The looks amount to it; the SHA-256 of the last one's record is the detail of both."""
    MATCH_FOUND = "match.found"
    HASHES_EXPORTED = "hashes.exported"
    ROW_ACCEPTED = "row.accepted"
    EDITION_WITHDRAWN = "edition.withdrawn"
    ORGANISATION_CHANGED = "organisation.changed"
    """The names of the changed fields are in the detail."""
    WEBHOOK_SECRET_REPLACED = "webhook_secret.replaced"  # noqa: S105 - the name of an action


PROTECTIONS: dict[Action, str] = {
    Action.KEY_REVOKED: "key",
    Action.KEY_CHANGED: "key_end",
    Action.ACCOUNT_DISABLED: "account",
    Action.SECOND_FACTOR_ADDED: "second_factor",
    Action.SECOND_FACTOR_REMOVED: "second_factor",
    Action.HOLD_SET: "hold",
    Action.HOLD_LIFTED: "hold",
    Action.MINOR_FLAGGED: "minor",
    Action.MINOR_UNFLAGGED: "minor",
    Action.CASE_SHREDDED: "case",
    Action.CASE_EXPIRED: "case",
    Action.JOB_DELETED: "job",
    Action.CAPTURE_DELETED: "capture",
}
"""Actions that the restoration of an older database must not undo, by the kind of protection."""
LIFTED = (Action.SECOND_FACTOR_REMOVED, Action.HOLD_LIFTED, Action.MINOR_UNFLAGGED)


@dataclass(frozen=True, slots=True)
class Actor:
    """The account and key behind an action. Both are ``None`` for actions of the service."""

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
) -> None:
    """Append an entry in the transaction of the action, so that both are committed, or neither.

    Lock or change what the action concerns before: other transactions that append an entry wait
    until this one ends, and so must not have locked what it still needs.

    Args:
        subject: the id of the item.
        detail: a code or another id, never content.
        at: the time of the action; now, by default.
    """
    append_entries(session, actor, action, [(subject, detail)], at=at)


def append_entries(
    session: Session,
    actor: Actor,
    action: Action,
    concerned: Sequence[tuple[str | None, str | None]],
    *,
    at: datetime | None = None,
) -> None:
    """Append an entry for each subject and detail, as ``append_entry`` does for one."""
    if session.get_bind().dialect.name == "postgresql":
        # SQLite has one writer at a time. The lock of the log is the last one that a transaction
        # takes: with it, it must not wait for a row that another one has locked. SQLAlchemy 2.0
        # does not flush before a statement in text.
        session.flush()
        session.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
    at = at or current_time(session)
    last = session.scalars(select(AuditEntry).order_by(AuditEntry.number.desc()).limit(1)).first()
    number, previous = (last.number, last.hash) if last else (0, START)
    for after, (subject, detail) in enumerate(concerned, number + 1):
        entry = AuditEntry(
            number=after,
            # To the millisecond, so that every database returns the value that was hashed.
            at=at.replace(microsecond=at.microsecond // 1000 * 1000),
            account_id=actor.account_id,
            key_id=actor.key_id,
            action=str(action),
            subject=subject,
            detail=None if detail is None else str(detail),
        )
        entry.hash = previous = _hash(entry, previous)
        session.add(entry)
        if action in PROTECTIONS and subject is not None:
            kind = PROTECTIONS[action]
            value = detail if action is Action.KEY_CHANGED else actor.account_id or detail
            if kind in DELETIONS:
                value = entry_of(entry).at
            protect(session, kind, subject, "" if action in LIFTED else value or "service")
    session.flush()


class Entry(Published):
    """Who did what, when, to which item, and with which key."""

    number: int = Field(description="Number of the entry, from 1 without gaps.")
    at: Time = Field(description="When it was written.")
    account: ItemId | None
    """Id of the account that acted; null if the service did."""
    key: str | None = Field(description="Id of the key that was used; null if the service acted.")
    action: Annotated[str, Field(examples=["result.read"])] = Field(description="What was done.")
    subject: ItemId | None = Field(description="Id of what it was done to.")
    detail: str | None = Field(description="A code or an id that belongs to the action.")


def entry_of(row: AuditEntry) -> Entry:
    """Return a row as it is hashed and exported."""
    return Entry(
        number=row.number,
        at=row.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        account=row.account_id,
        key=row.key_id,
        action=row.action,
        subject=row.subject,
        detail=row.detail,
    )


def _hash(entry: AuditEntry, previous: str) -> str:
    content = {**entry_of(entry).model_dump(), "previous": previous}
    return hashlib.sha256(rfc8785.dumps(content)).hexdigest()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of the log at a time: the number and the hash of its last entry."""

    number: int
    hash: str
    at: str

    def payload(self) -> bytes:
        """Return what is signed."""
        return rfc8785.dumps(asdict(self))

    def signed(self, key: Ed25519PrivateKey) -> str:
        """Return the signed checkpoint as JSON. Store it where the service cannot write."""
        document = {
            "type": "deepfake-service/audit-checkpoint/1",
            **asdict(self),
            "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
            "signature": base64.b64encode(key.sign(self.payload())).decode(),
        }
        return json.dumps(document, indent=2) + "\n"

    @classmethod
    def opened(cls, document: str | bytes, key: Ed25519PublicKey) -> Checkpoint:
        """Read a signed checkpoint. Only ``key`` is trusted, not the key in the document.
        ``InvalidRequest`` if it is malformed, or was not signed by ``key``."""
        try:
            content = json.loads(document)
            point = cls(int(content["number"]), str(content["hash"]), str(content["at"]))
            signature = base64.b64decode(content["signature"], validate=True)
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise InvalidRequest("The file is not a checkpoint of an audit log.") from error
        try:
            key.verify(signature, point.payload())
        except InvalidSignature as error:
            raise InvalidRequest(
                "The checkpoint was not signed by this service. It was altered, or it belongs to "
                "another installation."
            ) from error
        return point


def verify(session: Session, since: Checkpoint | None = None) -> Checkpoint:
    """Verify the whole chain, and that it continues the chain of the checkpoint ``since``.

    1. Numbers run from 1 without a gap.
    2. Every hash covers its entry and the hash before, and has its authentication code.
    3. The entry that the checkpoint names exists and has the checkpoint's hash.

    Returns:
        A checkpoint of the log as it is now.

    Raises:
        RecordAltered: a check failed; the message names the first such entry.
    """
    previous, number, is_continued = START, 0, False
    # Some at a time, as the log may not fit into memory.
    entries = select(AuditEntry).order_by(AuditEntry.number).execution_options(yield_per=_PAGE)
    with session.scalars(entries) as rows:
        for entry in rows:
            if entry.number != number + 1:
                raise RecordAltered(f"Entry {number + 1} of the audit log is missing.")
            if not is_authentic(session, entry) or entry.hash != _hash(entry, previous):
                raise RecordAltered(
                    f"Entry {entry.number} of the audit log, or an entry before it, was altered."
                )
            previous, number = entry.hash, entry.number
            if since and number == since.number:
                is_continued = True
                if previous != since.hash:
                    raise RecordAltered(
                        f"Entry {number} of the audit log differs from the one in the checkpoint."
                    )
    if since and since.number and not is_continued:
        raise RecordAltered(
            f"The audit log ends at entry {number}, but the checkpoint names entry {since.number}."
        )
    at = current_time(session).isoformat(timespec="milliseconds")
    return Checkpoint(number, previous, at)


def head(session: Session) -> Checkpoint:
    """Return a checkpoint of the log as it is now, after checking its last entry only;
    ``RecordAltered`` if the last entry was altered."""
    last = session.scalars(select(AuditEntry).order_by(AuditEntry.number.desc()).limit(1)).first()
    if last and not is_authentic(session, last):
        raise RecordAltered(f"Entry {last.number} of the audit log was altered.")
    at = current_time(session).isoformat(timespec="milliseconds")
    return Checkpoint(last.number if last else 0, last.hash if last else START, at)


def page(
    session: Session, *, after: int = 0, limit: int = 100, subject: str | None = None
) -> list[AuditEntry]:
    """Return entries in order, after the number ``after``; with ``subject``, those about it."""
    statement = select(AuditEntry).where(AuditEntry.number > after)
    if subject is not None:
        statement = statement.where(AuditEntry.subject == subject)
    return list(session.scalars(statement.order_by(AuditEntry.number).limit(limit)))
