"""Notices of all cases by what is to be done: withdraw them, wait for an answer, send them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, select

from deepfake_service.casework.core.notice_states import RUNNING
from deepfake_service.casework.core.pagination import MAX_PAGE
from deepfake_service.casework.core.queries import iso_time
from deepfake_service.casework.core.unreadable import opened_rows
from deepfake_service.casework.core.visibility import visible_to
from deepfake_service.db import Case, Database, Notice
from deepfake_service.db.enums import NoticeState
from deepfake_service.db.row_authentication import load_list
from deepfake_service.security.accounts import Caller
from deepfake_service.storage import Vault, open_json

TO_WITHDRAW = Notice.withdraw_at.is_not(None) & (Notice.state != NoticeState.WITHDRAWN)
"""Notices whose basis has changed, and which nobody has withdrawn yet."""


@dataclass(frozen=True, slots=True)
class NoticesByClock:
    """The notices that a caller may see, at most 200 of each part."""

    to_withdraw: list[dict[str, Any]]
    running: list[dict[str, Any]]
    """Sent, by deadline; those without one last."""
    drafts: list[dict[str, Any]]
    """Not sent, oldest first."""
    closed: list[dict[str, Any]]
    """Answered or withdrawn, newest first."""
    altered: list[str] = field(default_factory=list)
    """Ids of rows that were altered outside this program, which are left out."""


class NoticeClock:
    """Lists notices by what is to be done, and by when."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def by_clock(self, caller: Caller) -> NoticesByClock:
        """Return all notices that the caller may see, by what is to be done."""
        altered: list[str] = []
        is_open = ~TO_WITHDRAW
        is_running = Notice.state.in_(RUNNING)
        is_draft = Notice.state == NoticeState.DRAFTED
        return NoticesByClock(
            self._list(caller, TO_WITHDRAW, Notice.withdraw_at, altered),
            self._list(caller, is_open & is_running, Notice.due_at.nulls_last(), altered),
            self._list(caller, is_open & is_draft, Notice.created_at, altered),
            self._list(
                caller, is_open & ~is_running & ~is_draft, Notice.created_at.desc(), altered
            ),
            altered,
        )

    def now(self) -> datetime:
        """Return the time by which deadlines are compared."""
        return self._database.clock()

    def _list(
        self,
        caller: Caller,
        condition: ColumnElement[bool],
        order: Any,
        altered: list[str],
    ) -> list[dict[str, Any]]:
        statement = (
            select(Notice, Case)
            .join(Case, Notice.case_id == Case.id)
            .where(condition, Case.wrapped_key.is_not(None), visible_to(caller))
            .order_by(order, Notice.id)
            .limit(MAX_PAGE)
        )
        with self._database.read() as session:
            loaded = load_list(session, statement)
            altered += loaded.altered
            opened = opened_rows(loaded.rows, self._listed, altered)
            return [shown for _, shown in opened]

    def _listed(self, row: tuple[Notice, Case]) -> dict[str, Any]:
        notice, case = row
        key = self._vault.case_key(case)
        return {
            **listed(notice, self._database.clock()),
            "case_reference": open_json(key, case)["reference"],
            "recipient": open_json(key, notice)["recipient"],
        }


def is_overdue(now: datetime) -> ColumnElement[bool]:
    """Return the condition that the deadline of a notice has passed without an answer."""
    return and_(Notice.state.in_(RUNNING), Notice.due_at < now)


def listed(notice: Notice, now: datetime) -> dict[str, Any]:
    """Return a notice as a list shows it, without its content."""
    is_late = notice.state in RUNNING and notice.due_at and notice.due_at < now
    return {
        "id": notice.id,
        "case_id": notice.case_id,
        "kind": notice.kind,
        "language": notice.language,
        "state": notice.state,
        "created_at": iso_time(notice.created_at),
        "sent_at": iso_time(notice.sent_at),
        "due_at": iso_time(notice.due_at),
        "overdue": bool(is_late),
        "answered_at": iso_time(notice.answered_at),
        "withdraw": notice.withdraw_at is not None,
    }
