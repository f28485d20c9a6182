from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.edition_out import EditionOut


T = TypeVar("T", bound="EditionsOut")


@_attrs_define
class EditionsOut:
    """The editions of a job's evidence, newest first."""

    editions: list[EditionOut]
    """ The editions. """

    def to_dict(self) -> dict[str, Any]:
        editions = []
        for editions_item_data in self.editions:
            editions_item = editions_item_data.to_dict()
            editions.append(editions_item)

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "editions": editions,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.edition_out import EditionOut  # noqa: PLC0415

        d = dict(src_dict)
        editions = []
        _editions = d.pop("editions")
        for editions_item_data in _editions:
            editions_item = EditionOut.from_dict(editions_item_data)

            editions.append(editions_item)

        editions_out = cls(
            editions=editions,
        )

        return editions_out
