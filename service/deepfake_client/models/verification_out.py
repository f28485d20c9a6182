from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.finding import Finding
from ..models.verdict_code import VerdictCode
from ..models.verification_out_result import VerificationOutResult

if TYPE_CHECKING:
    from ..models.step import Step


T = TypeVar("T", bound="VerificationOut")


@_attrs_define
class VerificationOut:
    """The result of a verification. `result` is `verified`, `signer_unknown` or `failed`."""

    result: VerificationOutResult
    """ `verified`; `signer_unknown` if everything agrees, but no trusted key signed it; or `failed`. """
    sha256: str
    """ SHA-256 of the bundle that was sent. """
    signer: None | str
    """ Who signed it, if the key is trusted. """
    case: None | str
    """ Id of the case. """
    job: None | str
    """ Id of the job. """
    edition: int | None
    """ Number of the edition. """
    verdict: None | str | VerdictCode
    """ The verdict in the bundle. """
    finding: Finding | None | str
    """ The finding of the reviewers in the bundle. """
    steps: list[Step]
    """ The steps of the verification, in order. """
    superseded_by: int | None
    """ The newest edition of the job, if this service issued this bundle and has issued a newer edition since. """

    def to_dict(self) -> dict[str, Any]:
        result = self.result.value

        sha256 = self.sha256

        signer: None | str
        signer = self.signer

        case: None | str
        case = self.case

        job: None | str
        job = self.job

        edition: int | None
        edition = self.edition

        verdict: None | str
        if isinstance(self.verdict, VerdictCode):
            verdict = self.verdict.value
        else:
            verdict = self.verdict

        finding: None | str
        if isinstance(self.finding, Finding):
            finding = self.finding.value
        else:
            finding = self.finding

        steps = []
        for steps_item_data in self.steps:
            steps_item = steps_item_data.to_dict()
            steps.append(steps_item)

        superseded_by: int | None
        superseded_by = self.superseded_by

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "result": result,
                "sha256": sha256,
                "signer": signer,
                "case": case,
                "job": job,
                "edition": edition,
                "verdict": verdict,
                "finding": finding,
                "steps": steps,
                "superseded_by": superseded_by,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.step import Step  # noqa: PLC0415

        d = dict(src_dict)
        result = VerificationOutResult(d.pop("result"))

        sha256 = d.pop("sha256")

        def _parse_signer(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        signer = _parse_signer(d.pop("signer"))

        def _parse_case(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        case = _parse_case(d.pop("case"))

        def _parse_job(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        job = _parse_job(d.pop("job"))

        def _parse_edition(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        edition = _parse_edition(d.pop("edition"))

        def _parse_verdict(data: object) -> None | str | VerdictCode:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                verdict_type_0 = VerdictCode(data)

                return verdict_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | str | VerdictCode, data)

        verdict = _parse_verdict(d.pop("verdict"))

        def _parse_finding(data: object) -> Finding | None | str:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                finding_type_0 = Finding(data)

                return finding_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Finding | None | str, data)

        finding = _parse_finding(d.pop("finding"))

        steps = []
        _steps = d.pop("steps")
        for steps_item_data in _steps:
            steps_item = Step.from_dict(steps_item_data)

            steps.append(steps_item)

        def _parse_superseded_by(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        superseded_by = _parse_superseded_by(d.pop("superseded_by"))

        verification_out = cls(
            result=result,
            sha256=sha256,
            signer=signer,
            case=case,
            job=job,
            edition=edition,
            verdict=verdict,
            finding=finding,
            steps=steps,
            superseded_by=superseded_by,
        )

        return verification_out
