from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.leaning import Leaning
from ..models.verdict_code import VerdictCode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.frame_counts_out import FrameCountsOut
    from ..models.media_out import MediaOut
    from ..models.reason_out import ReasonOut
    from ..models.result_out_kinds_type_0 import ResultOutKindsType0
    from ..models.track_out import TrackOut
    from ..models.tracked_face_out import TrackedFaceOut


T = TypeVar("T", bound="ResultOut")


@_attrs_define
class ResultOut:
    """The result of a job: that of `deepfake score --json --faces`, without the name of the file
    and the model.

    """

    media: MediaOut | None
    """ What the container says; null if the medium could not be opened. """
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
    tracks: list[TrackOut]
    """ The people whose faces were found. """
    frames: FrameCountsOut
    """ How many frames were examined, and how many could not be. """
    faces: list[TrackedFaceOut]
    """ The faces that were found, frame by frame. """
    leaning: Leaning | None | Unset = UNSET
    """ Which way the value leans, by edges whose error rates are in the model bundle and in the evidence. It ranks
    a queue and never proves anything: more authentic media lean towards manipulated than are called so. Left out if
    nothing was scored, or the model bundle has no such edges. """
    kinds: None | ResultOutKindsType0 | Unset = UNSET
    """ Which kinds of manipulation the face resembles, as shares that sum to 1: `swap`, `reenactment`, `synthesis`,
    `retouching`. It does not say whether the face is manipulated. Given only where the verdict is
    `likely_manipulated` or the value leans towards manipulated, by a model bundle that tells kinds apart. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.media_out import MediaOut  # noqa: PLC0415
        from ..models.result_out_kinds_type_0 import ResultOutKindsType0  # noqa: PLC0415

        media: dict[str, Any] | None
        if isinstance(self.media, MediaOut):
            media = self.media.to_dict()
        else:
            media = self.media

        verdict = self.verdict.value

        score: float | None
        score = self.score

        log_likelihood_ratio: float | None
        log_likelihood_ratio = self.log_likelihood_ratio

        reasons = []
        for reasons_item_data in self.reasons:
            reasons_item = reasons_item_data.to_dict()
            reasons.append(reasons_item)

        tracks = []
        for tracks_item_data in self.tracks:
            tracks_item = tracks_item_data.to_dict()
            tracks.append(tracks_item)

        frames = self.frames.to_dict()

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
        elif isinstance(self.kinds, ResultOutKindsType0):
            kinds = self.kinds.to_dict()
        else:
            kinds = self.kinds

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "media": media,
                "verdict": verdict,
                "score": score,
                "log_likelihood_ratio": log_likelihood_ratio,
                "reasons": reasons,
                "tracks": tracks,
                "frames": frames,
                "faces": faces,
            }
        )
        if leaning is not UNSET:
            field_dict["leaning"] = leaning
        if kinds is not UNSET:
            field_dict["kinds"] = kinds

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.frame_counts_out import FrameCountsOut  # noqa: PLC0415
        from ..models.media_out import MediaOut  # noqa: PLC0415
        from ..models.reason_out import ReasonOut  # noqa: PLC0415
        from ..models.result_out_kinds_type_0 import ResultOutKindsType0  # noqa: PLC0415
        from ..models.track_out import TrackOut  # noqa: PLC0415
        from ..models.tracked_face_out import TrackedFaceOut  # noqa: PLC0415

        d = dict(src_dict)

        def _parse_media(data: object) -> MediaOut | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                media_type_0 = MediaOut.from_dict(data)

                return media_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(MediaOut | None, data)

        media = _parse_media(d.pop("media"))

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

        tracks = []
        _tracks = d.pop("tracks")
        for tracks_item_data in _tracks:
            tracks_item = TrackOut.from_dict(tracks_item_data)

            tracks.append(tracks_item)

        frames = FrameCountsOut.from_dict(d.pop("frames"))

        faces = []
        _faces = d.pop("faces")
        for faces_item_data in _faces:
            faces_item = TrackedFaceOut.from_dict(faces_item_data)

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

        def _parse_kinds(data: object) -> None | ResultOutKindsType0 | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                kinds_type_0 = ResultOutKindsType0.from_dict(data)

                return kinds_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | ResultOutKindsType0 | Unset, data)

        kinds = _parse_kinds(d.pop("kinds", UNSET))

        result_out = cls(
            media=media,
            verdict=verdict,
            score=score,
            log_likelihood_ratio=log_likelihood_ratio,
            reasons=reasons,
            tracks=tracks,
            frames=frames,
            faces=faces,
            leaning=leaning,
            kinds=kinds,
        )

        result_out.additional_properties = d
        return result_out

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
