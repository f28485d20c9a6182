"""Notices of all cases by what is to be done: withdraw them, wait for an answer, send them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import visible_to
from deepfake_service.notices.states import RUNNING
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import Case, Database, Notice
from deepfake_service.platform.db.enums import NoticeState
from deepfake_service.platform.pagination import MAX_PAGE
from deepfake_service.platform.storage import Vault, open_json
from deepfake_service.platform.storage.sealed_columns import opened_rows

TO_WITHDRAW = Notice.withdraw_at.is_not(None) & (Notice.state != NoticeState.WITHDRAWN)
"""Notices whose basis has changed, and which nobody has withdrawn yet."""


class NoticePart(StrEnum):
    """Notices by what is to be done with them."""

    WITHDRAW = "withdraw"
    """By when their basis changed."""
    RUNNING = "running"
    """Sent, by deadline; those without one last."""
    DRAFTS = "drafts"
    """Not sent, oldest first."""
    CLOSED = "closed"
    """Answered or withdrawn, newest first."""
    OVERDUE = "overdue"
    """Those whose deadline has passed without an answer, which the parts above have as well."""


_WHOLE = tuple(part for part in NoticePart if part is not NoticePart.OVERDUE)


def _part(part: NoticePart, now: datetime) -> tuple[ColumnElement[bool], Any]:
    """Return which notices a part has, and their order."""
    running, draft = Notice.state.in_(RUNNING), Notice.state == NoticeState.DRAFTED
    return {
        NoticePart.WITHDRAW: (TO_WITHDRAW, Notice.withdraw_at),
        NoticePart.RUNNING: (~TO_WITHDRAW & running, Notice.due_at.nulls_last()),
        NoticePart.DRAFTS: (~TO_WITHDRAW & draft, Notice.created_at),
        NoticePart.CLOSED: (~TO_WITHDRAW & ~running & ~draft, Notice.created_at.desc()),
        NoticePart.OVERDUE: (is_overdue(now), Notice.due_at),
    }[part]


@dataclass(frozen=True, slots=True)
class NoticeList:
    """A page of the notices of one part."""

    notices: list[dict[str, Any]]
    start: int
    """How many notices come before this page."""
    total: int
    """How many notices the part has, those on other pages included."""

    end: int
    """How many notices come before the next page."""


class NoticeClock:
    """Lists notices by what is to be done, and by when."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def by_clock(
        self,
        caller: Caller,
        parts: Iterable[NoticePart] = _WHOLE,
        *,
        start: int = 0,
        limit: int | None = None,
    ) -> dict[NoticePart, NoticeList]:
        """Return a page of each of ``parts`` of the notices that the caller may see, after the
        first ``start`` of them."""
        now = self.now()
        lists: dict[NoticePart, NoticeList] = {}
        with self._database.read() as session:
            for part in parts:
                condition, order = _part(part, now)
                shown = (
                    select(Notice, Case)
                    .join(Case, Notice.case_id == Case.id)
                    .where(condition, *_seen_by(caller))
                    .order_by(order, Notice.id)
                    .offset(start)
                    .limit(limit or MAX_PAGE)
                )
                opened = opened_rows(session.execute(shown), self._listed)
                total = _count(session, caller, condition)
                end = min(start + (limit or MAX_PAGE), total)
                lists[part] = NoticeList([notice for _, notice in opened], start, total, end)
        return lists

    def count(self, caller: Caller, part: NoticePart) -> int:
        """Count the notices of a part that the caller may see."""
        condition, _ = _part(part, self.now())
        with self._database.read() as session:
            return _count(session, caller, condition)

    def now(self) -> datetime:
        """Return the time by which deadlines are compared."""
        return self._database.clock()

    def _listed(self, row: tuple[Notice, Case]) -> dict[str, Any]:
        notice, case = row
        key = self._vault.case_key(case)
        return {
            **listed(notice, self._database.clock()),
            "case_reference": open_json(key, case)["reference"],
            "recipient": open_json(key, notice)["recipient"],
        }


def _count(session: Session, caller: Caller, condition: ColumnElement[bool]) -> int:
    counted = select(func.count(Notice.id)).join(Case, Notice.case_id == Case.id)
    return session.scalar(counted.where(condition, *_seen_by(caller))) or 0


def _seen_by(caller: Caller) -> tuple[ColumnElement[bool], ...]:
    return Case.wrapped_key.is_not(None), visible_to(caller)


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
