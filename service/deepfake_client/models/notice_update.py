from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.notice_state import NoticeState
from ..types import UNSET, Unset

T = TypeVar("T", bound="NoticeUpdate")


@_attrs_define
class NoticeUpdate:
    """What a person did with a notice, or the answer to it."""

    sent_at: datetime.datetime | None | Unset = UNSET
    """ When it was sent. This starts the deadline. A time up to five minutes ahead counts as now, because clocks
    differ. """
    sent_reason: None | str | Unset = UNSET
    """ Why `sent_at` is before the notice was created, for example that it was sent by telephone. Required in that
    case only. """
    receipt: None | str | Unset = UNSET
    """ Text or number of the receipt. """
    outcome: None | NoticeState | Unset = UNSET
    """ What came of it. """
    answered_at: datetime.datetime | None | Unset = UNSET
    """ When it was answered; now if unset. """
    undo_sent: bool | Unset = False
    """ Take back that it was recorded as sent, within ten minutes. """

    def to_dict(self) -> dict[str, Any]:
        sent_at: None | str | Unset
        if isinstance(self.sent_at, Unset):
            sent_at = UNSET
        elif isinstance(self.sent_at, datetime.datetime):
            sent_at = self.sent_at.isoformat()
        else:
            sent_at = self.sent_at

        sent_reason: None | str | Unset
        if isinstance(self.sent_reason, Unset):
            sent_reason = UNSET
        else:
            sent_reason = self.sent_reason

        receipt: None | str | Unset
        if isinstance(self.receipt, Unset):
            receipt = UNSET
        else:
            receipt = self.receipt

        outcome: None | str | Unset
        if isinstance(self.outcome, Unset):
            outcome = UNSET
        elif isinstance(self.outcome, NoticeState):
            outcome = self.outcome.value
        else:
            outcome = self.outcome

        answered_at: None | str | Unset
        if isinstance(self.answered_at, Unset):
            answered_at = UNSET
        elif isinstance(self.answered_at, datetime.datetime):
            answered_at = self.answered_at.isoformat()
        else:
            answered_at = self.answered_at

        undo_sent = self.undo_sent

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if sent_at is not UNSET:
            field_dict["sent_at"] = sent_at
        if sent_reason is not UNSET:
            field_dict["sent_reason"] = sent_reason
        if receipt is not UNSET:
            field_dict["receipt"] = receipt
        if outcome is not UNSET:
            field_dict["outcome"] = outcome
        if answered_at is not UNSET:
            field_dict["answered_at"] = answered_at
        if undo_sent is not UNSET:
            field_dict["undo_sent"] = undo_sent

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_sent_at(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                sent_at_type_0 = datetime.datetime.fromisoformat(data)

                return sent_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        sent_at = _parse_sent_at(d.pop("sent_at", UNSET))

        def _parse_sent_reason(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        sent_reason = _parse_sent_reason(d.pop("sent_reason", UNSET))

        def _parse_receipt(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        receipt = _parse_receipt(d.pop("receipt", UNSET))

        def _parse_outcome(data: object) -> None | NoticeState | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                outcome_type_0 = NoticeState(data)

                return outcome_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | NoticeState | Unset, data)

        outcome = _parse_outcome(d.pop("outcome", UNSET))

        def _parse_answered_at(data: object) -> datetime.datetime | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                answered_at_type_0 = datetime.datetime.fromisoformat(data)

                return answered_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        answered_at = _parse_answered_at(d.pop("answered_at", UNSET))

        undo_sent = d.pop("undo_sent", UNSET)

        notice_update = cls(
            sent_at=sent_at,
            sent_reason=sent_reason,
            receipt=receipt,
            outcome=outcome,
            answered_at=answered_at,
            undo_sent=undo_sent,
        )

        return notice_update
