"""The life of a notice: what is requested, which updates are allowed, and what is to be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError
from sqlalchemy import ColumnElement, SQLColumnExpression, and_

from deepfake_service.cases.notices_under_way import RUNNING, TO_WITHDRAW
from deepfake_service.notices.basis import ReportChoice
from deepfake_service.notices.compose import WithoutConsent
from deepfake_service.notices.kinds import KINDS, kind_of
from deepfake_service.platform.clock import CLIENT_SKEW, Moment
from deepfake_service.platform.db import Notice
from deepfake_service.platform.enums import NoticeEventKind, NoticeState
from deepfake_service.platform.errors import FieldError, InvalidRequest, invalid_field
from deepfake_service.platform.texts.characters import HiddenCharacter, shown


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

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    kind: KindId
    """Its kind; `GET /v1/notices` lists them."""
    language: Language | None = None
    """Its language; by default that of its kind."""
    occurrence_ids: Annotated[Sequence[str], Field(max_length=200)]
    """Ids of the occurrences that it is about."""
    fields: Mapping[str, object]
    """The fields of its kind, as `GET /v1/notices` describes them."""
    recipient: Annotated[str | None, Field(max_length=200)] = None
    """Who it is addressed to."""
    captures: CaptureChoice = "blurred"
    """How the PDF shows the screenshots of the occurrences, if its kind needs them."""
    reports: ReportChoice = "supporting"
    """Which reports of examinations are enclosed: those whose verdict supports the finding
    (`likely_manipulated`), `all` or `none`."""
    review_reasons: bool = False
    """Whether the notice and the reports that are enclosed have the reasons of the reviewers, word
    for word."""
    without_consent: WithoutConsent | None = None
    """The statement that the files are shared without consent, on which the notice then rests
    instead of a finding: it does not claim that they are manipulated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeUpdate:
    """What a person did with a notice, or the answer to it."""

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    sent_at: Moment | None = None
    """When it was sent. This starts the deadline. A time up to five minutes ahead counts as now,
    because clocks differ."""
    sent_reason: Annotated[str | None, Field(max_length=500)] = None
    """Why `sent_at` is before the notice was created, for example that it was sent by telephone,
    or why it was not recorded before the notice was marked `withdraw`. Required in these cases
    only."""
    receipt: Annotated[str | None, Field(max_length=2000)] = None
    """Text or number of the receipt."""
    outcome: NoticeState | None = None
    """What came of it."""
    answered_at: Moment | None = None
    """When it was answered; now if unset."""
    undo_sent: bool = False
    """Take back that it was recorded as sent, within ten minutes."""

    @property
    def reason(self) -> str | None:
        """Why it was sent before it was created or marked, if that is stated."""
        return (self.sent_reason or "").strip() or None


def apply_update(
    notice: Notice, update: NoticeUpdate, undo_until: datetime | None, now: datetime
) -> Iterator[NoticeEventKind]:
    """Change the state and the times of ``notice``; yield what happened, one thing after the other.
    A record that it was sent can be undone ``undo_until``, or not at all. ``InvalidRequest`` if the
    update is empty, contradicts the notice's state or kind, or lies in the future."""
    if update == NoticeUpdate():
        raise InvalidRequest("Say what happened: send sent_at, undo_sent, receipt or outcome.")
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
        raise invalid_field("sent_reason", "only with the time at which it was sent")
    if update.receipt is not None:
        yield NoticeEventKind.RECEIPT
    if update.outcome is not None:
        _conclude(notice, update.outcome, answered_at or now)
        yield NoticeEventKind.OUTCOME
    elif answered_at is not None:
        raise invalid_field("answered_at", "requires an outcome")


def _not_after(now: datetime, name: str, at: datetime | None) -> datetime | None:
    """Return a time that a client stated; ``now`` for one that its clock puts a little later.
    ``InvalidRequest`` if it lies further in the future."""
    if at is not None and at > now + CLIENT_SKEW:
        raise invalid_field(name, "in the future")
    return at and min(at, now)


