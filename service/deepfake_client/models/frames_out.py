from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.frame_out import FrameOut
    from ..models.model_out import ModelOut


T = TypeVar("T", bound="FramesOut")


@_attrs_define
class FramesOut:
    """The results of all pictures of a request, in the order in which they were sent."""

    frames: list[FrameOut]
    """ The results. """
    model: ModelOut
    """ The model that scored, and the terms of its use. """

    def to_dict(self) -> dict[str, Any]:
        frames = []
        for frames_item_data in self.frames:
            frames_item = frames_item_data.to_dict()
            frames.append(frames_item)

        model = self.model.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "frames": frames,
                "model": model,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.frame_out import FrameOut  # noqa: PLC0415
        from ..models.model_out import ModelOut  # noqa: PLC0415

        d = dict(src_dict)
        frames = []
        _frames = d.pop("frames")
        for frames_item_data in _frames:
            frames_item = FrameOut.from_dict(frames_item_data)

            frames.append(frames_item)

        model = ModelOut.from_dict(d.pop("model"))

        frames_out = cls(
            frames=frames,
            model=model,
        )

        return frames_out
