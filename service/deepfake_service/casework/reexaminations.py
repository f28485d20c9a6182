"""Examinations of the same medium with more frames, each a job of its own in the same case.

The stored medium is read again: nothing is uploaded twice. The jobs of one medium name it, and so
each other. The medium expires after the last of them, and is deleted with the last of them. Each
has evidence and reviews of its own, and belongs to the account that submitted the medium, whoever
asks for it.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.casework.core.case_lock import lock_open_case
from deepfake_service.casework.core.listings import open_listing
from deepfake_service.casework.core.visibility import find_visible
from deepfake_service.casework.dossiers import origin_of
from deepfake_service.casework.submissions import MAX_FRAMES, Accepted, begin_job
from deepfake_service.db import Case, Database, Job, Listing, Media, new_id
from deepfake_service.db.enums import REUSED, UNFINISHED, JobState, Priority, RetentionPolicy
from deepfake_service.errors import FieldError, InvalidRequest, NotFound, NotReexaminable
from deepfake_service.jobs import JobQueue
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import Action, append_entry
from deepfake_service.storage import Vault, open_json

MAX_EXAMINATIONS = 5
"""Of one medium. Each keeps the medium for another week, which must come to an end."""


class Reexaminations:
    """Begins them."""

    def __init__(
        self, database: Database, vault: Vault, queue: JobQueue, bundle_sha256: str
    ) -> None:
        self._database = database
        self._vault = vault
        self._queue = queue
        self._bundle = bundle_sha256

    def most(self, caller: Caller, job_id: str) -> int | None:
        """Return with how many frames a video can be examined again at most.

        ``None`` if it cannot be now, or all its frames are examined by a job that there is.

        Raises:
            NotFound: there is no such job, or the caller may not see it.
        """
        with self._database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
            media = session.get_one(Media, job.media_id)
            jobs = _jobs_of(session, media)
        try:
            most, examined = self._limits(job, case)
            _check(media, jobs)
        except NotReexaminable:
            return None
        return None if max(examined, *(other.frames or 0 for other in jobs)) >= most else most

    def request(self, caller: Caller, job_id: str, frames: int | None = None) -> Accepted:
        """Examine the medium of a job with this many frames, or with as many as possible.

        A request that is repeated leads to the same job.

        Raises:
            NotFound: there is no such job, or the caller may not see it.
            NotReexaminable: its medium is not a video, was deleted, is being examined, has no more
                frames, or was examined ``MAX_EXAMINATIONS`` times.
            InvalidRequest: ``frames`` is not more than were examined.
        """
        with self._database.write() as session:
            _, case = find_visible(session, caller, Job, job_id)
            self._database.one_at_a_time(session, case.account_id)
            # The sweep deletes no medium of a locked case.
            locked = lock_open_case(session, case.id)
            job = session.get(Job, job_id, populate_existing=True)
            if job is None:
                raise NotFound
            media = session.get_one(Media, job.media_id, populate_existing=True)
            jobs = _jobs_of(session, media)
            most, examined = self._limits(job, locked)
            asked = most if frames is None else min(frames, most)
            for other in jobs:
                if other.frames == asked and other.bundle_sha256 == self._bundle:
                    return Accepted(other.id, created=False)
            _check(media, jobs)
            if most <= examined:
                raise NotReexaminable(
                    "All frames of this video that can be examined have been examined."
                )
            if asked <= examined:
                detail = f"send at least {examined + 1}: {examined} frames were examined"
                raise InvalidRequest(errors=[FieldError("frames", detail)])
            new = self._new_job(session, job, locked, asked)
            origin = origin_of(session, job.id) or job.id
            append_entry(session, caller.actor, Action.EXAMINATION_REPEATED, new.id, origin)
        return Accepted(new.id, created=True)

    def _limits(self, job: Job, case: Case) -> tuple[int, int]:
        """Return how many frames of a job's video can be examined at most, and how many were.

        Raises:
            NotReexaminable: it has no verdict, or is not a video.
        """
        result = {}
        if job.state == JobState.SUCCEEDED and job.result is not None:
            result = open_json(self._vault.case_key(case), job)
        facts = result.get("media")
        if not facts or facts["kind"] != "video":
            raise NotReexaminable("Only a video that has a verdict can be examined again.")
        most = min(MAX_FRAMES, facts["frames"] or MAX_FRAMES)
        return most, max(job.frames or 0, int(result["frames"]["sampled"]))

    def _new_job(self, session: Session, job: Job, case: Case, frames: int) -> Job:
        key, listing = self._vault.case_key(case), session.get(Listing, job.id)
        known = open_listing(key, listing)
        new = Job(
            id=new_id(),
            case_id=case.id,
            media_id=job.media_id,
            account_id=job.account_id,
            kind=job.kind,
            priority=Priority.BATCH,
            frames=frames,
            bundle_sha256=self._bundle,
            retention=RetentionPolicy.STANDARD,
        )
        listed = {name: known[name] for name in ("name", "platform")}
        begin_job(session, self._queue, key, new, listed)
        return new


def _check(media: Media, jobs: list[Job]) -> None:
    """Raise ``NotReexaminable`` if a medium is not kept, or is examined now or too often."""
    if media.blob is None or any(job.retention == RetentionPolicy.ZERO for job in jobs):
        raise NotReexaminable("The media have been deleted. Submit the file again.")
    if any(job.state in UNFINISHED for job in jobs):
        raise NotReexaminable("This video is being examined already. Wait until that has ended.")
    if len(jobs) >= MAX_EXAMINATIONS:
        raise NotReexaminable("This video has been examined the maximum number of times.")


def _jobs_of(session: Session, media: Media) -> list[Job]:
    """Return the jobs of a medium that have not failed, oldest first."""
    jobs = select(Job).where(Job.media_id == media.id, Job.state.in_(REUSED))
    return list(session.scalars(jobs.order_by(Job.created_at, Job.id)))
