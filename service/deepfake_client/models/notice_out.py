from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.notice_out_captures_type_0 import NoticeOutCapturesType0
from ..models.notice_out_kind import NoticeOutKind
from ..models.notice_out_language import NoticeOutLanguage
from ..models.notice_state import NoticeState

if TYPE_CHECKING:
    from ..models.basis import Basis
    from ..models.composed import Composed
    from ..models.notice_event_out import NoticeEventOut
    from ..models.notice_out_fields import NoticeOutFields


T = TypeVar("T", bound="NoticeOut")


@_attrs_define
class NoticeOut:
    """A notice."""

    id: str
    """ Id of the notice. """
    case_id: str
    """ Id of its case. """
    kind: NoticeOutKind
    """ Its kind. """
    language: NoticeOutLanguage
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
    recipient: None | str
    """ Who it is addressed to. """
    receipt: None | str
    """ Text or number of the recipient's receipt. """
    fields: NoticeOutFields
    """ The fields of its kind, as they were given. """
    occurrence_ids: list[str]
    """ Ids of the occurrences that it is about. """
    captures: None | NoticeOutCapturesType0
    """ How its PDF shows the screenshots of the occurrences; null if it does not. """
    basis: list[Basis]
    """ The examinations that it relies on. """
    text: str
    """ Plain text, for pasting into a form. """
    words: Composed
    """ The text of a notice. """
    undo_until: datetime.datetime | None
    """ Until when `undo_sent` can take back that it was sent. """
    history: list[NoticeEventOut]
    """ What happened to it, oldest first. """

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

        recipient: None | str
        recipient = self.recipient

        receipt: None | str
        receipt = self.receipt

        fields = self.fields.to_dict()

        occurrence_ids = self.occurrence_ids

        captures: None | str
        if isinstance(self.captures, NoticeOutCapturesType0):
            captures = self.captures.value
        else:
            captures = self.captures

        basis = []
        for basis_item_data in self.basis:
            basis_item = basis_item_data.to_dict()
            basis.append(basis_item)

        text = self.text

        words = self.words.to_dict()

        undo_until: None | str
        if isinstance(self.undo_until, datetime.datetime):
            undo_until = self.undo_until.isoformat()
        else:
            undo_until = self.undo_until

        history = []
        for history_item_data in self.history:
            history_item = history_item_data.to_dict()
            history.append(history_item)

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
                "recipient": recipient,
                "receipt": receipt,
                "fields": fields,
                "occurrence_ids": occurrence_ids,
                "captures": captures,
                "basis": basis,
                "text": text,
                "words": words,
                "undo_until": undo_until,
                "history": history,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.basis import Basis  # noqa: PLC0415
        from ..models.composed import Composed  # noqa: PLC0415
        from ..models.notice_event_out import NoticeEventOut  # noqa: PLC0415
        from ..models.notice_out_fields import NoticeOutFields  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        case_id = d.pop("case_id")

        kind = NoticeOutKind(d.pop("kind"))

        language = NoticeOutLanguage(d.pop("language"))

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

        def _parse_recipient(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        recipient = _parse_recipient(d.pop("recipient"))

        def _parse_receipt(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        receipt = _parse_receipt(d.pop("receipt"))

        fields = NoticeOutFields.from_dict(d.pop("fields"))

        occurrence_ids = cast(list[str], d.pop("occurrence_ids"))

        def _parse_captures(data: object) -> None | NoticeOutCapturesType0:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                captures_type_0 = NoticeOutCapturesType0(data)

                return captures_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | NoticeOutCapturesType0, data)

        captures = _parse_captures(d.pop("captures"))

        basis = []
        _basis = d.pop("basis")
        for basis_item_data in _basis:
            basis_item = Basis.from_dict(basis_item_data)

            basis.append(basis_item)

        text = d.pop("text")

        words = Composed.from_dict(d.pop("words"))

        def _parse_undo_until(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                undo_until_type_0 = datetime.datetime.fromisoformat(data)

                return undo_until_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        undo_until = _parse_undo_until(d.pop("undo_until"))

        history = []
        _history = d.pop("history")
        for history_item_data in _history:
            history_item = NoticeEventOut.from_dict(history_item_data)

            history.append(history_item)

        notice_out = cls(
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
            recipient=recipient,
            receipt=receipt,
            fields=fields,
            occurrence_ids=occurrence_ids,
            captures=captures,
            basis=basis,
            text=text,
            words=words,
            undo_until=undo_until,
            history=history,
        )

        return notice_out
