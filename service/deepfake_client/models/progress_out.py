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
    """ Frames that have been examined, in all stages so far. """
    total: int | None
    """ Frames that have been planned so far; null until that is known. It grows once, when suspect moments are to
    be examined closely. """
    overview: int | None
    """ How many of the frames belong to the overview, which come first; null until that is known. """
    remaining_s: int | None
    """ About how many seconds the frames planned so far still take, at the rate of those that are finished; null
    until that is known. A close look may follow the overview unless `frames` was asked for. """

    def to_dict(self) -> dict[str, Any]:
        stage: None | str
        stage = self.stage

        done = self.done

        total: int | None
        total = self.total

        overview: int | None
        overview = self.overview

        remaining_s: int | None
        remaining_s = self.remaining_s

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "stage": stage,
                "done": done,
                "total": total,
                "overview": overview,
                "remaining_s": remaining_s,
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

        def _parse_overview(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        overview = _parse_overview(d.pop("overview"))

        def _parse_remaining_s(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        remaining_s = _parse_remaining_s(d.pop("remaining_s"))

        progress_out = cls(
            stage=stage,
            done=done,
            total=total,
            overview=overview,
            remaining_s=remaining_s,
        )

        return progress_out
