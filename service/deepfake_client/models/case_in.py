from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="CaseIn")


@_attrs_define
class CaseIn:
    """A case to open."""

    case_reference: None | str | Unset = UNSET
    """ Your reference of the case, at most 200 characters. White space around it does not count. Null opens a case
    without one. """

    def to_dict(self) -> dict[str, Any]:
        case_reference: None | str | Unset
        if isinstance(self.case_reference, Unset):
            case_reference = UNSET
        else:
            case_reference = self.case_reference

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if case_reference is not UNSET:
            field_dict["case_reference"] = case_reference

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_case_reference(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        case_reference = _parse_case_reference(d.pop("case_reference", UNSET))

        case_in = cls(
            case_reference=case_reference,
        )

        return case_in
