"""Idempotent submission of media: equal requests lead to one job, and no occurrence is lost."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial

import anyio.to_thread
from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.cases.case_lock import lock_case, lock_open_case
from deepfake_service.cases.cases import Cases, PostDetails
from deepfake_service.evidence.listings import begin_listing
from deepfake_service.examination.queue import JobQueue, next_turn
from deepfake_service.examination.webhook_deliveries import add_callback, callbacks_of
from deepfake_service.hashes.minor_flags import MinorFlags
from deepfake_service.platform.db import (
    Account,
    Capture,
    Case,
    Database,
    Job,
    Media,
    current_time,
    new_id,
)
from deepfake_service.platform.enums import (
    REUSED,
    JobState,
    Priority,
    RetentionPolicy,
)
from deepfake_service.platform.errors import (
    Code,
    Conflict,
    DatabaseUnavailable,
    Gone,
    NotFound,
    ServiceError,
    invalid_field,
)
from deepfake_service.platform.storage import Stored, Vault, context_of, open_json
from deepfake_service.platform.storage.envelope import new_key, seal
from deepfake_service.platform.webhooks import Callback

MAX_FRAMES = 2000
"""Of one video: an evidence bundle has to hold their faces."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The capture that a medium was taken out of."""

    case_id: str
    capture: str
    capture_sha256: str
    """Of the capture's bundle."""
    collector: str
    """Id of the account that handed it in."""
    tool: str
    claimed: tuple[str, ...]
    """The fields of the occurrence that the capture claims, and nobody stated."""


@dataclass(frozen=True, slots=True, repr=False)
class Submission:
    """What is requested for a medium."""

    kind: str = "video"
    case_reference: str | None = None
    sighting: PostDetails = field(default_factory=PostDetails)
    callback: Callback | None = None
    priority: Priority = Priority.BATCH
    frames: int | None = None
    around_s: float | None = None
    """The moment around which alone the medium of ``repeats`` is examined, in seconds."""
    retention: RetentionPolicy = RetentionPolicy.STANDARD
    file_name: str | None = None
    origin: Origin | None = None
    """``None`` if its submitter sent the medium itself."""
    repeats: str | None = None
    """Id of the job whose medium is examined once more, in the same case. The
    account that submitted it is the submitter of this one too: who may confirm does not depend on
    who asked for more."""


@dataclass(frozen=True, slots=True, repr=False)
class Sealed:
    """A medium that is stored encrypted and does not belong to a case yet."""

    media_id: str
    key: bytes
    stored: Stored

    @property
    def blob(self) -> str:
        return blob_of(self.media_id)

    def media(self, case_id: str, case_key: bytes, at: datetime) -> Media:
        """Return the row of the medium as one of a case."""
        return Media(
            id=self.media_id,
            case_id=case_id,
            sha256=self.stored.sha256,
            size=self.stored.size,
            wrapped_key=seal(case_key, self.key, context_of("media-key", self.media_id)),
            blob=self.blob,
            created_at=at,
        )

    def of_capture(
        self, capture: Capture, case_key: bytes, at: datetime, kept_for: timedelta
    ) -> Media:
        """Return the row of the medium as a file of a capture, which is kept so long."""
        media = self.media(capture.case_id, case_key, at)
        media.capture_id, media.expires_at = capture.id, at + kept_for
        return media


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job, and whether this request created it."""

    job_id: str
    created: bool


def blob_of(media_id: str) -> str:
    """Return the name of a medium's blob."""
    return f"media/{media_id}"


