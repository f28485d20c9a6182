"""The steps of an examination: each keeps what it found, sealed, so that the next can be another
worker's."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from deepfake_models.decision.decide import Part
from deepfake_models.decision.serialization import dump_part, load_part
from deepfake_models.decode.base import OpenMedia
from deepfake_models.decode.decoder import Decoder
from deepfake_models.errors import DecoderFailed, MediaError
from deepfake_models.results import Reason, ReasonCode, Verdict, VerdictCode, unable
from deepfake_models.scorer import Progress, Scorer
from deepfake_service.casework.core.cases import media_key
from deepfake_service.casework.core.enums import ENDED, JobState, RetentionPolicy
from deepfake_service.casework.core.media_expiry import expire
from deepfake_service.casework.evidence_store import EvidenceStore
from deepfake_service.casework.hash_bank import HashBank
from deepfake_service.casework.webhook_deliveries import release_callbacks
from deepfake_service.db import Case, Database, Job, Media
from deepfake_service.errors import DatabaseUnavailable, StorageUnavailable
from deepfake_service.evidence.artifacts import Material, gather
from deepfake_service.jobs.workflow import JobOver, Stopping
from deepfake_service.observability.logs import describe, logger
from deepfake_service.observability.metrics import Metrics
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.storage import BlobMissing, Vault, context_of
from deepfake_service.storage.envelope import seal

FRAMES_A_PART = 16
"""Lost at the most when a worker dies: a second or two of work, against opening the media again for
each part."""
DECODER_ATTEMPTS = 3
DECODER_PAUSE_S = 0.5
TOO_MANY_ATTEMPTS = "too_many_attempts"

T = TypeVar("T")

_log = logger("deepfake_service.pipeline")


@dataclass(frozen=True, slots=True)
class _Opened:
    """A job's rows and keys, as they are at the beginning of a step."""

    job: Job
    media: Media
    case_key: bytes
    media_key: bytes

    def work(self, name: str) -> str:
        return f"work/{self.job.id}/{name}"


