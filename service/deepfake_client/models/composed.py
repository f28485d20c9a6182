from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.section import Section


T = TypeVar("T", bound="Composed")


@_attrs_define
class Composed:
    """The text of a notice."""

    title: str
    """ The title. """
    opening: str
    """ The first paragraph. """
    sections: list[Section]
    """ What follows. """

    def to_dict(self) -> dict[str, Any]:
        title = self.title

        opening = self.opening

        sections = []
        for sections_item_data in self.sections:
            sections_item = sections_item_data.to_dict()
            sections.append(sections_item)

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "title": title,
                "opening": opening,
                "sections": sections,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.section import Section  # noqa: PLC0415

        d = dict(src_dict)
        title = d.pop("title")

        opening = d.pop("opening")

        sections = []
        _sections = d.pop("sections")
        for sections_item_data in _sections:
            sections_item = Section.from_dict(sections_item_data)

            sections.append(sections_item)

        composed = cls(
            title=title,
            opening=opening,
            sections=sections,
        )

        return composed
