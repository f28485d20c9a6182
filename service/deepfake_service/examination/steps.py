"""The steps of an examination. Each seals its results, so that another worker can do the next.

They are the blobs below ``work/JOB/``. That worker may run another model. All of them are deleted
when the job ends.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from io import BufferedReader
from typing import TypeGuard, TypeVar

from sqlalchemy.orm import Session

from deepfake_models.bundle.results import Leaning, Verdict, VerdictCode, unable
from deepfake_models.decision.decide import Part
from deepfake_models.decision.serialization import (
    UnreadableRecord,
    dump_part,
    dump_timeline,
    dump_verdict,
    load_part,
    load_timeline,
    load_verdict,
)
from deepfake_models.errors import DecoderFailed, DecoderTooSlow, MediaError
from deepfake_models.media.credentials import Credentials, not_read
from deepfake_models.media.decoder import mime_of
from deepfake_models.media.image import HEAD_BYTES
from deepfake_models.media.interface import OpenMedia, SavedTimeline
from deepfake_models.sandbox.decoder import Decoder
from deepfake_models.scorer import Scorer
from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.cases.case_lock import lock_with_case
from deepfake_service.cases.cases import material_of, media_key
from deepfake_service.cases.media_deletion import expire
from deepfake_service.evidence.bundle.artifacts import Gatherer, Material
from deepfake_service.evidence.bundle.documents import About, Sandbox
from deepfake_service.evidence.bundle.perceptual_hashes import MediaHashes
from deepfake_service.evidence.listings import Listed, end_listing, listed_result
from deepfake_service.evidence.store import EvidenceStore
from deepfake_service.examination.webhook_deliveries import release_callbacks
from deepfake_service.hashes.hash_bank import HashBank
from deepfake_service.hashes.minor_flags import MinorFlags
from deepfake_service.platform.db import Case, Database, Job, Media, current_time
from deepfake_service.platform.enums import ENDED, JobStage, JobState, RetentionPolicy
from deepfake_service.platform.errors import DatabaseUnavailable, NotFound, StorageUnavailable
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.storage import BlobMissing, Vault, seal_json

CHUNK_FRAMES = 16
"""Frames of one chunk, which a worker that dies loses: a second or two of work. If the media take
more seconds than this to open, a chunk has as many frames: some files are decoded to their end at
each opening, and a small one could take hours."""
MAX_ATTEMPTS = 10
"""How many times one step of a job (a few frames) may be started, by any worker, before the job
fails: a video that kills its worker must not do so forever."""
AROUND_S = 5.0
"""A part of a video is so long before and after its moment. Evidence states when it begins and
ends, from which ``deepfake verify`` repeats it."""
DECODER_ATTEMPTS = 3
DECODER_PAUSE_S = 0.5
TOO_MANY_ATTEMPTS = "too_many_attempts"

T = TypeVar("T")

_log = logger("deepfake_service.pipeline")


class JobOver(Exception):
    """The job was cancelled, shredded or ended by another worker: nothing is left to do."""


class Stopping(BaseException):
    """The worker stops while a step waits. Another worker resumes the job."""


@dataclass(frozen=True, slots=True, repr=False)
class _OpenedJob:
    """A job's rows, keys and files at the beginning of a step."""

    job: Job
    media: Media
    case_key: bytes
    media_key: bytes
    files: JobFiles


def end_job(
    session: Session,
    job: Job,
    case_key: bytes,
    result: Mapping[str, object],
    listed: Listed,
    keep_after_verdict: timedelta,
) -> None:
    """Record that a job has succeeded, set when its media expire, and release its webhooks."""
    seal_json(case_key, job, dict(result))
    leaning = result.get("leaning")
    job.verdict = VerdictCode(str(result["verdict"]))
    job.leaning = Leaning(str(leaning)) if leaning else None
    end_listing(session, case_key, job, listed)
    job.started_at = job.started_at or current_time(session)
    job.stage, job.done = None, job.total or 0
    _end(session, job, JobState.SUCCEEDED, keep_after_verdict)


