from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="MediaOut")


@_attrs_define
class MediaOut:
    """What the container of a medium says, after rotation."""

    kind: str
    """ `image` or `video`. """
    width: int
    """ Displayed width in pixels. """
    height: int
    """ Displayed height in pixels. """
    duration_s: float | None
    """ Duration in seconds; null if it is not known, or the medium is a picture. """
    frames: int | None
    """ Number of frames; null if it is not known. """
    rotation: int
    """ Degrees by which players rotate it. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        width = self.width

        height = self.height

        duration_s: float | None
        duration_s = self.duration_s

        frames: int | None
        frames = self.frames

        rotation = self.rotation

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
                "width": width,
                "height": height,
                "duration_s": duration_s,
                "frames": frames,
                "rotation": rotation,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        kind = d.pop("kind")

        width = d.pop("width")

        height = d.pop("height")

        def _parse_duration_s(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        duration_s = _parse_duration_s(d.pop("duration_s"))

        def _parse_frames(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        frames = _parse_frames(d.pop("frames"))

        rotation = d.pop("rotation")

        media_out = cls(
            kind=kind,
            width=width,
            height=height,
            duration_s=duration_s,
            frames=frames,
            rotation=rotation,
        )

        media_out.additional_properties = d
        return media_out

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
