from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.notice_base import NoticeBase


T = TypeVar("T", bound="NoticesOut")


@_attrs_define
class NoticesOut:
    """A list of notices."""

    notices: list[NoticeBase]
    """ The notices. """
    altered: list[str]
    """ Ids of notices that are left out, because a record was altered outside the service and is refused. """
    next_: None | str | Unset = UNSET
    """ Cursor of the next page; null on the last one. """

    def to_dict(self) -> dict[str, Any]:
        notices = []
        for notices_item_data in self.notices:
            notices_item = notices_item_data.to_dict()
            notices.append(notices_item)

        altered = self.altered

        next_: None | str | Unset
        if isinstance(self.next_, Unset):
            next_ = UNSET
        else:
            next_ = self.next_

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "notices": notices,
                "altered": altered,
            }
        )
        if next_ is not UNSET:
            field_dict["next"] = next_

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.notice_base import NoticeBase  # noqa: PLC0415

        d = dict(src_dict)
        notices = []
        _notices = d.pop("notices")
        for notices_item_data in _notices:
            notices_item = NoticeBase.from_dict(notices_item_data)

            notices.append(notices_item)

        altered = cast(list[str], d.pop("altered"))

        def _parse_next_(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        next_ = _parse_next_(d.pop("next", UNSET))

        notices_out = cls(
            notices=notices,
            altered=altered,
            next_=next_,
        )

        return notices_out
