from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="MomentOut")


@_attrs_define
class MomentOut:
    """A span of time in which the faces of a track look manipulated. It decides nothing."""

    start_s: float
    """ Start, in seconds from the first frame. """
    end_s: float
    """ End, in seconds from the first frame. """
    peak_s: float
    """ Time of the highest score in it, in seconds from the first frame. """
    peak_score: float | None | Unset = UNSET
    """ Higher = more probably manipulated, calibrated at the bundle's prior. Null if nothing was scored, or
    `DEEPFAKE_SYSTEM_SCORES` withholds it. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        start_s = self.start_s

        end_s = self.end_s

        peak_s = self.peak_s

        peak_score: float | None | Unset
        if isinstance(self.peak_score, Unset):
            peak_score = UNSET
        else:
            peak_score = self.peak_score

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "start_s": start_s,
                "end_s": end_s,
                "peak_s": peak_s,
            }
        )
        if peak_score is not UNSET:
            field_dict["peak_score"] = peak_score

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        start_s = d.pop("start_s")

        end_s = d.pop("end_s")

        peak_s = d.pop("peak_s")

        def _parse_peak_score(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        peak_score = _parse_peak_score(d.pop("peak_score", UNSET))

        moment_out = cls(
            start_s=start_s,
            end_s=end_s,
            peak_s=peak_s,
            peak_score=peak_score,
        )

        moment_out.additional_properties = d
        return moment_out

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
