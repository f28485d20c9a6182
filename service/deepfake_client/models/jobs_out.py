from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.listed_job_out import ListedJobOut


T = TypeVar("T", bound="JobsOut")


@_attrs_define
class JobsOut:
    """A page of jobs."""

    jobs: list[ListedJobOut]
    """ The jobs of this page. """
    next_: None | str
    """ Cursor of the next page; null on the last one. """
    altered: list[str]
    """ Ids of jobs that are left out, because a record was altered outside the service and is refused. """

    def to_dict(self) -> dict[str, Any]:
        jobs = []
        for jobs_item_data in self.jobs:
            jobs_item = jobs_item_data.to_dict()
            jobs.append(jobs_item)

        next_: None | str
        next_ = self.next_

        altered = self.altered

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "jobs": jobs,
                "next": next_,
                "altered": altered,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.listed_job_out import ListedJobOut  # noqa: PLC0415

        d = dict(src_dict)
        jobs = []
        _jobs = d.pop("jobs")
        for jobs_item_data in _jobs:
            jobs_item = ListedJobOut.from_dict(jobs_item_data)

            jobs.append(jobs_item)

        def _parse_next_(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        next_ = _parse_next_(d.pop("next"))

        altered = cast(list[str], d.pop("altered"))

        jobs_out = cls(
            jobs=jobs,
            next_=next_,
            altered=altered,
        )

        return jobs_out
