from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="FrameCountsOut")


@_attrs_define
class FrameCountsOut:
    """How many frames were examined, and how many could not be."""

    sampled: int = 0
    """ Frames that were to be examined, with those that failed. """
    with_face: int = 0
    """ Of these, frames with a face. """
    failed: int = 0
    """ Of these, frames that could not be decoded. """
    longest_gap_s: float = 0.0
    """ Longest time between two examined frames, in seconds. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        sampled = self.sampled

        with_face = self.with_face

        failed = self.failed

        longest_gap_s = self.longest_gap_s

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "sampled": sampled,
                "with_face": with_face,
                "failed": failed,
                "longest_gap_s": longest_gap_s,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        sampled = d.pop("sampled")

        with_face = d.pop("with_face")

        failed = d.pop("failed")

        longest_gap_s = d.pop("longest_gap_s")

        frame_counts_out = cls(
            sampled=sampled,
            with_face=with_face,
            failed=failed,
            longest_gap_s=longest_gap_s,
        )

        frame_counts_out.additional_properties = d
        return frame_counts_out

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
