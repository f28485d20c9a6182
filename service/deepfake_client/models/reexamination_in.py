from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="ReexaminationIn")


@_attrs_define
class ReexaminationIn:
    """With how many frames a video is examined again."""

    frames: int | None | Unset = UNSET
    """ More than were examined, at most 2000. They are spread evenly; a number above that of the video's frames
    means all of them. Null: as many as possible. """

    def to_dict(self) -> dict[str, Any]:
        frames: int | None | Unset
        if isinstance(self.frames, Unset):
            frames = UNSET
        else:
            frames = self.frames

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if frames is not UNSET:
            field_dict["frames"] = frames

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_frames(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        frames = _parse_frames(d.pop("frames", UNSET))

        reexamination_in = cls(
            frames=frames,
        )

        return reexamination_in
