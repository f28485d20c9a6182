from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

T = TypeVar("T", bound="Section")


@_attrs_define
class Section:
    """A heading and lines of text."""

    heading: str
    """ Its heading. """
    lines: list[str]
    """ Its lines. """

    def to_dict(self) -> dict[str, Any]:
        heading = self.heading

        lines = self.lines

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "heading": heading,
                "lines": lines,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        heading = d.pop("heading")

        lines = cast(list[str], d.pop("lines"))

        section = cls(
            heading=heading,
            lines=lines,
        )

        return section