def _end(session: Session, job: Job, state: JobState, keep_after_verdict: timedelta) -> None:
    now = current_time(session)
    job.state, job.finished_at = state, now
    at_once = job.retention == RetentionPolicy.ZERO
    media = session.get_one(Media, job.media_id)
    media.expires_at = now if at_once else now + keep_after_verdict
    release_callbacks(session, job.id)
    append_entry(session, SERVICE, Action.JOB_FINISHED, job.id, state)


@dataclass
class Examination:
    """Does the steps of ``workflow.ExaminationWorkflow``."""

    _database: Database
    _vault: Vault
    _scorer: Scorer
    _decoder: Decoder
    _evidence: EvidenceStore
    _hash_bank: HashBank
    _minor_flags: MinorFlags
    _metrics: Metrics
    _keep: timedelta
    """How long media are retained after the verdict."""
    _anchors: str | None = None
    """The certificates by which Content Credentials are trusted, in PEM."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the worker stops: no step waits then, and decoders are closed under running ones."""

    @property
    def model(self) -> str:
        """Return the SHA-256 of the model bundle."""
        return self._scorer.bundle.sha256

    def claim_job(self, job_id: str) -> None:
        """Record that a worker starts or resumes the job; ``JobOver`` if the job has ended or is
        another worker's, or was claimed too often and has failed now."""
        with self._database.write() as session:
            job = session.get(Job, job_id, with_for_update=True)
            if not self._is_ours(job):
                raise JobOver
            job.attempts += 1
            has_failed = job.attempts > MAX_ATTEMPTS
            if not has_failed:
                job.state = JobState.RUNNING
                job.started_at = job.started_at or self._database.clock()
        if has_failed:
            self.fail(job_id, TOO_MANY_ATTEMPTS)
            raise JobOver

    def plan_overview(self, job_id: str) -> int:
        """Scan the media and plan; return the number of chunks to examine, 0 for none at all. The
        timeline is saved so that later steps need not scan the file again."""
        opened = self._open(job_id)
        files, started = opened.files, time.monotonic()
        try:
            timeline = self._with_media(opened, SavedTimeline.of)
        except MediaError as error:
            # Media that cannot be examined have a verdict too: this is not a service failure.
            files.save(VERDICT, dump_verdict(unable(error)))
            return 0
        files.delete(VERDICT)  # of an attempt that failed to open the media
        frames = self._scorer.plan(timeline, opened.job.frames, _part_of(opened.job))
        chunks = _chunks(frames, round(time.monotonic() - started))
        files.save(TIMELINE, dump_timeline(timeline))
        files.save_plan(chunks)
        self._report(job_id, JobStage.OVERVIEW, 0, len(frames), step_done=True)
        return len(chunks)

    def examine_chunk(self, job_id: str, number: int) -> None:
        """Examine chunk ``number``, counted from 0; nothing if one before cannot be examined, which
        gives the media that verdict, as in ``plan_overview``."""
        opened = self._open(job_id)
        if opened.files.read(VERDICT):
            return
        chunks, overview = opened.files.plan()
        before = sum(len(chunk) for chunk in chunks[:number])
        total = sum(len(chunk) for chunk in chunks)
        stage = JobStage.OVERVIEW if overview is None or number < overview else JobStage.DENSE

        def report(done: int, _: int) -> None:
            self._report(job_id, stage, before + done, total)

        try:
            part = self._with_media(
                opened, lambda media: self._scorer.examine(media, chunks[number], progress=report)
            )
        except MediaError as error:
            opened.files.save(VERDICT, dump_verdict(unable(error)))
            return
        opened.files.save_part(number, part, self.model)
        self._report(job_id, stage, before + len(chunks[number]), total, step_done=True)

    def plan_dense(self, job_id: str, chunks: int) -> int:
        """Plan a denser second pass around the suspect moments found in the overview, which is the
        first ``chunks`` chunks, and return the number of chunks that it adds.
        """
        opened = self._open(job_id)
        if opened.job.frames is not None or opened.files.read(VERDICT):
            return 0
        overview = opened.files.plan()[0][:chunks]
        frames = [index for chunk in overview for index in chunk]
        parts = [self._part(opened, number) for number in range(chunks)]
        further = self._scorer.plan_dense(self._timeline(opened), frames, parts)
        dense = _chunks(further, len(overview[0]))
        opened.files.save_plan([*overview, *dense], overview=chunks)
        return len(dense)

    def conclude(self, job_id: str, chunks: int) -> None:
        """Judge all ``chunks``, gather the material of the evidence, and end the job."""
        opened = self._open(job_id)
        self._report(job_id, JobStage.EVIDENCE, opened.job.done or 0, opened.job.total or 0)
        unable_to = opened.files.read(VERDICT)
        parts = [] if unable_to else [self._part(opened, number) for number in range(chunks)]
        verdict = load_verdict(unable_to) if unable_to else self._judge(opened, parts)
        material = self._gather(opened, verdict, parts)
        self._vault.write(material_of(opened.job), opened.case_key, material.pack())
        found = material.examination
        hashes = MediaHashes.of(found.hashes, found.likeness)
        self._minor_flags.compare_job(opened.job, hashes)
        self._hash_bank.link_similar(opened.job, hashes)
        result = verdict.to_json(faces=True)
        self._succeed(opened, result, listed_result(material))
        opened.files.delete(PLAN, TIMELINE, VERDICT, *(f"part-{n}" for n in range(chunks)))

    def issue_evidence(self, job_id: str) -> None:
        """Issue the first edition of the evidence of a job that has succeeded."""
        try:
            self._evidence.issue(job_id, SERVICE, only_first=True)
        except (DatabaseUnavailable, StorageUnavailable):
            raise
        except NotFound:
            raise JobOver from None
        except Exception as error:
            # The verdict is valid without evidence, which is made again when it is asked for.
            _log.error("evidence_failed", job_id=job_id, failure=describe(error))

    def _judge(self, opened: _OpenedJob, parts: Sequence[Part]) -> Verdict:
        frames = sorted(i for chunk in opened.files.plan()[0][: len(parts)] for i in chunk)
        try:
            return self._scorer.conclude(self._timeline(opened), frames, parts)
        except MediaError as error:
            return unable(error)

    def _gather(self, opened: _OpenedJob, verdict: Verdict, parts: Sequence[Part]) -> Material:
        """Gather the material of evidence; less of it where the media cannot be decoded."""
        gatherer = Gatherer(
            self._scorer,
            verdict,
            sorted(frame.time_s for part in parts for frame in part.examined),
            self._database.clock(),
            self._read(opened),
            _part_of(opened.job),
        )
        if verdict.media is not None:
            try:
                self._with_media(opened, gatherer.take)
            except MediaError as error:
                # The verdict is valid even if its pictures cannot be decoded a second time.
                _log.warning("material_missing", job_id=opened.job.id, failure=describe(error))
                gatherer.end(error)
        return gatherer.material()

    def _read(self, opened: _OpenedJob) -> About:
        """Return ``Gatherer.about``.

        Credentials that crash their reader are not read again: the verdict does not depend on them.
        """
        assert opened.media.blob is not None
        with self._vault.open(opened.media.blob, opened.media_key) as file:
            mime = mime_of(file.read(HEAD_BYTES))
            try:
                credentials = self._decoder.read_credentials(file, mime, self._anchors)
            except MediaError as error:
                self._raise_unrelated(file, error)
                credentials = not_read("reading the credentials took too much time or memory")
        confinement = self._decoder.confinement()
        missing = None if confinement is None else tuple(map(str, confinement.missing))
        return About(
            mime=mime,
            content_credentials=Credentials.model_validate(credentials),
            sandbox=None if missing is None else Sandbox(missing=missing),
        )

    def _raise_unrelated(self, file: BufferedReader, error: MediaError) -> None:
        """Raise the cause of ``error`` if that is not in the media of ``file``: the worker
        stops, or the store failed."""
        storage_failure = getattr(file.raw, "failure", None)
        if storage_failure is not None:
            raise storage_failure from error
        if self.stopping.is_set():
            raise Stopping from error

    def fail(self, job_id: str, code: str) -> None:
        """End the job as failed through a fault of the service."""
        with self._database.write() as session:
            job = lock_with_case(session, Job, job_id)
            if job is None or job.state in ENDED:
                return
            job.failure = code[:64]
            _end(session, job, JobState.FAILED, self._keep)
        self._metrics.job_ended(JobState.FAILED)

    def _succeed(self, opened: _OpenedJob, result: Mapping[str, object], listed: Listed) -> None:
        job_id = opened.job.id
        with self._database.write() as session:
            job = lock_with_case(session, Job, job_id)
            if not self._is_ours(job):
                raise JobOver
            end_job(session, job, opened.case_key, result, listed, self._keep)
            assert job.started_at is not None
            assert job.finished_at is not None
            seconds = (job.finished_at - job.started_at).total_seconds()
        self._metrics.job_ended(JobState.SUCCEEDED, seconds)
        if opened.job.retention == RetentionPolicy.ZERO:
            # At once; should this be interrupted, the next sweep does it.
            expire(self._database, self._vault, opened.media.id)
        _log.info("job_succeeded", job_id=job_id, duration_s=round(seconds, 1))

    def _is_ours(self, job: Job | None) -> TypeGuard[Job]:
        """Return whether a job goes on: a worker that was cut off may have lost it to another."""
        if job is None or job.state in ENDED:
            return False
        return job.bundle_sha256 == self.model

    def _open(self, job_id: str) -> _OpenedJob:
        with self._database.read() as session:
            job = session.get(Job, job_id)
            if not self._is_ours(job):
                raise JobOver
            media = session.get_one(Media, job.media_id)
            case = session.get_one(Case, job.case_id)
        case_key = self._vault.case_key(case)
        files = JobFiles(self._vault, job_id, case_key)
        return _OpenedJob(job, media, case_key, media_key(media, case_key), files)

    def _with_media(self, opened: _OpenedJob, use: Callable[[OpenMedia], T]) -> T:
        """Open the media, and return what ``use`` makes of them. ``MediaError`` if it cannot.

        A decoder that fails may be the fault of the media or of the machine (out of memory, or a
        worker that stops). So it is tried several times before the media are blamed, unless it took
        all the time that is allowed: a slow file must not take that of others again.
        """
        assert opened.media.blob is not None
        for attempts_left in reversed(range(DECODER_ATTEMPTS)):
            with self._vault.open(opened.media.blob, opened.media_key) as file:
                try:
                    with self._decoder.open(file) as media:
                        return use(media)
                except MediaError as error:
                    self._raise_unrelated(file, error)
                    may_succeed = not isinstance(error, DecoderTooSlow)
                    if not (isinstance(error, DecoderFailed) and may_succeed and attempts_left):
                        raise
            self.stopping.wait(DECODER_PAUSE_S)
        raise AssertionError("unreachable")

    def _part(self, opened: _OpenedJob, number: int) -> Part:
        """Return what examining chunk ``number`` gave. It is examined again where that was done
        with another model, as after an upgrade of the worker: no verdict mixes two models. So is
        what another version of the worker stored in a form that this one does not read."""
        part = opened.files.part(number, self.model)
        if part is None:
            frames = opened.files.plan()[0][number]
            part = self._with_media(opened, lambda media: self._scorer.examine(media, frames))
            opened.files.save_part(number, part, self.model)
        return part

    def _timeline(self, opened: _OpenedJob) -> SavedTimeline:
        """Return the timeline that was saved; the medium is scanned again, as in ``_part``."""
        try:
            return opened.files.timeline()
        except UnreadableRecord:
            return self._with_media(opened, SavedTimeline.of)

    def _report(
        self, job_id: str, stage: JobStage, done: int, total: int, *, step_done: bool = False
    ) -> None:
        """Record how far the job is, or raise ``JobOver`` if it was cancelled meanwhile."""
        with self._database.write() as session:
            job = session.get(Job, job_id)
            if not self._is_ours(job):
                raise JobOver
            if (job.stage, job.total) == (stage, total):
                done = max(done, job.done)  # a chunk that is examined again takes nothing back
            elif stage == JobStage.OVERVIEW:
                job.overview = total
            job.stage, job.done, job.total = stage, done, total
            if step_done:
                # Attempts are counted within one step: a video is not to blame for workers that
                # are stopped while each makes progress.
                job.attempts = 1


