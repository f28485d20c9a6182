from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

T = TypeVar("T", bound="AuditEntryOut")


@_attrs_define
class AuditEntryOut:
    """Who did what, when, to which item, and with which key."""

    number: int
    """ Number of the entry, from 1 without gaps. """
    at: datetime.datetime
    """ When it was written. """
    account: None | str
    """ Id of the account that acted; null if the service did. """
    key: None | str
    """ Id of the key that was used; null if the service acted. """
    action: str
    """ What was done. """
    subject: None | str
    """ Id of what it was done to. """
    detail: None | str
    """ A code or an id that belongs to the action. """

    def to_dict(self) -> dict[str, Any]:
        number = self.number

        at = self.at.isoformat()

        account: None | str
        account = self.account

        key: None | str
        key = self.key

        action = self.action

        subject: None | str
        subject = self.subject

        detail: None | str
        detail = self.detail

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "number": number,
                "at": at,
                "account": account,
                "key": key,
                "action": action,
                "subject": subject,
                "detail": detail,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        number = d.pop("number")

        at = datetime.datetime.fromisoformat(d.pop("at"))

        def _parse_account(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        account = _parse_account(d.pop("account"))

        def _parse_key(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        key = _parse_key(d.pop("key"))

        action = d.pop("action")

        def _parse_subject(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        subject = _parse_subject(d.pop("subject"))

        def _parse_detail(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        detail = _parse_detail(d.pop("detail"))

        audit_entry_out = cls(
            number=number,
            at=at,
            account=account,
            key=key,
            action=action,
            subject=subject,
            detail=detail,
        )

        return audit_entry_out
