"""The life of a notice: what is requested, what becomes of it, and which updates are allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from deepfake_service.notices.kinds import KINDS, kind_of
from deepfake_service.platform.clock import CLIENT_SKEW, Moment
from deepfake_service.platform.db import Notice
from deepfake_service.platform.db.enums import NoticeEventKind, NoticeState
from deepfake_service.platform.errors import FieldError, InvalidRequest
from deepfake_service.platform.texts.characters import HiddenCharacter, shown

RUNNING = (NoticeState.SENT, NoticeState.PRESERVED)
"""States in which the deadline counts."""
UNDO_FOR = timedelta(minutes=10)
"""Time in which a notice that was recorded as sent by mistake can become a draft again."""


def _is_kind(name: str) -> str:
    if name not in KINDS:
        expected = {"expected": ", ".join(KINDS)}
        raise PydanticCustomError("not_one_of", "use one of {expected}", expected)
    return name


KindId = Annotated[str, AfterValidator(_is_kind), Field(json_schema_extra={"enum": list(KINDS)})]
Language = Literal["ko", "en"]
CaptureChoice = Literal["clear", "blurred"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRequest:
    """A notice to create."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: Annotated[KindId, Field(description="Its kind; `GET /v1/notices` lists them.")]
    language: Annotated[Language, Field(description="Its language.")] = "ko"
    occurrence_ids: Annotated[
        Sequence[str], Field(max_length=200, description="Ids of the occurrences that it is about.")
    ]
    fields: Annotated[
        Mapping[str, Any],
        Field(description="The fields of its kind, as `GET /v1/notices` describes them."),
    ]
    recipient: Annotated[
        str | None, Field(max_length=200, description="Who it is addressed to.")
    ] = None
    captures: Annotated[
        CaptureChoice,
        Field(
            description="How the PDF shows the screenshots of the occurrences, if its kind "
            "needs them."
        ),
    ] = "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeUpdate:
    """What a person did with a notice, or the answer to it."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    sent_at: Annotated[
        Moment | None,
        Field(
            description="When it was sent. This starts the deadline. A time up to five minutes "
            "ahead counts as now, because clocks differ."
        ),
    ] = None
    sent_reason: Annotated[
        str | None,
        Field(
            max_length=500,
            description="Why `sent_at` is before the notice was created, for example that it was "
            "sent by telephone. Required in that case only.",
        ),
    ] = None
    receipt: Annotated[
        str | None, Field(max_length=2000, description="Text or number of the receipt.")
    ] = None
    outcome: Annotated[NoticeState | None, Field(description="What came of it.")] = None
    answered_at: Annotated[
        Moment | None, Field(description="When it was answered; now if unset.")
    ] = None
    undo_sent: Annotated[
        bool,
        Field(description="Take back that it was recorded as sent, within ten minutes."),
    ] = False

    @property
    def reason(self) -> str | None:
        """Why it was sent before it was created, if that is stated."""
        return (self.sent_reason or "").strip() or None


def apply_update(
    notice: Notice, update: NoticeUpdate, undo_until: datetime | None, now: datetime
) -> Iterator[NoticeEventKind]:
    """Change the state and the times of ``notice``; yield what happened, one thing after the other.

    Args:
        undo_until: until when a record that it was sent can be undone; ``None`` if it cannot.

    Raises:
        InvalidRequest: the update contradicts the notice's state or kind, or lies in the future.
    """
    require_shown("receipt", update.receipt, lines=True)
    require_shown("sent_reason", update.sent_reason, lines=False)
    sent_at = _not_after(now, "sent_at", update.sent_at)
    answered_at = _not_after(now, "answered_at", update.answered_at)
    if update.undo_sent:
        _undo_sending(notice, undo_until, now)
        yield NoticeEventKind.SEND_UNDONE
    if sent_at is not None:
        _send(notice, sent_at, update.reason)
        yield NoticeEventKind.SENT
    elif update.sent_reason:
        raise field_error("sent_reason", "only with the time at which it was sent")
    if update.receipt is not None:
        yield NoticeEventKind.RECEIPT
    if update.outcome is not None:
        _conclude(notice, update.outcome, answered_at or now)
        yield NoticeEventKind.OUTCOME
    elif answered_at is not None:
        raise field_error("answered_at", "requires an outcome")


def _not_after(now: datetime, name: str, at: datetime | None) -> datetime | None:
    """Return a time that a client stated; ``now`` for one that its clock puts a little later.

    Raises:
        InvalidRequest: it lies further in the future.
    """
    if at is not None and at > now + CLIENT_SKEW:
        raise field_error(name, "in the future")
    return at and min(at, now)


def _undo_sending(notice: Notice, until: datetime | None, now: datetime) -> None:
    if notice.state != NoticeState.SENT or until is None:
        raise field_error("undo_sent", "the notice is not marked as sent")
    if now > until:
        raise field_error("undo_sent", "only possible for ten minutes")
    notice.state, notice.sent_at, notice.due_at = NoticeState.DRAFTED, None, None


def _send(notice: Notice, sent_at: datetime, reason: str | None) -> None:
    if notice.state != NoticeState.DRAFTED:
        raise field_error("sent_at", "the notice is already marked as sent")
    is_earlier = sent_at < notice.created_at - CLIENT_SKEW  # by telephone, for example
    if is_earlier and not reason:
        raise field_error("sent_reason", "before the notice was created: state the reason")
    if reason and not is_earlier:
        raise field_error("sent_reason", "only for a time before the notice was created")
    notice.sent_at, notice.state = sent_at, NoticeState.SENT
    deadline = kind_of(notice.kind).time_to_act
    notice.due_at = sent_at + deadline if deadline else None


def _conclude(notice: Notice, outcome: NoticeState, answered_at: datetime) -> None:
    if notice.state == NoticeState.WITHDRAWN:
        raise field_error("outcome", "the notice was withdrawn")
    if outcome not in (*kind_of(notice.kind).outcomes, NoticeState.WITHDRAWN):
        raise field_error("outcome", "not an outcome of this kind of notice")
    if notice.sent_at is None and outcome is not NoticeState.WITHDRAWN:
        raise field_error("sent_at", "the notice has not been marked as sent")
    if notice.sent_at and answered_at < notice.sent_at:
        raise field_error("answered_at", "before the notice was sent")
    notice.state, notice.answered_at = outcome, answered_at
    if outcome is NoticeState.WITHDRAWN:
        notice.withdraw_at = None


def require_shown(name: str, text: str | None, *, lines: bool) -> None:
    """Require that every character of a field is shown.

    Args:
        lines: whether line breaks and tabs are allowed.

    Raises:
        InvalidRequest: one is not; the error names the field and the code point.
    """
    try:
        shown(text or "", lines=lines)
    except HiddenCharacter as error:
        detail = FieldError(name, str(error), HiddenCharacter.TEMPLATE, error.values)
        raise InvalidRequest(f'The field "{name}" {error}.', errors=[detail]) from error


def field_error(name: str, detail: str) -> InvalidRequest:
    """Return the error about one field of a request."""
    return InvalidRequest(f'The field "{name}": {detail}.', errors=[FieldError(name, detail)])
