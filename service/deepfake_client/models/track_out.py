from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.leaning import Leaning
from ..models.verdict_code import VerdictCode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.moment_out import MomentOut
    from ..models.reason_out import ReasonOut
    from ..models.track_out_kinds_type_0 import TrackOutKindsType0


T = TypeVar("T", bound="TrackOut")


@_attrs_define
class TrackOut:
    """One person's face over time."""

    track: int
    """ Number of the track within the medium, from 0. """
    verdict: VerdictCode
    """ The conclusion on a face, a track or an item. """
    score: float | None
    """ Higher = more probably manipulated, calibrated at the bundle's prior. Null if nothing was scored, or
    `DEEPFAKE_SYSTEM_SCORES` withholds it. """
    log_likelihood_ratio: float | None
    """ Base 10, independent of the prior. Null if nothing was scored, or `DEEPFAKE_SYSTEM_SCORES` withholds it; a
    whole number if that setting rounds it. """
    first_s: float
    """ When the face is first seen, in seconds from the first frame. """
    last_s: float
    """ When the face is last seen, in seconds from the first frame. """
    faces: int
    """ Faces found. """
    judged: int
    """ Faces scored. """
    moments: list[MomentOut]
    """ Spans in which the face looks manipulated. """
    reasons: list[ReasonOut]
    """ Why the verdict is not a decision, or what limits it. """
    leaning: Leaning | None | Unset = UNSET
    """ Which way the value leans, by edges whose error rates are in the model bundle and in the evidence. It ranks
    a queue and never proves anything: more authentic media lean towards manipulated than are called so. Left out if
    nothing was scored, or the model bundle has no such edges. """
    kinds: None | TrackOutKindsType0 | Unset = UNSET
    """ Which kinds of manipulation the face resembles, as shares that sum to 1: `swap`, `reenactment`, `synthesis`,
    `retouching`. It does not say whether the face is manipulated. Given only where the verdict is
    `likely_manipulated` or the value leans towards manipulated, by a model bundle that tells kinds apart. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.track_out_kinds_type_0 import TrackOutKindsType0  # noqa: PLC0415

        track = self.track

        verdict = self.verdict.value

        score: float | None
        score = self.score

        log_likelihood_ratio: float | None
        log_likelihood_ratio = self.log_likelihood_ratio

        first_s = self.first_s

        last_s = self.last_s

        faces = self.faces

        judged = self.judged

        moments = []
        for moments_item_data in self.moments:
            moments_item = moments_item_data.to_dict()
            moments.append(moments_item)

        reasons = []
        for reasons_item_data in self.reasons:
            reasons_item = reasons_item_data.to_dict()
            reasons.append(reasons_item)

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
        elif isinstance(self.kinds, TrackOutKindsType0):
            kinds = self.kinds.to_dict()
        else:
            kinds = self.kinds

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "track": track,
                "verdict": verdict,
                "score": score,
                "log_likelihood_ratio": log_likelihood_ratio,
                "first_s": first_s,
                "last_s": last_s,
                "faces": faces,
                "judged": judged,
                "moments": moments,
                "reasons": reasons,
            }
        )
        if leaning is not UNSET:
            field_dict["leaning"] = leaning
        if kinds is not UNSET:
            field_dict["kinds"] = kinds

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.moment_out import MomentOut  # noqa: PLC0415
        from ..models.reason_out import ReasonOut  # noqa: PLC0415
        from ..models.track_out_kinds_type_0 import TrackOutKindsType0  # noqa: PLC0415

        d = dict(src_dict)
        track = d.pop("track")

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

        first_s = d.pop("first_s")

        last_s = d.pop("last_s")

        faces = d.pop("faces")

        judged = d.pop("judged")

        moments = []
        _moments = d.pop("moments")
        for moments_item_data in _moments:
            moments_item = MomentOut.from_dict(moments_item_data)

            moments.append(moments_item)

        reasons = []
        _reasons = d.pop("reasons")
        for reasons_item_data in _reasons:
            reasons_item = ReasonOut.from_dict(reasons_item_data)

            reasons.append(reasons_item)

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

        def _parse_kinds(data: object) -> None | TrackOutKindsType0 | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                kinds_type_0 = TrackOutKindsType0.from_dict(data)

                return kinds_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | TrackOutKindsType0 | Unset, data)

        kinds = _parse_kinds(d.pop("kinds", UNSET))

        track_out = cls(
            track=track,
            verdict=verdict,
            score=score,
            log_likelihood_ratio=log_likelihood_ratio,
            first_s=first_s,
            last_s=last_s,
            faces=faces,
            judged=judged,
            moments=moments,
            reasons=reasons,
            leaning=leaning,
            kinds=kinds,
        )

        track_out.additional_properties = d
        return track_out

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
