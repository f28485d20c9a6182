from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.occurrence_out import OccurrenceOut


T = TypeVar("T", bound="OccurrencesOut")


@_attrs_define
class OccurrencesOut:
    """A page of occurrences, newest first."""

    occurrences: list[OccurrenceOut]
    """ The occurrences of this page. """
    next_: None | str
    """ Cursor of the next page; null on the last one. """
    altered: list[str]
    """ Ids of occurrences that are left out, because a record was altered outside the service and is refused. """

    def to_dict(self) -> dict[str, Any]:
        occurrences = []
        for occurrences_item_data in self.occurrences:
            occurrences_item = occurrences_item_data.to_dict()
            occurrences.append(occurrences_item)

        next_: None | str
        next_ = self.next_

        altered = self.altered

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "occurrences": occurrences,
                "next": next_,
                "altered": altered,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.occurrence_out import OccurrenceOut  # noqa: PLC0415

        d = dict(src_dict)
        occurrences = []
        _occurrences = d.pop("occurrences")
        for occurrences_item_data in _occurrences:
            occurrences_item = OccurrenceOut.from_dict(occurrences_item_data)

            occurrences.append(occurrences_item)

        def _parse_next_(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        next_ = _parse_next_(d.pop("next"))

        altered = cast(list[str], d.pop("altered"))

        occurrences_out = cls(
            occurrences=occurrences,
            next_=next_,
            altered=altered,
        )

        return occurrences_out
