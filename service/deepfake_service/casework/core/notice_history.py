"""The history of notices: every receipt, every change of state, and the signed PDF.

An event is a row that is never changed. Its content is sealed under the case's key. Its digest is
the SHA-256 of its canonical JSON (RFC 8785), which has the digest of the event before it, and is in
the detail of its entry in the audit log: an event cannot be altered, removed or inserted without
contradicting the log. A random ``salt`` keeps the digest from confirming guesses at a receipt after
the case was deleted.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import rfc8785
from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.casework.core.notice_states import UNDO_FOR
from deepfake_service.casework.core.queries import iso_time
from deepfake_service.db import Account, AuditEntry, Notice, NoticeEvent, current_time, new_id
from deepfake_service.db.enums import NoticeEventKind, NoticeState
from deepfake_service.db.tables import DIGEST_CHARS
from deepfake_service.errors import RecordAltered
from deepfake_service.security.audit_log import Action, Actor, append_entry
from deepfake_service.storage import open_json, seal_json

EVENT_TYPE = "deepfake-service/notice-event/1"
SALT_BYTES = 16
ACTIONS = {
    NoticeEventKind.CREATED: Action.NOTICE_MADE,
    NoticeEventKind.SIGNED: Action.NOTICE_SIGNED,
    NoticeEventKind.TO_WITHDRAW: Action.NOTICE_TO_WITHDRAW,
}
"""The action in the audit log of each kind of event; of the others, ``NOTICE_UPDATED``."""


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened to a notice, and who did it."""

    kind: NoticeEventKind
    actor: Actor
    receipt: str | None = None
    reason: str | None = None
    """Why a notice was sent before it was created."""
    document_sha256: str | None = None
    """Of the text when it was created, and of the PDF when it was signed."""
    event_id: str | None = None
    """The id of the event, if something was stored under it already."""

    def __repr__(self) -> str:
        return f"Happening(kind={self.kind.value!r})"


class NoticeHistory:
    """The history of one notice, to which a transaction adds."""

    def __init__(self, session: Session, key: bytes, notice: Notice) -> None:
        """Open the history of ``notice``.

        Args:
            key: the key of the notice's case.
        """
        self._session = session
        self._key = key
        self._notice = notice

    def begin(self, receipt: str | None) -> None:
        """Record what is known of a notice that has no history, before it is changed."""
        if self._last_of(*NoticeEventKind) is None:
            # Its entries in the audit log, which earlier versions wrote, have no digests.
            actor = Actor(self._notice.account_id)
            self._add(Happening(NoticeEventKind.RECORDED, actor, receipt))

    def append(self, happening: Happening) -> NoticeEvent:
        """Add an event and its entry in the audit log."""
        event = self._add(happening)
        first = {
            NoticeEventKind.CREATED: self._notice.kind,
            NoticeEventKind.SIGNED: happening.document_sha256,
        }.get(happening.kind, f"{happening.kind} {self._notice.state}")
        earlier = " earlier" if happening.reason else ""
        detail = f"{first}{earlier} {event.digest}"
        action = ACTIONS.get(happening.kind, Action.NOTICE_UPDATED)
        append_entry(self._session, happening.actor, action, self._notice.id, detail)
        return event

    def signed(self) -> NoticeEvent | None:
        """Return the event of the signed PDF, if there is one."""
        return self._last_of(NoticeEventKind.SIGNED)

    def undo_until(self) -> datetime | None:
        """Return until when it can be taken back that the notice was sent, if it can."""
        sent = self._last_of(NoticeEventKind.SENT)
        if sent is None or self._notice.state != NoticeState.SENT:
            return None
        return sent.created_at + UNDO_FOR

    def content(self, event: NoticeEvent) -> dict[str, Any]:
        """Return an event as its digest covers it."""
        return {**open_json(self._key, event), "digest": event.digest}

    def events(self) -> list[dict[str, Any]]:
        """Return all events, oldest first, each with the name of its account.

        Raises:
            RecordAltered: one was removed, or does not have its digest.
        """
        last = self._session.scalars(
            select(AuditEntry.detail)
            .where(
                AuditEntry.subject == self._notice.id,
                AuditEntry.action.in_(str(a) for a in (*ACTIONS.values(), Action.NOTICE_UPDATED)),
            )
            .order_by(AuditEntry.number.desc())
            .limit(1)
        ).first()
        rows = self._session.scalars(
            select(NoticeEvent)
            .where(NoticeEvent.notice_id == self._notice.id)
            .order_by(NoticeEvent.number)
        ).all()
        self._check(rows, last or "")
        ids = {row.account_id for row in rows}
        named = select(Account).where(Account.id.in_(ids))
        names = {account.id: account.name for account in self._session.scalars(named)}
        return [{**self.content(row), "name": names.get(row.account_id or "")} for row in rows]

    def _check(self, rows: Sequence[NoticeEvent], last_detail: str) -> None:
        previous: str | None = None
        for number, row in enumerate(rows, 1):
            content = open_json(self._key, row)
            is_next = (content["number"], content["previous"]) == (number, previous)
            if not is_next or digest_of(content) != row.digest:
                raise self._contradiction()
            previous = row.digest
        logged = last_detail.rpartition(" ")[2]
        if len(logged) == DIGEST_CHARS and logged not in {row.digest for row in rows}:
            raise self._contradiction()

    def _contradiction(self) -> RecordAltered:
        return RecordAltered(
            f"The history of the notice {self._notice.id} contradicts the audit log: it was "
            "altered outside this program."
        )

    def _last_of(self, *kinds: NoticeEventKind) -> NoticeEvent | None:
        """Return the last event of these kinds."""
        return self._session.scalars(
            select(NoticeEvent)
            .where(NoticeEvent.notice_id == self._notice.id, NoticeEvent.kind.in_(kinds))
            .order_by(NoticeEvent.number.desc())
            .limit(1)
        ).first()

    def _add(self, happening: Happening) -> NoticeEvent:
        notice, last = self._notice, self._last_of(*NoticeEventKind)
        event = NoticeEvent(
            id=happening.event_id or new_id(),
            notice_id=notice.id,
            number=last.number + 1 if last else 1,
            account_id=happening.actor.account_id,
            kind=happening.kind,
            state=notice.state,
            created_at=current_time(self._session),
        )
        content = {
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
            "receipt": happening.receipt,
            **({"reason": happening.reason} if happening.reason else {}),
            "document_sha256": happening.document_sha256,
            "salt": secrets.token_hex(SALT_BYTES),
        }
        event.digest = digest_of(content)
        seal_json(self._key, event, content)
        self._session.add(event)
        self._session.flush()
        return event


def digest_of(event: dict[str, Any]) -> str:
    """Return the digest of an event, without regard to ``digest`` and ``name``."""
    covered = {k: v for k, v in event.items() if k not in ("digest", "name")}
    return hashlib.sha256(rfc8785.dumps(covered)).hexdigest()
