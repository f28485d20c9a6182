"""Notices as the API answers with them and pages show them, and what is stored of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from deepfake_service.cases.notice_history import NoticeEventRecord
from deepfake_service.cases.notices_under_way import RUNNING
from deepfake_service.notices.compose import Basis, ComposedNotice, WithoutConsent
from deepfake_service.notices.states import CaptureChoice, KindId, Language
from deepfake_service.platform.answers import ItemId, Published, Time
from deepfake_service.platform.db import Notice
from deepfake_service.platform.enums import NoticeState
from deepfake_service.platform.storage import open_json

_COLUMNS = (
    "id", "case_id", "kind", "language", "state", "created_at", "sent_at", "due_at", "answered_at",
    "gone_at", "returned_at",
)  # fmt: skip


class NoticeContent(BaseModel):
    """What is stored of a notice, sealed."""

    model_config = ConfigDict(frozen=True)

    recipient: str | None
    fields: dict[str, object]
    occurrence_ids: list[str]
    basis: list[Basis]
    without_consent: WithoutConsent | None
    composed: ComposedNotice
    sender: list[str]
    captures: CaptureChoice | None
    receipt: str | None = None


class NoticeSummary(Published):
    """A notice without its text."""

    id: ItemId = Field(description="Id of the notice.")
    case_id: ItemId = Field(description="Id of its case.")
    kind: KindId = Field(description="Its kind.")
    language: Language = Field(description="Its language.")
    recipient: str | None = Field(description="Who it is addressed to.")
    state: NoticeState = Field(description="What has become of it.")
    created_at: Time = Field(description="When it was created.")
    sent_at: Time | None = Field(description="When it was sent; null until then.")
    due_at: Time | None = Field(description="The recipient's deadline, if there is one.")
    overdue: bool = Field(description="Whether the deadline has passed without an answer.")
    answered_at: Time | None = Field(description="When it was answered; null until then.")
    gone_at: Time | None
    """When looks had found the last of its posts gone; null while one is there."""
    returned_at: Time | None
    """When one of its posts was found to be there again; null if none is."""
    withdraw: bool
    """Whether it should be withdrawn: the finding was reversed, or a person was flagged as a
    possible minor."""


class NoticeOfCase(NoticeSummary):
    """A notice in a list of several cases."""

    case_reference: str | None = Field(description="The reference of its case.")


@dataclass(frozen=True, slots=True)
class NoticeList:
    """A page of the notices of one part."""

    notices: list[NoticeOfCase]
    start: int
    """How many notices come before this page."""
    total: int
    """How many notices the part has, those on other pages included."""

    end: int
    """How many notices come before the next page."""


class FullNotice(NoticeSummary):
    """A notice."""

    receipt: str | None = Field(description="Text or number of the recipient's receipt.")
    fields: dict[str, object] = Field(description="The fields of its kind, as they were given.")
    occurrence_ids: list[ItemId] = Field(description="Ids of the occurrences that it is about.")
    captures: CaptureChoice | None
    """How its PDF shows the screenshots of the occurrences; null if it does not."""
    basis: list[Basis]
    """The findings that it rests on, with their examinations; empty if it rests on a statement."""
    without_consent: WithoutConsent | None
    """The statement that it rests on; null if it rests on findings."""
    text: str = Field(description="Plain text, for pasting into a form.")
    undo_until: Time | None
    """Until when `undo_sent` can take back that it was sent."""
    history: list[NoticeEventRecord] = Field(description="What happened to it, oldest first.")


def facts_of(notice: Notice, now: datetime) -> dict[str, object]:
    """Return what ``NoticeSummary`` has of a notice beside its content."""
    is_running = notice.state in RUNNING and notice.gone_at is None
    is_late = is_running and notice.due_at is not None and notice.due_at < now
    named = {name: getattr(notice, name) for name in _COLUMNS}
    return {**named, "overdue": is_late, "withdraw": notice.withdraw_at is not None}


def content_of(key: bytes, notice: Notice) -> NoticeContent:
    """Return what is stored of a notice of the case with this ``key``."""
    return NoticeContent.model_validate(open_json(key, notice))