def _undo_sending(notice: Notice, until: datetime | None, now: datetime) -> None:
    if notice.state != NoticeState.SENT or until is None:
        raise invalid_field("undo_sent", "the notice is not marked as sent")
    if now > until:
        raise invalid_field("undo_sent", "only possible for ten minutes")
    notice.state, notice.sent_at, notice.due_at = NoticeState.DRAFTED, None, None


def _send(notice: Notice, sent_at: datetime, reason: str | None) -> None:
    if notice.state != NoticeState.DRAFTED:
        raise invalid_field("sent_at", "the notice is already marked as sent")
    is_earlier = sent_at < notice.created_at - CLIENT_SKEW  # by telephone, for example
    if notice.withdraw_at is not None:
        if sent_at >= notice.withdraw_at:
            raise invalid_field(
                "sent_at", "the basis has changed: only a time before that, if it was sent then"
            )
        if not reason:
            raise invalid_field("sent_reason", "before the basis changed: state the reason")
    elif is_earlier and not reason:
        raise invalid_field("sent_reason", "before the notice was created: state the reason")
    elif reason and not is_earlier:
        raise invalid_field("sent_reason", "only for a time before the notice was created")
    notice.sent_at, notice.state = sent_at, NoticeState.SENT
    hours = kind_of(notice.kind).hours_to_act
    notice.due_at = sent_at + timedelta(hours=hours) if hours else None


def _conclude(notice: Notice, outcome: NoticeState, answered_at: datetime) -> None:
    if notice.state == NoticeState.WITHDRAWN:
        raise invalid_field("outcome", "the notice was withdrawn")
    if outcome not in (*kind_of(notice.kind).outcomes, NoticeState.WITHDRAWN):
        raise invalid_field("outcome", "not an outcome of this kind of notice")
    if notice.sent_at is None and outcome is not NoticeState.WITHDRAWN:
        raise invalid_field("sent_at", "the notice has not been marked as sent")
    if notice.sent_at and answered_at < notice.sent_at:
        raise invalid_field("answered_at", "before the notice was sent")
    notice.state, notice.answered_at = outcome, answered_at
    if outcome is NoticeState.WITHDRAWN:
        notice.withdraw_at = None


def require_shown(name: str, text: str | None, *, lines: bool) -> None:
    """Require that every character of a field is shown, or is a line break or tab with ``lines``;
    the ``InvalidRequest`` names the field and the code point."""
    try:
        shown(text or "", lines=lines)
    except HiddenCharacter as error:
        detail = FieldError(name, str(error), HiddenCharacter.TEMPLATE, error.values)
        raise InvalidRequest(f'The field "{name}" {error}.', errors=[detail]) from error


RETURNED = Notice.returned_at.is_not(None) & (Notice.state != NoticeState.WITHDRAWN)
"""Notices of which a post was gone and is there again."""


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
    RETURNED = "returned"
    """Those of which a post was gone and is there again, newest first, which the parts above have
    as well."""
    OVERDUE = "overdue"
    """Those whose posts are not all gone and whose deadline has passed without an answer, too."""


def condition_of(
    part: NoticePart, now: datetime
) -> tuple[ColumnElement[bool], SQLColumnExpression[datetime | None]]:
    """Return the condition of the notices of a part, and what they are ordered by."""
    running, draft = Notice.state.in_(RUNNING), Notice.state == NoticeState.DRAFTED
    return {
        NoticePart.WITHDRAW: (TO_WITHDRAW, Notice.withdraw_at),
        NoticePart.RUNNING: (~TO_WITHDRAW & running, Notice.due_at.nulls_last()),
        NoticePart.DRAFTS: (~TO_WITHDRAW & draft, Notice.created_at),
        NoticePart.CLOSED: (~TO_WITHDRAW & ~running & ~draft, Notice.created_at.desc()),
        NoticePart.RETURNED: (RETURNED, Notice.returned_at.desc()),
        NoticePart.OVERDUE: (is_overdue(now), Notice.due_at),
    }[part]


def is_overdue(now: datetime) -> ColumnElement[bool]:
    """Return the condition that the deadline of a notice has passed without an answer, and that not
    all its posts are known to be gone."""
    return and_(Notice.state.in_(RUNNING), Notice.due_at < now, Notice.gone_at.is_(None))
