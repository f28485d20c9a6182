from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.job_base import JobBase
    from ..models.occurrence_out import OccurrenceOut


T = TypeVar("T", bound="CaseOut")


@_attrs_define
class CaseOut:
    """A case: what was submitted under one reference, and where it was seen."""

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
    occurrences: list[OccurrenceOut]
    """ The newest ones, at most 100. """
    occurrences_next: None | str
    """ Cursor of `GET /v1/cases/{case_id}/occurrences` for older occurrences; null if there are none. """
    jobs: list[JobBase]
    """ The newest ones, at most 100. """
    jobs_next: None | str
    """ Cursor of `GET /v1/jobs?case_id=` for older jobs; null if there are none. """
    altered: list[str]
    """ Ids of occurrences and jobs that are left out, because a record was altered outside the service and is
    refused. """

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

        occurrences = []
        for occurrences_item_data in self.occurrences:
            occurrences_item = occurrences_item_data.to_dict()
            occurrences.append(occurrences_item)

        occurrences_next: None | str
        occurrences_next = self.occurrences_next

        jobs = []
        for jobs_item_data in self.jobs:
            jobs_item = jobs_item_data.to_dict()
            jobs.append(jobs_item)

        jobs_next: None | str
        jobs_next = self.jobs_next

        altered = self.altered

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "case_reference": case_reference,
                "created_at": created_at,
                "legal_hold": legal_hold,
                "minor": minor,
                "reviewed_at": reviewed_at,
                "occurrences": occurrences,
                "occurrences_next": occurrences_next,
                "jobs": jobs,
                "jobs_next": jobs_next,
                "altered": altered,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.job_base import JobBase  # noqa: PLC0415
        from ..models.occurrence_out import OccurrenceOut  # noqa: PLC0415

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

        occurrences = []
        _occurrences = d.pop("occurrences")
        for occurrences_item_data in _occurrences:
            occurrences_item = OccurrenceOut.from_dict(occurrences_item_data)

            occurrences.append(occurrences_item)

        def _parse_occurrences_next(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        occurrences_next = _parse_occurrences_next(d.pop("occurrences_next"))

        jobs = []
        _jobs = d.pop("jobs")
        for jobs_item_data in _jobs:
            jobs_item = JobBase.from_dict(jobs_item_data)

            jobs.append(jobs_item)

        def _parse_jobs_next(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        jobs_next = _parse_jobs_next(d.pop("jobs_next"))

        altered = cast(list[str], d.pop("altered"))

        case_out = cls(
            id=id,
            case_reference=case_reference,
            created_at=created_at,
            legal_hold=legal_hold,
            minor=minor,
            reviewed_at=reviewed_at,
            occurrences=occurrences,
            occurrences_next=occurrences_next,
            jobs=jobs,
            jobs_next=jobs_next,
            altered=altered,
        )

        return case_out
