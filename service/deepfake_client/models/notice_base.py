from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.notice_base_kind import NoticeBaseKind
from ..models.notice_base_language import NoticeBaseLanguage
from ..models.notice_state import NoticeState

T = TypeVar("T", bound="NoticeBase")


@_attrs_define
class NoticeBase:
    """A notice without its content."""

    id: str
    """ Id of the notice. """
    case_id: str
    """ Id of its case. """
    kind: NoticeBaseKind
    """ Its kind. """
    language: NoticeBaseLanguage
    """ Its language. """
    state: NoticeState
    """ The state of a notice. """
    created_at: datetime.datetime
    """ When it was created. """
    sent_at: datetime.datetime | None
    """ When it was sent; null until then. """
    due_at: datetime.datetime | None
    """ The recipient's deadline, if there is one. """
    overdue: bool
    """ Whether the deadline has passed without an answer. """
    answered_at: datetime.datetime | None
    """ When it was answered; null until then. """
    withdraw: bool
    """ Whether it should be withdrawn: the finding was reversed, or a person was flagged as a possible minor. """

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        case_id = self.case_id

        kind = self.kind.value

        language = self.language.value

        state = self.state.value

        created_at = self.created_at.isoformat()

        sent_at: None | str
        if isinstance(self.sent_at, datetime.datetime):
            sent_at = self.sent_at.isoformat()
        else:
            sent_at = self.sent_at

        due_at: None | str
        if isinstance(self.due_at, datetime.datetime):
            due_at = self.due_at.isoformat()
        else:
            due_at = self.due_at

        overdue = self.overdue

        answered_at: None | str
        if isinstance(self.answered_at, datetime.datetime):
            answered_at = self.answered_at.isoformat()
        else:
            answered_at = self.answered_at

        withdraw = self.withdraw

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "case_id": case_id,
                "kind": kind,
                "language": language,
                "state": state,
                "created_at": created_at,
                "sent_at": sent_at,
                "due_at": due_at,
                "overdue": overdue,
                "answered_at": answered_at,
                "withdraw": withdraw,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        case_id = d.pop("case_id")

        kind = NoticeBaseKind(d.pop("kind"))

        language = NoticeBaseLanguage(d.pop("language"))

        state = NoticeState(d.pop("state"))

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        def _parse_sent_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                sent_at_type_0 = datetime.datetime.fromisoformat(data)

                return sent_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        sent_at = _parse_sent_at(d.pop("sent_at"))

        def _parse_due_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                due_at_type_0 = datetime.datetime.fromisoformat(data)

                return due_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        due_at = _parse_due_at(d.pop("due_at"))

        overdue = d.pop("overdue")

        def _parse_answered_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                answered_at_type_0 = datetime.datetime.fromisoformat(data)

                return answered_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        answered_at = _parse_answered_at(d.pop("answered_at"))

        withdraw = d.pop("withdraw")

        notice_base = cls(
            id=id,
            case_id=case_id,
            kind=kind,
            language=language,
            state=state,
            created_at=created_at,
            sent_at=sent_at,
            due_at=due_at,
            overdue=overdue,
            answered_at=answered_at,
            withdraw=withdraw,
        )

        return notice_base