@dataclass
class Submissions:
    """Accepts submissions."""

    _database: Database
    _vault: Vault
    _queue: JobQueue
    _minor_flags: MinorFlags
    _cases: Cases
    _bundle: str

    async def seal(self, chunks: AsyncIterator[bytes]) -> Sealed:
        """Encrypt and store a medium while it arrives. Call ``accept`` or ``discard`` next."""
        media_id, key = new_id(), new_key()
        stored = await self._vault.store(blob_of(media_id), key, chunks)
        return Sealed(media_id, key, stored)

    async def discard(self, *files: Sealed) -> None:
        """Delete files that were stored and not accepted."""
        for file in files:
            await anyio.to_thread.run_sync(self._vault.blobs.delete, file.blob)

    async def accept(self, caller: Caller, submission: Submission, sealed: Sealed) -> Accepted:
        """Create a job for a stored medium, or find the existing one.

        The existing job is returned if the same account requested the same for equal content in the
        same case. A new sighting is recorded in either case. Equal content in another case is an
        item of its own. The medium is deleted if no new job needs it. ``Conflict`` or
        ``Conflict`` if the existing job or its medium has as many as it can have;
        ``NotFound`` if the capture that it was taken out of was deleted.
        """
        accept = partial(self._accept, caller, submission, sealed)
        return Accepted(*await self.keep_if_new(accept, [sealed]))

    def repeat(self, caller: Caller, submission: Submission, job_id: str) -> str:
        """Record what a repeated request says besides the medium, whose bytes became a job before
        and are no longer there; return the id of the job that ``accept`` would have found.
        ``Gone`` if there is none: the job failed, or another case or other options are asked for.
        """
        with self._database.write() as session:
            self._database.one_at_a_time(session, caller.account_id)
            before = session.get(Job, job_id)
            media = session.get(Media, before.media_id) if before is not None else None
            job = self._existing(session, caller, submission, media.sha256) if media else None
            if job is None:
                raise Gone(
                    "No job of this upload fits the request, and its bytes are no longer kept. "
                    "Begin another one.",
                    code=Code.UPLOAD_EXPIRED,
                )
            self._add_sighting(session, caller, submission, job)
        return job.id

    async def keep_if_new(
        self, record: Callable[[], tuple[str, bool]], files: Sequence[Sealed]
    ) -> tuple[str, bool]:
        """Record what stored files are of; return its id and whether it is new. They are deleted
        unless it is."""
        try:
            row_id, is_new = await anyio.to_thread.run_sync(record)
        except DatabaseUnavailable:
            # The transaction may have been committed all the same. If it was not, the sweep of
            # orphans deletes the files.
            raise
        except ServiceError:
            await self.discard(*files)
            raise
        if not is_new:
            await self.discard(*files)
        return row_id, is_new

    def _accept(self, caller: Caller, submission: Submission, sealed: Sealed) -> tuple[str, bool]:
        with self._database.write() as session:
            self._database.one_at_a_time(session, caller.account_id)
            # Flags of the same bytes wait for this transaction, or this one for them.
            self._database.one_at_a_time(session, sealed.stored.sha256)
            within = _origin_of(session, submission)
            if within is not None:
                case = lock_open_case(session, within.case_id)  # so does its deletion
                if isinstance(within, Job):
                    _require_moment(within, self._vault.case_key(case), submission.around_s)
                elif session.get(Capture, within.capture) is None:
                    raise NotFound
            job = self._existing(session, caller, submission, sealed.stored.sha256)
            created = job is None
            if job is None:
                job = self._new_job(session, caller, submission, sealed)
            self._add_sighting(session, caller, submission, job)
        return job.id, created

    def _add_sighting(
        self, session: Session, caller: Caller, submission: Submission, job: Job
    ) -> None:
        """Record where the medium of a job was seen, and whom its end is told."""
        sighting = {
            **asdict(submission.sighting),
            "case_reference": submission.case_reference,
            "tool": "console" if caller.by_console else "api",
            **(asdict(submission.origin) if submission.origin else {}),
        }
        case = session.get_one(Case, job.case_id)
        media = session.get_one(Media, job.media_id)
        key = self._vault.case_key(case)
        if submission.callback is not None:
            add_callback(session, key, job, submission.callback)
        if submission.origin is not None:
            with contextlib.suppress(Conflict):  # a job that had as many before
                for callback in callbacks_of(session, key, submission.origin.capture):
                    add_callback(session, key, job, callback)
        self._cases.record_post(session, caller, media, sighting)

    def _existing(
        self, session: Session, caller: Caller, submission: Submission, sha256: str
    ) -> Job | None:
        """Return the job that a submission of content with this digest repeats, locked together
        with its case."""
        while (job := self._equal(session, caller, submission, sha256)) is not None:
            case = lock_case(session, job.case_id)  # before its rows are referred to
            if case is not None and case.wrapped_key is not None:
                # A job that ends meanwhile releases the callbacks that it knows: one that is added
                # must be among them, or be due at once.
                locked = session.get(Job, job.id, with_for_update=True, populate_existing=True)
                if locked is not None and locked.state != JobState.CANCELLED:
                    return locked
            session.expire_all()  # the case or the job has just been deleted
        return None

    def _equal(
        self, session: Session, caller: Caller, submission: Submission, sha256: str
    ) -> Job | None:
        """Return the job of the same request in the same case.

        Cases are walls: an item of another case never receives this sighting, and its deletion
        never deletes what was submitted here. Submissions without a reference equal one another.
        """
        reference, frames = submission.case_reference, submission.frames
        digests = self._cases.digests_of([caller.account_id], reference) if reference else (None,)
        in_case = Case.reference.is_not_distinct_from(digests[0])
        within = _origin_of(session, submission)
        if within is not None:
            in_case = Case.id == within.case_id
        return session.scalars(
            select(Job)
            .join(Media, Job.media_id == Media.id)
            .join(Case, Job.case_id == Case.id)
            .where(
                Case.wrapped_key.is_not(None),
                in_case,
                Job.account_id == _submitter(caller, within),
                Media.sha256 == sha256,
                Job.kind == submission.kind,
                Job.frames.is_not_distinct_from(frames),
                Job.around_s.is_not_distinct_from(submission.around_s),
                Job.retention == submission.retention,
                Job.bundle_sha256 == self._bundle,
                Job.state.in_(REUSED),
            )
            .order_by(Job.created_at.desc())
            .limit(1)
        ).first()

    def _new_job(
        self, session: Session, caller: Caller, submission: Submission, sealed: Sealed
    ) -> Job:
        within = _origin_of(session, submission)
        if within is not None:
            case = session.get_one(Case, within.case_id)
            case_key = self._vault.case_key(case)
        else:
            reference = submission.case_reference
            case, case_key, _ = self._cases.of_reference(session, caller, reference)
        media = sealed.media(case.id, case_key, current_time(session))
        priority = submission.priority
        if priority is Priority.LIVE and not session.get_one(Account, caller.account_id).live:
            priority = Priority.BATCH
        job = Job(
            id=new_id(),
            case_id=case.id,
            media_id=media.id,
            account_id=_submitter(caller, within),
            kind=submission.kind,
            priority=priority,
            frames=submission.frames,
            around_s=submission.around_s,
            bundle_sha256=self._bundle,
            retention=submission.retention,
            state=JobState.QUEUED,
            turn=next_turn(session, caller.account_id, priority),
            created_at=current_time(session),
        )
        session.add(media)
        session.flush()
        # The case now contains something that nobody has reviewed.
        case.reviewed_at = None
        session.add(job)
        session.flush()
        begin_listing(session, case_key, job.id, submission.file_name, submission.sighting.platform)
        self._queue.put(session, job)
        self._minor_flags.inherit_by_bytes(session, case, [media.sha256])
        if submission.repeats is None:
            append_entry(session, caller.actor, Action.MEDIA_SUBMITTED, job.id)
        else:
            again = Action.MEDIA_EXAMINED_AGAIN
            append_entry(session, caller.actor, again, job.id, job.account_id)
        return job


def _origin_of(session: Session, submission: Submission) -> Origin | Job | None:
    """Return what the medium is taken out of, or the job that it is examined again for."""
    if submission.repeats is None:
        return submission.origin
    job = session.get(Job, submission.repeats)
    if job is None:  # it was deleted while its medium was copied
        raise NotFound
    return job


def _submitter(caller: Caller, within: Origin | Job | None) -> str:
    return within.account_id if isinstance(within, Job) else caller.account_id


def _require_moment(job: Job, case_key: bytes, around_s: float | None) -> None:
    """Raise ``InvalidRequest`` unless a video that was examined has such a moment."""
    if around_s is not None:
        media = open_json(case_key, job)["media"] if job.result else None
        if media is None or around_s > round(media["duration_s"] or -1.0, 3):
            raise invalid_field("around_s", "choose a moment of a video that was examined")
