from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

T = TypeVar("T", bound="CaseBase")


@_attrs_define
class CaseBase:
    """A case without its content."""

    id: str
    """ Id of the case. """
    case_reference: None | str
    """ Your reference of the case; null if none was given. """
    created_at: datetime.datetime
    """ When the case was opened. """
    legal_hold: bool
    """ Whether its media are retained until the hold is lifted. """
    minor: bool
    """ Whether a person shown may be a minor. """
    reviewed_at: datetime.datetime | None
    """ When its last item was reviewed; null if an item has not been. """

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        case_reference: None | str
        case_reference = self.case_reference

        created_at = self.created_at.isoformat()

        legal_hold = self.legal_hold

        minor = self.minor

        reviewed_at: None | str
        if isinstance(self.reviewed_at, datetime.datetime):
            reviewed_at = self.reviewed_at.isoformat()
        else:
            reviewed_at = self.reviewed_at

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "case_reference": case_reference,
                "created_at": created_at,
                "legal_hold": legal_hold,
                "minor": minor,
                "reviewed_at": reviewed_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        def _parse_case_reference(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        case_reference = _parse_case_reference(d.pop("case_reference"))

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        legal_hold = d.pop("legal_hold")

        minor = d.pop("minor")

        def _parse_reviewed_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                reviewed_at_type_0 = datetime.datetime.fromisoformat(data)

                return reviewed_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        reviewed_at = _parse_reviewed_at(d.pop("reviewed_at"))

        case_base = cls(
            id=id,
            case_reference=case_reference,
            created_at=created_at,
            legal_hold=legal_hold,
            minor=minor,
            reviewed_at=reviewed_at,
        )

        return case_base
