"""States of notices, and what is asked for and noted of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class NoticeState(StrEnum):
    """Where a notice is."""

    DRAFTED = "drafted"
    SENT = "sent"
    REMOVED = "removed"
    """Blocked or deleted."""
    TEMPORARILY_BLOCKED = "temporarily_blocked"
    """In Korea: until the Commission has deliberated."""
    REFUSED = "refused"
    NO_ANSWER = "no_answer"
    PRESERVED = "preserved"
    """The data are kept; within the clock, mutual assistance is to be asked for."""
    WITHDRAWN = "withdrawn"


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
