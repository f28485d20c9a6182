from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

T = TypeVar("T", bound="ProgressOut")


@_attrs_define
class ProgressOut:
    """The progress of an examination, in frames."""

    stage: None | str
    """ `overview`, `dense` (around suspect moments), then `evidence`. `awaiting_model`: the job was begun, and no
    worker that runs now has its model bundle and version. """
    done: int
    """ Frames of this stage that have been examined. """
    total: int | None
    """ Frames of this stage; null until that is known. """

    def to_dict(self) -> dict[str, Any]:
        stage: None | str
        stage = self.stage

        done = self.done

        total: int | None
        total = self.total

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "stage": stage,
                "done": done,
                "total": total,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_stage(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        stage = _parse_stage(d.pop("stage"))

        done = d.pop("done")

        def _parse_total(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        total = _parse_total(d.pop("total"))

        progress_out = cls(
            stage=stage,
            done=done,
            total=total,
        )

        return progress_out
