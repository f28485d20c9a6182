from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="Section")


@_attrs_define
class Section:
    """A label and lines of text."""

    heading: str
    """ Its label. """
    lines: list[str]
    """ Its lines. """
    name: None | str | Unset = UNSET
    """ The field of the notice that it states, or its part. """
    provision: None | str | Unset = UNSET
    """ The provision that requires the field. """

    def to_dict(self) -> dict[str, Any]:
        heading = self.heading

        lines = self.lines

        name: None | str | Unset
        if isinstance(self.name, Unset):
            name = UNSET
        else:
            name = self.name

        provision: None | str | Unset
        if isinstance(self.provision, Unset):
            provision = UNSET
        else:
            provision = self.provision

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "heading": heading,
                "lines": lines,
            }
        )
        if name is not UNSET:
            field_dict["name"] = name
        if provision is not UNSET:
            field_dict["provision"] = provision

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        heading = d.pop("heading")

        lines = cast(list[str], d.pop("lines"))

        def _parse_name(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        name = _parse_name(d.pop("name", UNSET))

        def _parse_provision(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        provision = _parse_provision(d.pop("provision", UNSET))

        section = cls(
            heading=heading,
            lines=lines,
            name=name,
            provision=provision,
        )

        return section
