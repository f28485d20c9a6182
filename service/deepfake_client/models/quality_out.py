from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="QualityOut")


@_attrs_define
class QualityOut:
    """Measurements of a face, taken before it was scored."""

    face_px: float
    """ Width of the face box in pixels of the picture. """
    sharpness: float
    """ Standard deviation of the Laplacian of the crop's luma, in 8-bit levels. """
    blockiness: float
    """ 1.0 = no visible compression blocks; higher = more. """
    exposure: float
    """ Mean luma of the crop, 0 (black) to 1 (white). """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        face_px = self.face_px

        sharpness = self.sharpness

        blockiness = self.blockiness

        exposure = self.exposure

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "face_px": face_px,
                "sharpness": sharpness,
                "blockiness": blockiness,
                "exposure": exposure,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        face_px = d.pop("face_px")

        sharpness = d.pop("sharpness")

        blockiness = d.pop("blockiness")

        exposure = d.pop("exposure")

        quality_out = cls(
            face_px=face_px,
            sharpness=sharpness,
            blockiness=blockiness,
            exposure=exposure,
        )

        quality_out.additional_properties = d
        return quality_out

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
