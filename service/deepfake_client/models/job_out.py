from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.finding import Finding
from ..models.job_out_kind import JobOutKind
from ..models.job_out_media_kind_type_0 import JobOutMediaKindType0
from ..models.job_state import JobState
from ..models.leaning import Leaning
from ..models.priority import Priority
from ..models.retention_policy import RetentionPolicy
from ..models.verdict_code import VerdictCode
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.progress_out import ProgressOut
    from ..models.result_out import ResultOut


T = TypeVar("T", bound="JobOut")


@_attrs_define
class JobOut:
    """A job, with its result once there is one."""

    id: str
    """ Id of the job. """
    kind: JobOutKind
    """ The address that it was submitted to: `video` for `POST /v1/videos`, `frame` for `POST /v1/frames`. Evidence
    records it. It does not say what the file is: a picture that was sent to `/v1/videos` is examined as a picture;
    see `media_kind`. """
    state: JobState
    """ The state of a job.

    ``failed`` means that the service failed. Jobs on media that cannot be examined succeed with
    the verdict ``unable_to_evaluate``. """
    sha256: str
    """ SHA-256 of the submitted bytes. """
    size: int
    """ Number of submitted bytes. """
    case_id: str
    """ Id of the case that it belongs to. """
    media_id: str
    """ Id of the submitted file within the case. Jobs with the same one are examinations of that file with
    different numbers of frames. """
    priority: Priority
    """ The priority of a job in the queue. """
    frames: int | None
    """ How many frames were asked for; null: as needed. """
    retention: RetentionPolicy
    """ How long the media of a job are kept. """
    progress: ProgressOut
    """ The progress of an examination, in frames. """
    verdict: None | VerdictCode
    """ The conclusion of the model; null until the job has succeeded. """
    finding: Finding | None
    """ The decision of the reviewers, if there is one. """
    reviewers_disagree: bool
    """ Whether the finding is `undecided` because one reviewer confirmed and another rejected. False if a reviewer
    left it undecided. """
    failure: None | str
    """ If the service failed: the name of the error, which its log explains. Other versions may give other names.
    Submit the file again to have it examined once more. """
    bundle_sha256: str
    """ Identifies the model bundle. """
    created_at: datetime.datetime
    """ When it was submitted. """
    started_at: datetime.datetime | None
    """ When its examination began; null while it waits. """
    finished_at: datetime.datetime | None
    """ When it ended; null until then. """
    media_expires_at: datetime.datetime | None
    """ When its media are deleted; null if that is not known yet, or they are already deleted. """
    media_kept: bool
    """ Whether the media are still stored. """
    media_kind: JobOutMediaKindType0 | None
    """ What the file is by its content, as the console shows it; null until it was examined, and if it could not be
    read. """
    result: None | ResultOut
    """ The result; null until the job has succeeded. """
    leaning: Leaning | None | Unset = UNSET
    """ Which way the value leans, by edges whose error rates are in the model bundle and in the evidence. It ranks
    a queue and never proves anything: more authentic media lean towards manipulated than are called so. Left out if
    nothing was scored, or the model bundle has no such edges. """

    def to_dict(self) -> dict[str, Any]:
        from ..models.result_out import ResultOut  # noqa: PLC0415

        id = self.id

        kind = self.kind.value

        state = self.state.value

        sha256 = self.sha256

        size = self.size

        case_id = self.case_id

        media_id = self.media_id

        priority = self.priority.value

        frames: int | None
        frames = self.frames

        retention = self.retention.value

        progress = self.progress.to_dict()

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

        reviewers_disagree = self.reviewers_disagree

        failure: None | str
        failure = self.failure

        bundle_sha256 = self.bundle_sha256

        created_at = self.created_at.isoformat()

        started_at: None | str
        if isinstance(self.started_at, datetime.datetime):
            started_at = self.started_at.isoformat()
        else:
            started_at = self.started_at

        finished_at: None | str
        if isinstance(self.finished_at, datetime.datetime):
            finished_at = self.finished_at.isoformat()
        else:
            finished_at = self.finished_at

        media_expires_at: None | str
        if isinstance(self.media_expires_at, datetime.datetime):
            media_expires_at = self.media_expires_at.isoformat()
        else:
            media_expires_at = self.media_expires_at

        media_kept = self.media_kept

        media_kind: None | str
        if isinstance(self.media_kind, JobOutMediaKindType0):
            media_kind = self.media_kind.value
        else:
            media_kind = self.media_kind

        result: dict[str, Any] | None
        if isinstance(self.result, ResultOut):
            result = self.result.to_dict()
        else:
            result = self.result

        leaning: None | str | Unset
        if isinstance(self.leaning, Unset):
            leaning = UNSET
        elif isinstance(self.leaning, Leaning):
            leaning = self.leaning.value
        else:
            leaning = self.leaning

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "kind": kind,
                "state": state,
                "sha256": sha256,
                "size": size,
                "case_id": case_id,
                "media_id": media_id,
                "priority": priority,
                "frames": frames,
                "retention": retention,
                "progress": progress,
                "verdict": verdict,
                "finding": finding,
                "reviewers_disagree": reviewers_disagree,
                "failure": failure,
                "bundle_sha256": bundle_sha256,
                "created_at": created_at,
                "started_at": started_at,
                "finished_at": finished_at,
                "media_expires_at": media_expires_at,
                "media_kept": media_kept,
                "media_kind": media_kind,
                "result": result,
            }
        )
        if leaning is not UNSET:
            field_dict["leaning"] = leaning

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.progress_out import ProgressOut  # noqa: PLC0415
        from ..models.result_out import ResultOut  # noqa: PLC0415

        d = dict(src_dict)
        id = d.pop("id")

        kind = JobOutKind(d.pop("kind"))

        state = JobState(d.pop("state"))

        sha256 = d.pop("sha256")

        size = d.pop("size")

        case_id = d.pop("case_id")

        media_id = d.pop("media_id")

        priority = Priority(d.pop("priority"))

        def _parse_frames(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        frames = _parse_frames(d.pop("frames"))

        retention = RetentionPolicy(d.pop("retention"))

        progress = ProgressOut.from_dict(d.pop("progress"))

        def _parse_verdict(data: object) -> None | VerdictCode:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                verdict_type_0 = VerdictCode(data)

                return verdict_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | VerdictCode, data)

        verdict = _parse_verdict(d.pop("verdict"))

        def _parse_finding(data: object) -> Finding | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                finding_type_0 = Finding(data)

                return finding_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Finding | None, data)

        finding = _parse_finding(d.pop("finding"))

        reviewers_disagree = d.pop("reviewers_disagree")

        def _parse_failure(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        failure = _parse_failure(d.pop("failure"))

        bundle_sha256 = d.pop("bundle_sha256")

        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        def _parse_started_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                started_at_type_0 = datetime.datetime.fromisoformat(data)

                return started_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        started_at = _parse_started_at(d.pop("started_at"))

        def _parse_finished_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                finished_at_type_0 = datetime.datetime.fromisoformat(data)

                return finished_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        finished_at = _parse_finished_at(d.pop("finished_at"))

        def _parse_media_expires_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                media_expires_at_type_0 = datetime.datetime.fromisoformat(data)

                return media_expires_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        media_expires_at = _parse_media_expires_at(d.pop("media_expires_at"))

        media_kept = d.pop("media_kept")

        def _parse_media_kind(data: object) -> JobOutMediaKindType0 | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                media_kind_type_0 = JobOutMediaKindType0(data)

                return media_kind_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(JobOutMediaKindType0 | None, data)

        media_kind = _parse_media_kind(d.pop("media_kind"))

        def _parse_result(data: object) -> None | ResultOut:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                result_type_0 = ResultOut.from_dict(data)

                return result_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | ResultOut, data)

        result = _parse_result(d.pop("result"))

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

        job_out = cls(
            id=id,
            kind=kind,
            state=state,
            sha256=sha256,
            size=size,
            case_id=case_id,
            media_id=media_id,
            priority=priority,
            frames=frames,
            retention=retention,
            progress=progress,
            verdict=verdict,
            finding=finding,
            reviewers_disagree=reviewers_disagree,
            failure=failure,
            bundle_sha256=bundle_sha256,
            created_at=created_at,
            started_at=started_at,
            finished_at=finished_at,
            media_expires_at=media_expires_at,
            media_kept=media_kept,
            media_kind=media_kind,
            result=result,
            leaning=leaning,
        )

        return job_out
