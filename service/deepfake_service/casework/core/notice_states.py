"""States of notices, and what is asked for and noted of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field
from pydantic_core import PydanticCustomError

from deepfake_service.db import Notice
from deepfake_service.db.enums import NoticeState
from deepfake_service.documents.i18n import LANGUAGES
from deepfake_service.errors import FieldError, InvalidRequest
from deepfake_service.notices.kinds import KINDS, kind_of

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


def _one_of(values: Sequence[str]) -> Callable[[str], str]:
    """Return a validator that accepts ``values`` only."""

    def check(value: str) -> str:
        if value not in values:
            raise PydanticCustomError(
                "not_one_of", "use one of {expected}", {"expected": ", ".join(values)}
            )
        return value

    return check


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


_KINDS = tuple(KINDS)
Kind = Annotated[
    str, AfterValidator(_one_of(_KINDS)), Field(json_schema_extra={"enum": list(_KINDS)})
]
Language = Annotated[
    str, AfterValidator(_one_of(LANGUAGES)), Field(json_schema_extra={"enum": list(LANGUAGES)})
]
Moment = Annotated[AwareDatetime, AfterValidator(_utc)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRequest:
    """A notice to create."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: Kind
    language: Language = "ko"
    occurrence_ids: Annotated[Sequence[str], Field(max_length=200)]
    fields: Mapping[str, Any]
    recipient: Annotated[str | None, Field(max_length=200)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeUpdate:
    """What a person did with a notice, or the answer to it."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    sent_at: Moment | None = None
    receipt: Annotated[str | None, Field(max_length=2000)] = None
    outcome: NoticeState | None = None
    answered_at: Moment | None = None


def apply_update(notice: Notice, update: NoticeUpdate, now: datetime) -> None:
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
