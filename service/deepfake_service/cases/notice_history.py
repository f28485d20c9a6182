"""The history of notices: every receipt, every change of state, and the PDF.

An event is a row that is never changed. Its content is sealed under the case's key. Its digest is
the SHA-256 of its canonical JSON (RFC 8785), which has the digest of the event before it, and is in
the detail of its entry in the audit log: an event cannot be altered, removed or inserted without
contradicting the log. A random ``salt`` keeps the digest from confirming guesses at a receipt after
the case was deleted.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import rfc8785
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_models.bundle.spec import is_none
from deepfake_service.audit.log import Action, Actor, append_entry
from deepfake_service.platform.answers import ItemId, Published, Sha256, Time
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import (
    Account,
    AuditEntry,
    Notice,
    NoticeEvent,
    current_time,
    new_id,
)
from deepfake_service.platform.enums import NoticeEventKind, NoticeState
from deepfake_service.platform.errors import RecordAltered
from deepfake_service.platform.storage import open_json, seal_json

EVENT_TYPE = "deepfake-service/notice-event/1"
SALT_BYTES = 16
UNDO_FOR = timedelta(minutes=10)
"""Time in which a notice that was recorded as sent by mistake can become a draft again."""
ACTIONS = {
    NoticeEventKind.CREATED: Action.NOTICE_MADE,
    NoticeEventKind.SIGNED: Action.NOTICE_SIGNED,
    NoticeEventKind.TO_WITHDRAW: Action.NOTICE_TO_WITHDRAW,
}
"""The action in the audit log of each kind of event; of the others, ``NOTICE_UPDATED``."""


Event = Mapping[str, str | int | None]


class NoticeEventRecord(Published):
    """One thing that happened to a notice. It is never changed.

    `digest` is the SHA-256 of the canonical JSON (RFC 8785) of all other fields but `name`, and is
    the last word of the detail of its entry in the audit log.
    """

    type: str = Field(description="Names the form of the event: `deepfake-service/notice-event/1`.")
    notice: ItemId = Field(description="Id of the notice.")
    number: int = Field(description="1 for the first event of the notice.")
    previous: Sha256 | None = Field(description="Digest of the event before it.")
    at: Time = Field(description="When it was recorded.")
    account: ItemId | None = Field(description="Id of the account; null for the service.")
    name: str | None = Field(description="Name of the account.")
    event: NoticeEventKind = Field(description="What happened.")
    state: NoticeState = Field(description="State of the notice after it.")
    sent_at: Time | None = Field(description="When the notice was sent, as known then.")
    due_at: Time | None = Field(description="The deadline of the recipient, as known then.")
    answered_at: Time | None = Field(description="When it was answered, as known then.")
    receipt: str | None = Field(description="Text or number of the receipt that was recorded.")
    reason: str | None = Field(default=None, exclude_if=is_none)
    """Why it was sent before it was created here, or was not recorded before it was marked; left
    out otherwise."""
    document_sha256: Sha256 | None
    """SHA-256 of the text for `created`, of the PDF for `signed`."""
    salt: str = Field(description="Keeps the digest from confirming guesses at the content.")
    digest: Sha256 = Field(description="SHA-256 of the event, as the audit log has it.")


class NoticeHistory:
    """The history of one notice, to which a transaction adds."""

    def __init__(self, session: Session, key: bytes, notice: Notice) -> None:
        """Open the history of ``notice``, whose case has the key ``key``."""
        self._session = session
        self._key = key
        self._notice = notice

    def append(
        self,
        kind: NoticeEventKind,
        actor: Actor,
        *,
        receipt: str | None = None,
        reason: str | None = None,
        document_sha256: str | None = None,
        event_id: str | None = None,
    ) -> None:
        """Add an event and its entry in the audit log.

        Args:
            reason: why the notice was sent before it was created or marked for withdrawal.
            document_sha256: of the text when it was created, and of the PDF when that was made.
            event_id: the id of the event, if something was stored under it already.
        """
        notice, last = self._notice, self._last()
        event = NoticeEvent(
            id=event_id or new_id(),
            notice_id=notice.id,
            number=last.number + 1 if last else 1,
            account_id=actor.account_id,
            kind=kind,
            state=notice.state,
            created_at=current_time(self._session),
        )
        content: dict[str, str | int | None] = {
            "type": EVENT_TYPE,
            "notice": notice.id,
            "number": event.number,
            "previous": last.digest if last else None,
            "at": iso_time(event.created_at),
            "account": event.account_id,
            "event": str(event.kind),
            "state": str(event.state),
            "sent_at": iso_time(notice.sent_at),
            "due_at": iso_time(notice.due_at),
            "answered_at": iso_time(notice.answered_at),
            "receipt": receipt,
            **({"reason": reason} if reason else {}),
            "document_sha256": document_sha256,
            "salt": secrets.token_hex(SALT_BYTES),
        }
        event.digest = digest_of(content)
        seal_json(self._key, event, content)
        self._session.add(event)
        self._session.flush()
        named = {NoticeEventKind.CREATED: notice.kind, NoticeEventKind.SIGNED: document_sha256}
        what = named.get(kind, f"{kind} {notice.state}")
        detail = f"{what}{' earlier' if reason else ''} {event.digest}"
        action = ACTIONS.get(kind, Action.NOTICE_UPDATED)
        append_entry(self._session, actor, action, notice.id, detail)

    def signed(self) -> NoticeEvent | None:
        """Return the event of the PDF, if there is one."""
        return self._last(NoticeEventKind.SIGNED)

    def undo_until(self) -> datetime | None:
        """Return until when it can be taken back that the notice was sent, if it can."""
        sent = self._last(NoticeEventKind.SENT)
        if sent is None or self._notice.state != NoticeState.SENT:
            return None
        return sent.created_at + UNDO_FOR

    def events(self) -> list[NoticeEventRecord]:
        """Return all events, oldest first, each with its digest and the name of its account;
        ``RecordAltered`` if one was removed, or does not have its digest."""
        rows = self._session.scalars(
            select(NoticeEvent)
            .where(NoticeEvent.notice_id == self._notice.id)
            .order_by(NoticeEvent.number)
        ).all()
        contents = [open_json(self._key, row) for row in rows]
        if not self._agrees_with_log(rows, contents):
            raise RecordAltered(
                f"The history of the notice {self._notice.id} contradicts the audit log: it was "
                "altered outside this program."
            )
        named = select(Account).where(Account.id.in_({row.account_id for row in rows}))
        names = {account.id: account.name for account in self._session.scalars(named)}
        return [
            NoticeEventRecord(**content, digest=row.digest, name=names.get(row.account_id or ""))
            for row, content in zip(rows, contents, strict=True)
        ]

    def _agrees_with_log(self, rows: Sequence[NoticeEvent], contents: Sequence[Event]) -> bool:
        """Return whether these are all events whose digests the audit log has, in its order."""
        actions = (*ACTIONS.values(), Action.NOTICE_UPDATED)
        logged = self._session.scalars(
            select(AuditEntry.detail)
            .where(AuditEntry.subject == self._notice.id, AuditEntry.action.in_(map(str, actions)))
            .order_by(AuditEntry.number)
        )
        digests = [(detail or "").rpartition(" ")[2] for detail in logged]
        stated = [(c["event"], c["state"], digest_of(c)) for c in contents]
        expected = [(row.kind, row.state, row.digest) for row in rows]
        return stated == expected and digests == [row.digest for row in rows]

    def _last(self, kind: NoticeEventKind | None = None) -> NoticeEvent | None:
        statement = select(NoticeEvent).where(NoticeEvent.notice_id == self._notice.id)
        if kind is not None:
            statement = statement.where(NoticeEvent.kind == kind)
        return self._session.scalars(statement.order_by(NoticeEvent.number.desc()).limit(1)).first()


def digest_of(event: Event) -> str:
    """Return the digest of an event, without regard to ``digest`` and ``name``."""
    covered = {k: v for k, v in event.items() if k not in ("digest", "name")}
    return hashlib.sha256(rfc8785.dumps(covered)).hexdigest()
