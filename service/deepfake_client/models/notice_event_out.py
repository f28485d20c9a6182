from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.notice_event_kind import NoticeEventKind
from ..models.notice_state import NoticeState
from ..types import UNSET, Unset

T = TypeVar("T", bound="NoticeEventOut")


@_attrs_define
class NoticeEventOut:
    """One thing that happened to a notice. It is never changed.

    `digest` is the SHA-256 of the canonical JSON (RFC 8785) of all other fields but `name`, and is
    the last word of the detail of its entry in the audit log.

    """

    type_: str
    """ Names the form of the event: `deepfake-service/notice-event/1`. """
    notice: str
    """ Id of the notice. """
    number: int
    """ 1 for the first event of the notice. """
    previous: None | str
    """ Digest of the event before it. """
    at: datetime.datetime
    """ When it was recorded. """
    account: None | str
    """ Id of the account; null for the service. """
    name: None | str
    """ Name of the account. """
    event: NoticeEventKind
    """ What happened to a notice. Its value is part of what digests cover: never change one. """
    state: NoticeState
    """ The state of a notice. """
    sent_at: datetime.datetime | None
    """ When the notice was sent, as known then. """
    due_at: datetime.datetime | None
    """ The deadline of the recipient, as known then. """
    answered_at: datetime.datetime | None
    """ When it was answered, as known then. """
    receipt: None | str
    """ Text or number of the receipt that was recorded. """
    document_sha256: None | str
    """ SHA-256 of the text for `created`, of the PDF for `signed`. """
    salt: str
    """ Keeps the digest from confirming guesses at the content. """
    digest: str
    """ SHA-256 of the event, as the audit log has it. """
    reason: None | str | Unset = UNSET
    """ Why it was sent before it was created here; left out otherwise. """

    def to_dict(self) -> dict[str, Any]:
        type_ = self.type_

        notice = self.notice

        number = self.number

        previous: None | str
        previous = self.previous

        at = self.at.isoformat()

        account: None | str
        account = self.account

        name: None | str
        name = self.name

        event = self.event.value

        state = self.state.value

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

        answered_at: None | str
        if isinstance(self.answered_at, datetime.datetime):
            answered_at = self.answered_at.isoformat()
        else:
            answered_at = self.answered_at

        receipt: None | str
        receipt = self.receipt

        document_sha256: None | str
        document_sha256 = self.document_sha256

        salt = self.salt

        digest = self.digest

        reason: None | str | Unset
        if isinstance(self.reason, Unset):
            reason = UNSET
        else:
            reason = self.reason

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "type": type_,
                "notice": notice,
                "number": number,
                "previous": previous,
                "at": at,
                "account": account,
                "name": name,
                "event": event,
                "state": state,
                "sent_at": sent_at,
                "due_at": due_at,
                "answered_at": answered_at,
                "receipt": receipt,
                "document_sha256": document_sha256,
                "salt": salt,
                "digest": digest,
            }
        )
        if reason is not UNSET:
            field_dict["reason"] = reason

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        type_ = d.pop("type")

        notice = d.pop("notice")

        number = d.pop("number")

        def _parse_previous(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        previous = _parse_previous(d.pop("previous"))

        at = datetime.datetime.fromisoformat(d.pop("at"))

        def _parse_account(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        account = _parse_account(d.pop("account"))

        def _parse_name(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        name = _parse_name(d.pop("name"))

        event = NoticeEventKind(d.pop("event"))

        state = NoticeState(d.pop("state"))

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

        def _parse_receipt(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        receipt = _parse_receipt(d.pop("receipt"))

        def _parse_document_sha256(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        document_sha256 = _parse_document_sha256(d.pop("document_sha256"))

        salt = d.pop("salt")

        digest = d.pop("digest")

        def _parse_reason(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        reason = _parse_reason(d.pop("reason", UNSET))

        notice_event_out = cls(
            type_=type_,
            notice=notice,
            number=number,
            previous=previous,
            at=at,
            account=account,
            name=name,
            event=event,
            state=state,
            sent_at=sent_at,
            due_at=due_at,
            answered_at=answered_at,
            receipt=receipt,
            document_sha256=document_sha256,
            salt=salt,
            digest=digest,
            reason=reason,
        )

        return notice_event_out
