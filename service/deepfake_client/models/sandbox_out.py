from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..models.layer import Layer

T = TypeVar("T", bound="SandboxOut")


@_attrs_define
class SandboxOut:
    """The sandbox in which untrusted files are parsed."""

    missing: list[Layer]
    """ Layers that the kernel or the container does not grant; empty if complete. """

    def to_dict(self) -> dict[str, Any]:
        missing = []
        for missing_item_data in self.missing:
            missing_item = missing_item_data.value
            missing.append(missing_item)

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "missing": missing,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        missing = []
        _missing = d.pop("missing")
        for missing_item_data in _missing:
            missing_item = Layer(missing_item_data)

            missing.append(missing_item)

        sandbox_out = cls(
            missing=missing,
        )

        return sandbox_out
