"""States of notices, and what is asked for and noted of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from deepfake_service.db import Notice
from deepfake_service.db.enums import NoticeState
from deepfake_service.errors import FieldError, InvalidRequest
from deepfake_service.notices.kinds import kind_of

OUTCOMES = frozenset(
    {
        NoticeState.REMOVED,
        NoticeState.TEMPORARILY_BLOCKED,
        NoticeState.REFUSED,
        NoticeState.NO_ANSWER,
        NoticeState.PRESERVED,
        NoticeState.WITHDRAWN,
    }
)
RUNNING = (NoticeState.SENT, NoticeState.PRESERVED)
"""States in which the clock runs."""
CLOCKS_DIFFER = timedelta(minutes=5)
KOREAN = frozenset({"kr-tba-22-5", "kr-d4u"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A notice to be made."""

    kind: str
    language: str
    occurrence_ids: Sequence[str]
    fields: Mapping[str, Any]
    recipient: str | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """What became of a notice."""

    sent_at: datetime | None = None
    receipt: str | None = None
    outcome: NoticeState | None = None
    answered_at: datetime | None = None


def apply_update(notice: Notice, update: Update, now: datetime) -> None:
    """Note in ``notice`` that it was sent, received or answered.

    Raises:
        InvalidRequest: the update contradicts the notice's state, its kind or the clock.
    """
    for name, at in (("sent_at", update.sent_at), ("answered_at", update.answered_at)):
        if at is not None and at > now:
            raise field_error(name, "lies in the future")
    if update.sent_at is not None:
        if notice.state != NoticeState.DRAFTED:
            raise field_error("sent_at", "that it was sent is noted already")
        if update.sent_at < notice.created_at - CLOCKS_DIFFER:
            raise field_error("sent_at", "lies before the notice was made")
        notice.sent_at, notice.state = update.sent_at, NoticeState.SENT
        clock = kind_of(notice.kind).clock
        notice.due_at = update.sent_at + clock if clock else None
    if update.outcome is None:
        if update.answered_at is not None:
            raise field_error("answered_at", "give the outcome with it")
        return
    if update.outcome not in OUTCOMES:
        raise field_error("outcome", "not an outcome")
    if notice.state == NoticeState.WITHDRAWN:
        raise field_error("outcome", "the notice was withdrawn")
    preserved = update.outcome is NoticeState.PRESERVED
    if preserved and notice.kind != "budapest-29":
        raise field_error("outcome", "only preservation is asked for by another kind of notice")
    blocked = update.outcome is NoticeState.TEMPORARILY_BLOCKED
    if blocked and notice.kind not in KOREAN:
        raise field_error("outcome", "temporary blocks pending deliberation are of Korean law")
    if notice.sent_at is None and update.outcome is not NoticeState.WITHDRAWN:
        raise field_error("sent_at", "missing: the notice was not sent")
    answered = update.answered_at or now
    if notice.sent_at and answered < notice.sent_at:
        raise field_error("answered_at", "lies before sent_at")
    notice.state, notice.answered_at = update.outcome, answered
    if update.outcome is NoticeState.WITHDRAWN:
        notice.withdraw_at = None


def field_error(name: str, detail: str) -> InvalidRequest:
    """Return the error of one field."""
    return InvalidRequest(f'The field "{name}": {detail}.', errors=[FieldError(name, detail)])
