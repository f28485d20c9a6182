from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.match_out import MatchOut


T = TypeVar("T", bound="MatchesOut")


@_attrs_define
class MatchesOut:
    """Earlier cases, most similar first."""

    matches: list[MatchOut]
    """ The earlier cases. """

    def to_dict(self) -> dict[str, Any]:
        matches = []
        for matches_item_data in self.matches:
            matches_item = matches_item_data.to_dict()
            matches.append(matches_item)

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "matches": matches,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.match_out import MatchOut  # noqa: PLC0415

        d = dict(src_dict)
        matches = []
        _matches = d.pop("matches")
        for matches_item_data in _matches:
            matches_item = MatchOut.from_dict(matches_item_data)

            matches.append(matches_item)

        matches_out = cls(
            matches=matches,
        )

        return matches_out
