from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.leaning import Leaning
from ..models.verdict_code import VerdictCode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.quality_out import QualityOut
    from ..models.reason_out import ReasonOut


T = TypeVar("T", bound="TrackedFaceOut")


@_attrs_define
class TrackedFaceOut:
    """One face in one frame of a video or picture."""

    box: list[float]
    """ Half-open pixel rectangle x0, y0, x1, y1 in the displayed (rotated) picture. """
    confidence: float
    """ The face detector's confidence, 0 to 1. """
    score: float | None
    """ Higher = more probably manipulated, calibrated at the bundle's prior. Null if nothing was scored, or
    `DEEPFAKE_SYSTEM_SCORES` withholds it. """
    log_likelihood_ratio: float | None
    """ Base 10, independent of the prior. Null if nothing was scored, or `DEEPFAKE_SYSTEM_SCORES` withholds it; a
    whole number if that setting rounds it. """
    verdict: VerdictCode
    """ The conclusion on a face, a track or an item. """
    quality: QualityOut
    """ Measurements of a face, taken before it was scored. """
    reasons: list[ReasonOut]
    """ Why the verdict is not a decision, or what limits it. """
    time_s: float
    """ Time of the frame, in seconds from the first one. """
    track: int
    """ Number of the track that the face belongs to. """
    leaning: Leaning | None | Unset = UNSET
    """ Which way the value leans, by edges whose error rates are in the model bundle and in the evidence. It ranks
    a queue and never proves anything: more authentic media lean towards manipulated than are called so. Left out if
    nothing was scored, or the model bundle has no such edges. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        box = []
        for box_item_data in self.box:
            box_item: float
            box_item = box_item_data
            box.append(box_item)

        confidence = self.confidence

        score: float | None
        score = self.score

        log_likelihood_ratio: float | None
        log_likelihood_ratio = self.log_likelihood_ratio

        verdict = self.verdict.value

        quality = self.quality.to_dict()

        reasons = []
        for reasons_item_data in self.reasons:
            reasons_item = reasons_item_data.to_dict()
            reasons.append(reasons_item)

        time_s = self.time_s

        track = self.track

        leaning: None | str | Unset
        if isinstance(self.leaning, Unset):
            leaning = UNSET
        elif isinstance(self.leaning, Leaning):
            leaning = self.leaning.value
        else:
            leaning = self.leaning

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "box": box,
                "confidence": confidence,
                "score": score,
                "log_likelihood_ratio": log_likelihood_ratio,
                "verdict": verdict,
                "quality": quality,
                "reasons": reasons,
                "time_s": time_s,
                "track": track,
            }
        )
        if leaning is not UNSET:
            field_dict["leaning"] = leaning

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.quality_out import QualityOut  # noqa: PLC0415
        from ..models.reason_out import ReasonOut  # noqa: PLC0415

        d = dict(src_dict)
        box = []
        _box = d.pop("box")
        for box_item_data in _box:

            def _parse_box_item(data: object) -> float:
                return cast(float, data)

            box_item = _parse_box_item(box_item_data)

            box.append(box_item)

        confidence = d.pop("confidence")

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

        verdict = VerdictCode(d.pop("verdict"))

        quality = QualityOut.from_dict(d.pop("quality"))

        reasons = []
        _reasons = d.pop("reasons")
        for reasons_item_data in _reasons:
            reasons_item = ReasonOut.from_dict(reasons_item_data)

            reasons.append(reasons_item)

        time_s = d.pop("time_s")

        track = d.pop("track")

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

        tracked_face_out = cls(
            box=box,
            confidence=confidence,
            score=score,
            log_likelihood_ratio=log_likelihood_ratio,
            verdict=verdict,
            quality=quality,
            reasons=reasons,
            time_s=time_s,
            track=track,
            leaning=leaning,
        )

        tracked_face_out.additional_properties = d
        return tracked_face_out

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
