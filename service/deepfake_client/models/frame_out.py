from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.leaning import Leaning
from ..models.verdict_code import VerdictCode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.face_out import FaceOut
    from ..models.frame_out_kinds_type_0 import FrameOutKindsType0
    from ..models.reason_out import ReasonOut


T = TypeVar("T", bound="FrameOut")


@_attrs_define
class FrameOut:
    """The result of one picture."""

    name: str
    """ Base name of the uploaded file, printable characters only. """
    sha256: str
    """ SHA-256 of the uploaded bytes. """
    verdict: VerdictCode
    """ The conclusion on a face, a track or an item. """
    score: float | None
    """ Higher = more probably manipulated, calibrated at the bundle's prior. Null if nothing was scored, or
    `DEEPFAKE_SYSTEM_SCORES` withholds it. """
    log_likelihood_ratio: float | None
    """ Base 10, independent of the prior. Null if nothing was scored, or `DEEPFAKE_SYSTEM_SCORES` withholds it; a
    whole number if that setting rounds it. """
    reasons: list[ReasonOut]
    """ Why the verdict is not a decision, or what limits it. """
    faces: list[FaceOut]
    """ The faces that were found. """
    leaning: Leaning | None | Unset = UNSET
    """ Which way the value leans, by edges whose error rates are in the model bundle and in the evidence. It ranks
    a queue and never proves anything: more authentic media lean towards manipulated than are called so. Left out if
    nothing was scored, or the model bundle has no such edges. """
    kinds: FrameOutKindsType0 | None | Unset = UNSET
    """ Which kinds of manipulation the face resembles, as shares that sum to 1: `swap`, `reenactment`, `synthesis`,
    `retouching`. It does not say whether the face is manipulated. Given only where the verdict is
    `likely_manipulated` or the value leans towards manipulated, by a model bundle that tells kinds apart. """
    job_id: None | str | Unset = UNSET
    """ The job of this picture, if the request named a case. """

    def to_dict(self) -> dict[str, Any]:
        from ..models.frame_out_kinds_type_0 import FrameOutKindsType0  # noqa: PLC0415

        name = self.name

        sha256 = self.sha256

        verdict = self.verdict.value

        score: float | None
        score = self.score

        log_likelihood_ratio: float | None
        log_likelihood_ratio = self.log_likelihood_ratio

        reasons = []
        for reasons_item_data in self.reasons:
            reasons_item = reasons_item_data.to_dict()
            reasons.append(reasons_item)

        faces = []
        for faces_item_data in self.faces:
            faces_item = faces_item_data.to_dict()
            faces.append(faces_item)

        leaning: None | str | Unset
        if isinstance(self.leaning, Unset):
            leaning = UNSET
        elif isinstance(self.leaning, Leaning):
            leaning = self.leaning.value
        else:
            leaning = self.leaning

        kinds: dict[str, Any] | None | Unset
        if isinstance(self.kinds, Unset):
            kinds = UNSET
        elif isinstance(self.kinds, FrameOutKindsType0):
            kinds = self.kinds.to_dict()
        else:
            kinds = self.kinds

        job_id: None | str | Unset
        if isinstance(self.job_id, Unset):
            job_id = UNSET
        else:
            job_id = self.job_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "name": name,
                "sha256": sha256,
                "verdict": verdict,
                "score": score,
                "log_likelihood_ratio": log_likelihood_ratio,
                "reasons": reasons,
                "faces": faces,
            }
        )
        if leaning is not UNSET:
            field_dict["leaning"] = leaning
        if kinds is not UNSET:
            field_dict["kinds"] = kinds
        if job_id is not UNSET:
            field_dict["job_id"] = job_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.face_out import FaceOut  # noqa: PLC0415
        from ..models.frame_out_kinds_type_0 import FrameOutKindsType0  # noqa: PLC0415
        from ..models.reason_out import ReasonOut  # noqa: PLC0415

        d = dict(src_dict)
        name = d.pop("name")

        sha256 = d.pop("sha256")

        verdict = VerdictCode(d.pop("verdict"))

        def _parse_score(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        score = _parse_score(d.pop("score"))

        def _parse_log_likelihood_ratio(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        log_likelihood_ratio = _parse_log_likelihood_ratio(d.pop("log_likelihood_ratio"))

        reasons = []
        _reasons = d.pop("reasons")
        for reasons_item_data in _reasons:
            reasons_item = ReasonOut.from_dict(reasons_item_data)

            reasons.append(reasons_item)

        faces = []
        _faces = d.pop("faces")
        for faces_item_data in _faces:
            faces_item = FaceOut.from_dict(faces_item_data)

            faces.append(faces_item)

        def _parse_leaning(data: object) -> Leaning | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                leaning_type_0 = Leaning(data)

                return leaning_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Leaning | None | Unset, data)

        leaning = _parse_leaning(d.pop("leaning", UNSET))

        def _parse_kinds(data: object) -> FrameOutKindsType0 | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                kinds_type_0 = FrameOutKindsType0.from_dict(data)

                return kinds_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(FrameOutKindsType0 | None | Unset, data)

        kinds = _parse_kinds(d.pop("kinds", UNSET))

        def _parse_job_id(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        job_id = _parse_job_id(d.pop("job_id", UNSET))

        frame_out = cls(
            name=name,
            sha256=sha256,
            verdict=verdict,
            score=score,
            log_likelihood_ratio=log_likelihood_ratio,
            reasons=reasons,
            faces=faces,
            leaning=leaning,
            kinds=kinds,
            job_id=job_id,
        )

        return frame_out
