from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.job_state import JobState
from ..models.verdict_code import VerdictCode
from ..types import UNSET, Unset

T = TypeVar("T", bound="EventJobOut")


@_attrs_define
class EventJobOut:
    """The job that has ended."""

    id: str
    """ Id of the job. """
    state: JobState
    """ The state of a job.

    ``failed`` means that the service failed. Jobs on media that cannot be examined succeed with
    the verdict ``unable_to_evaluate``. """
    case_id: str
    """ Id of the case that it belongs to. """
    verdict: None | Unset | VerdictCode = UNSET
    """ The conclusion of the model, if the submission asked for it. """
    case_reference: None | str | Unset = UNSET
    """ Your reference of the case, if the submission asked for it. """

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        state = self.state.value

        case_id = self.case_id

        verdict: None | str | Unset
        if isinstance(self.verdict, Unset):
            verdict = UNSET
        elif isinstance(self.verdict, VerdictCode):
            verdict = self.verdict.value
        else:
            verdict = self.verdict

        case_reference: None | str | Unset
        if isinstance(self.case_reference, Unset):
            case_reference = UNSET
        else:
            case_reference = self.case_reference

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "state": state,
                "case_id": case_id,
            }
        )
        if verdict is not UNSET:
            field_dict["verdict"] = verdict
        if case_reference is not UNSET:
            field_dict["case_reference"] = case_reference

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = d.pop("id")

        state = JobState(d.pop("state"))

        case_id = d.pop("case_id")

        def _parse_verdict(data: object) -> None | Unset | VerdictCode:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                verdict_type_0 = VerdictCode(data)

                return verdict_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Unset | VerdictCode, data)

        verdict = _parse_verdict(d.pop("verdict", UNSET))

        def _parse_case_reference(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        case_reference = _parse_case_reference(d.pop("case_reference", UNSET))

        event_job_out = cls(
            id=id,
            state=state,
            case_id=case_id,
            verdict=verdict,
            case_reference=case_reference,
        )

        return event_job_out