class Examination:
    """Implements ``jobs.Steps`` with a scorer, a decoder, the vault and the database."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        scorer: Scorer,
        decoder: Decoder,
        metrics: Metrics,
        evidence: EvidenceStore,
        hash_bank: HashBank,
        *,
        max_attempts: int,
        keep_after_verdict: timedelta,
        anchors: Path | None = None,
    ) -> None:
        self._database = database
        self._vault = vault
        self._scorer = scorer
        self._decoder = decoder
        self._metrics = metrics
        self._evidence = evidence
        self._hash_bank = hash_bank
        self._anchors = anchors
        self._max_attempts = max_attempts
        self.stopping = threading.Event()
        """Set when the worker stops: decoders are then closed under running steps."""
        self._keep = keep_after_verdict

    def take_up(self, job_id: str) -> None:
        """See ``jobs.Steps``."""
        with self._database.write() as session:
            job = session.get(Job, job_id, with_for_update=True)
            if job is None or JobState(job.state) in ENDED:
                raise JobOver
            job.attempts += 1
            too_many = job.attempts > self._max_attempts
            if not too_many:
                job.state = str(JobState.RUNNING)
                job.started_at = job.started_at or _now()
        if too_many:
            self.fail(job_id, TOO_MANY_ATTEMPTS)
            raise JobOver

    def look(self, job_id: str) -> int:
        """See ``jobs.Steps``."""
        opened = self._open(job_id)
        try:
            sampled = self._on_media(
                opened, lambda media: self._scorer.plan(media, opened.job.frames)
            )
        except MediaError as error:
            # Media that cannot be examined are an answer, not a failure of ours.
            self._keep_json(opened, "verdict", unable(error).to_json(faces=True))
            return 0
        # Of an earlier attempt that was interrupted, and that found otherwise.
        self._vault.blobs.delete(opened.work("verdict"))
        self._keep_json(opened, "plan", _parts(sampled))
        self._progress(job_id, "overview", 0, len(sampled), step_done=True)
        return len(_parts(sampled))

    def part(self, job_id: str, number: int) -> None:
        """See ``jobs.Steps``."""
        opened = self._open(job_id)
        parts = self._plan(opened)
        before = sum(len(p) for p in parts[:number])
        total = sum(len(p) for p in parts)
        stage = "dense" if number >= self._kept_json(opened, "overview", len(parts)) else "overview"

        def report(progress: Progress) -> None:
            self._progress(job_id, stage, before + progress.done, total)

        found = self._on_media(
            opened, lambda media: self._scorer.examine(media, parts[number], progress=report)
        )
        self._keep_part(opened, number, found)
        self._progress(job_id, stage, before + len(parts[number]), total, step_done=True)

    def further(self, job_id: str, parts: int) -> int:
        """See ``jobs.Steps``."""
        opened = self._open(job_id)
        if opened.job.frames is not None:
            return 0
        plan = self._plan(opened)[:parts]
        sampled = [i for p in plan for i in p]
        found = [self._found(opened, n) for n in range(parts)]
        extra = _parts(
            self._on_media(opened, lambda media: self._scorer.further(media, sampled, found))
        )
        self._keep_json(opened, "overview", parts)
        self._keep_json(opened, "plan", [*plan, *extra])
        return len(extra)

    def conclude(self, job_id: str, parts: int) -> None:
        """See ``jobs.Steps``."""
        opened = self._open(job_id)
        self._progress(job_id, "evidence", *self._progressed(opened))
        sampled = sorted(i for p in self._plan(opened)[:parts] for i in p)
        found = [self._found(opened, n) for n in range(parts)]
        earlier = self._kept_json(opened, "verdict", None)
        try:
            verdict = _stated(earlier) if earlier is not None else self._on_media(
                opened, lambda media: self._scorer.conclude(media, sampled, found)
            )  # fmt: skip
        except MediaError as error:
            verdict = unable(error)
        material = self._gather(opened, verdict, found)
        self._evidence.keep(opened.job, opened.case_key, material)
        self._hash_bank.look_for(opened.job, material.examination["hashes"])
        try:
            self._evidence.first(job_id)
        except (DatabaseUnavailable, StorageUnavailable):
            raise
        except Exception as error:
            # The verdict stands without it: evidence is made again when it is asked for.
            _log.error("evidence_failed", job_id=job_id, failure=describe(error))
        self._end(opened, verdict.to_json(faces=True), shown=bool(material.pictures))
        for name in ("plan", "overview", "verdict", *(f"part-{n}" for n in range(parts))):
            self._vault.blobs.delete(opened.work(name))

    def _gather(self, opened: _Opened, verdict: Verdict, found: list[Part]) -> Material:
        """What evidence of ``verdict`` is made of; less of it where the media cannot be decoded."""
        assert opened.media.blob is not None
        examined_s = sorted(frame.time_s for part in found for frame in part.examined)
        now = _now()
        with self._vault.open(opened.media.blob, opened.media_key) as source:

            def gathered(media: OpenMedia | None) -> Material:
                return gather(
                    source, media, verdict, self._scorer, examined_s=examined_s, examined_at=now,
                    anchors=self._anchors,
                )  # fmt: skip

            if verdict.media is None:
                return gathered(None)
            try:
                return self._on_media(opened, gathered)
            except MediaError:
                # The verdict was reached; that what it shows cannot be shown again is no reason to
                # lose it.
                return gathered(None)

    def fail(self, job_id: str, code: str) -> None:
        """See ``jobs.Steps``."""
        with self._database.write() as session:
            job = session.get(Job, job_id, with_for_update=True)
            if job is None or JobState(job.state) in ENDED:
                return
            job.state, job.failure = str(JobState.FAILED), code[:64]
            job.finished_at = _now()
            self._let_expire(session.get_one(Media, job.media_id), job)
            release_callbacks(session, job_id)
            append_entry(session, SERVICE, Action.JOB_FINISHED, job_id, str(JobState.FAILED))
        self._metrics.job_ended(str(JobState.FAILED), None)

    def _end(self, opened: _Opened, result: dict[str, Any], *, shown: bool) -> None:
        job_id = opened.job.id
        sealed = seal(opened.case_key, json.dumps(result).encode(), context_of("result", job_id))
        with self._database.write() as session:
            job = session.get(Job, job_id, with_for_update=True)
            if job is None or JobState(job.state) in ENDED:
                raise JobOver
            job.state, job.result = str(JobState.SUCCEEDED), sealed
            job.bundle_sha256 = self._scorer.bundle.sha256
            job.verdict, job.shown = result["verdict"], shown
            job.finished_at = _now()
            job.stage, job.done = None, job.total or 0
            self._let_expire(session.get_one(Media, job.media_id), job)
            release_callbacks(session, job_id)
            append_entry(session, SERVICE, Action.JOB_FINISHED, job_id, str(JobState.SUCCEEDED))
            started = job.started_at or job.created_at
            seconds = (job.finished_at - started).total_seconds()
        if opened.job.retention == RetentionPolicy.ZERO:
            # Now, not at the next sweep, which does it where this is interrupted.
            expire(self._database, self._vault, opened.media.id)
        self._metrics.job_ended(str(JobState.SUCCEEDED), result["verdict"], seconds)
        _log.info("job_succeeded", job_id=job_id, duration_s=round(seconds, 1))

    def _let_expire(self, media: Media, job: Job) -> None:
        media.expires_at = _now() if job.retention == RetentionPolicy.ZERO else _now() + self._keep

    def _open(self, job_id: str) -> _Opened:
        with self._database.read() as session:
            job = session.get(Job, job_id)
            if job is None or JobState(job.state) in ENDED:
                raise JobOver
            media = session.get_one(Media, job.media_id)
            case = session.get_one(Case, job.case_id)
        case_key = self._vault.case_key(case.id, case.wrapped_key)
        return _Opened(job, media, case_key, media_key(media, case_key))

    def _on_media(self, opened: _Opened, what: Callable[[OpenMedia], T]) -> T:
        """Do ``what`` with the opened media.

        A decoder that fails can be the media's fault or the machine's (it was killed for memory,
        the worker is stopping): it is tried again, and only then held against the media.

        Raises:
            MediaError: the media cannot be examined. Stopping: the worker stops. And what the
            store raises: that the media could not be read says nothing of them.
        """
        assert opened.media.blob is not None
        for left in reversed(range(DECODER_ATTEMPTS)):
            with self._vault.open(opened.media.blob, opened.media_key) as file:
                try:
                    with self._decoder.open(file) as media:
                        return what(media)
                except MediaError as error:
                    failure = getattr(file.raw, "failure", None)
                    if failure is not None:
                        raise failure from error
                    if self.stopping.is_set():
                        raise Stopping from error
                    if not isinstance(error, DecoderFailed) or not left:
                        raise
            self.stopping.wait(DECODER_PAUSE_S)
        raise AssertionError("unreachable")

    def _progress(
        self, job_id: str, stage: str, done: int, total: int, *, step_done: bool = False
    ) -> None:
        with self._database.write() as session:
            job = session.get(Job, job_id)
            if job is None or JobState(job.state) in ENDED:
                raise JobOver  # cancelled: no need to finish the part
            job.stage, job.done, job.total = stage, done, total
            if step_done:
                # The next step has attempts of its own: it is not the video's fault that workers
                # are stopped, as long as each gets on with it.
                job.attempts = 1

    @staticmethod
    def _progressed(opened: _Opened) -> tuple[int, int]:
        return opened.job.done or 0, opened.job.total or 0

    def _plan(self, opened: _Opened) -> list[list[int]]:
        plan: list[list[int]] = self._kept_json(opened, "plan", [])
        return plan

    def _keep_part(self, opened: _Opened, number: int, found: Part) -> None:
        content = bytes.fromhex(self._scorer.bundle.sha256) + dump_part(found)
        self._vault.keep(opened.work(f"part-{number}"), opened.case_key, content)

    def _found(self, opened: _Opened, number: int) -> Part:
        """A part that was examined; anew, where that was by another model: the worker was upgraded
        meanwhile, and no verdict is of two models."""
        digest = bytes.fromhex(self._scorer.bundle.sha256)
        kept = self._vault.kept(opened.work(f"part-{number}"), opened.case_key)
        if kept.startswith(digest):
            return load_part(kept[len(digest) :])
        frames = self._plan(opened)[number]
        found = self._on_media(opened, lambda media: self._scorer.examine(media, frames))
        self._keep_part(opened, number, found)
        return found

    def _keep_json(self, opened: _Opened, name: str, content: Any) -> None:
        raw = json.dumps(content, separators=(",", ":")).encode()
        self._vault.keep(opened.work(name), opened.case_key, raw)

    def _kept_json(self, opened: _Opened, name: str, default: Any) -> Any:
        try:
            return json.loads(self._vault.kept(opened.work(name), opened.case_key))
        except BlobMissing:
            return default


def _stated(result: dict[str, Any]) -> Verdict:
    """The verdict on media that could not be examined, as it was kept."""
    reasons = tuple(Reason(ReasonCode(r["code"]), r["detail"]) for r in result["reasons"])
    return Verdict(VerdictCode(result["verdict"]), reasons=reasons)


def _parts(indices: list[int]) -> list[list[int]]:
    return [indices[i : i + FRAMES_A_PART] for i in range(0, len(indices), FRAMES_A_PART)]


def _now() -> datetime:
    return datetime.now(UTC)
