from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

T = TypeVar("T", bound="MatchOut")


@_attrs_define
class MatchOut:
    """An earlier case that looks like a submission."""

    case_id: str
    """ Id of the earlier case. """
    percent: int
    """ Per cent of the good-quality frames of this submission that look like one of the earlier case. """
    known_percent: int | None
    """ Per cent of the good-quality frames of the earlier case's medium that look like one of this submission; null
    for matches that an earlier version found. """
    found_at: datetime.datetime
    """ When it was found. """

    def to_dict(self) -> dict[str, Any]:
        case_id = self.case_id

        percent = self.percent

        known_percent: int | None
        known_percent = self.known_percent

        found_at = self.found_at.isoformat()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "case_id": case_id,
                "percent": percent,
                "known_percent": known_percent,
                "found_at": found_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        case_id = d.pop("case_id")

        percent = d.pop("percent")

        def _parse_known_percent(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        known_percent = _parse_known_percent(d.pop("known_percent"))

        found_at = datetime.datetime.fromisoformat(d.pop("found_at"))

        match_out = cls(
            case_id=case_id,
            percent=percent,
            known_percent=known_percent,
            found_at=found_at,
        )

        return match_out