def _part_of(job: Job) -> tuple[float, float] | None:
    """Return from when to when a video is examined; ``None`` for all of it."""
    at = job.around_s
    return None if at is None else (round(max(at - AROUND_S, 0.0), 3), round(at + AROUND_S, 3))


def _chunks(frames: list[int], size: int) -> list[list[int]]:
    size = max(size, CHUNK_FRAMES)
    return [frames[i : i + size] for i in range(0, len(frames), size)]


PLAN, TIMELINE, VERDICT = "plan", "timeline", "verdict"
"""Names of files: what is examined, the facts of the medium and the times of its frames, and the
verdict on media that cannot be examined."""


class JobFiles:
    """The intermediate results of one job."""

    def __init__(self, vault: Vault, job_id: str, case_key: bytes) -> None:
        self._vault = vault
        self._prefix = f"work/{job_id}/"
        self._key = case_key

    def save_plan(self, chunks: list[list[int]], overview: int | None = None) -> None:
        """Save which frames are examined, a list of indices a chunk. Once it is known, ``overview``
        is how many chunks, from the first, are the overview of the video."""
        content = json.dumps([chunks, overview], separators=(",", ":"))
        self.save(PLAN, content.encode())

    def plan(self) -> tuple[list[list[int]], int | None]:
        """Return what ``save_plan`` saved; no chunks before that."""
        content = self.read(PLAN)
        chunks, overview = json.loads(content) if content else ([], None)
        return chunks, overview

    def timeline(self) -> SavedTimeline:
        """Return the facts of the medium and the times of its frames, which were saved."""
        return load_timeline(self._vault.read(self._prefix + TIMELINE, self._key))

    def save_part(self, number: int, part: Part, model_sha256: str) -> None:
        """Save what examining chunk ``number`` with a model gave."""
        self.save(f"part-{number}", bytes.fromhex(model_sha256) + dump_part(part))

    def part(self, number: int, model_sha256: str) -> Part | None:
        """Return what ``save_part`` saved; ``None`` where another model examined the chunk, or
        another version wrote it in another form. ``BlobMissing`` if nothing was saved."""
        content = self._vault.read(self._prefix + f"part-{number}", self._key)
        digest = bytes.fromhex(model_sha256)
        with contextlib.suppress(UnreadableRecord):
            return load_part(content[len(digest) :]) if content.startswith(digest) else None
        return None

    def save(self, name: str, content: bytes) -> None:
        """Save a file."""
        self._vault.write(self._prefix + name, self._key, content)

    def delete(self, *names: str) -> None:
        """Delete files, whether they are there or not."""
        for name in names:
            self._vault.blobs.delete(self._prefix + name)

    def read(self, name: str) -> bytes | None:
        """Return a file, or ``None`` if it was not saved."""
        try:
            return self._vault.read(self._prefix + name, self._key)
        except BlobMissing:
            return None
