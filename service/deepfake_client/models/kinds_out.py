from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.kind_out import KindOut


T = TypeVar("T", bound="KindsOut")


@_attrs_define
class KindsOut:
    """All kinds of notices."""

    kinds: list[KindOut]
    """ The kinds. """

    def to_dict(self) -> dict[str, Any]:
        kinds = []
        for kinds_item_data in self.kinds:
            kinds_item = kinds_item_data.to_dict()
            kinds.append(kinds_item)

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "kinds": kinds,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.kind_out import KindOut  # noqa: PLC0415

        d = dict(src_dict)
        kinds = []
        _kinds = d.pop("kinds")
        for kinds_item_data in _kinds:
            kinds_item = KindOut.from_dict(kinds_item_data)

            kinds.append(kinds_item)

        kinds_out = cls(
            kinds=kinds,
        )

        return kinds_out
