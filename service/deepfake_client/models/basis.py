from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

T = TypeVar("T", bound="Basis")


@_attrs_define
class Basis:
    """The examination of one file that a notice relies on."""

    sha256: str
    """ SHA-256 of the file. """
    verdict: str
    """ The conclusion of the model. """
    finding: None | str
    """ The finding of the reviewers. """
    job: str
    """ Id of the job. """
    edition: int
    """ Number of the edition of its evidence. """
    examined_at: datetime.datetime
    """ When the examination ended. """

    def to_dict(self) -> dict[str, Any]:
        sha256 = self.sha256

        verdict = self.verdict

        finding: None | str
        finding = self.finding

        job = self.job

        edition = self.edition

        examined_at = self.examined_at.isoformat()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "sha256": sha256,
                "verdict": verdict,
                "finding": finding,
                "job": job,
                "edition": edition,
                "examined_at": examined_at,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        sha256 = d.pop("sha256")

        verdict = d.pop("verdict")

        def _parse_finding(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        finding = _parse_finding(d.pop("finding"))

        job = d.pop("job")

        edition = d.pop("edition")

        examined_at = datetime.datetime.fromisoformat(d.pop("examined_at"))

        basis = cls(
            sha256=sha256,
            verdict=verdict,
            finding=finding,
            job=job,
            edition=edition,
            examined_at=examined_at,
        )

        return basis
