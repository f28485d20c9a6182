from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.case_base import CaseBase


T = TypeVar("T", bound="CasesOut")


@_attrs_define
class CasesOut:
    """A page of cases."""

    cases: list[CaseBase]
    """ The cases of this page. """
    next_: None | str
    """ Cursor of the next page; null on the last one. """
    altered: list[str]
    """ Ids of cases that are left out, because a record was altered outside the service and is refused. """

    def to_dict(self) -> dict[str, Any]:
        cases = []
        for cases_item_data in self.cases:
            cases_item = cases_item_data.to_dict()
            cases.append(cases_item)

        next_: None | str
        next_ = self.next_

        altered = self.altered

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "cases": cases,
                "next": next_,
                "altered": altered,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.case_base import CaseBase  # noqa: PLC0415

        d = dict(src_dict)
        cases = []
        _cases = d.pop("cases")
        for cases_item_data in _cases:
            cases_item = CaseBase.from_dict(cases_item_data)

            cases.append(cases_item)

        def _parse_next_(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        next_ = _parse_next_(d.pop("next"))

        altered = cast(list[str], d.pop("altered"))

        cases_out = cls(
            cases=cases,
            next_=next_,
            altered=altered,
        )

        return cases_out
