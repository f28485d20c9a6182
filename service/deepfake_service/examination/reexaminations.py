"""Examine a video again with as many frames as possible, as another job of the same media.

The jobs of one file name it, and so each other. The media expire after the last of them, and are
deleted with the last of them. Each has evidence and reviews of its own, and belongs to the account
that submitted the file, whoever asks for it.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import find_visible
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.cases.case_lock import lock_open_case
from deepfake_service.evidence.dossiers import origin_of
from deepfake_service.evidence.listings import open_listing
from deepfake_service.examination.queue import JobQueue
from deepfake_service.examination.submissions import MAX_FRAMES, Accepted, begin_job
from deepfake_service.platform.db import Case, Database, Job, Listing, Media, new_id
from deepfake_service.platform.db.enums import (
    REUSED,
    UNFINISHED,
    JobState,
    Priority,
    RetentionPolicy,
)
from deepfake_service.platform.errors import NotFound, NotReexaminable
from deepfake_service.platform.storage import Vault, open_json


class Reexaminations:
    """Begins them."""

    def __init__(
        self, database: Database, vault: Vault, queue: JobQueue, bundle_sha256: str
    ) -> None:
        self._database = database
        self._vault = vault
        self._queue = queue
        self._bundle = bundle_sha256

    def request(self, caller: Caller, job_id: str) -> Accepted:
        """Examine the media of a job with as many frames as possible.

        A request that is repeated leads to the same job.

        Raises:
            NotFound: there is no such job, or the caller may not see it.
            NotReexaminable: its file is not a video, was deleted, is being examined, or has no
                more frames.
        """
        with self._database.write() as session:
            _, case = find_visible(session, caller, Job, job_id)
            self._database.one_at_a_time(session, case.account_id)
            # The sweep deletes no media of a locked case.
            locked = lock_open_case(session, case.id)
            job = session.get(Job, job_id, populate_existing=True)
            if job is None:
                raise NotFound
            frames, same = self._plan(session, job, locked)
            if same is not None:
                return Accepted(same, created=False)
            new = self._new_job(session, job, locked, frames)
            origin = origin_of(session, job.id) or job.id
            append_entry(session, caller.actor, Action.EXAMINATION_REPEATED, new.id, origin)
        return Accepted(new.id, created=True)

    def offered_frames(self, session: Session, job: Job, case: Case) -> int | None:
        """Return with how many frames a job's video can be examined again; ``None`` if it cannot,
        or if a job has them already."""
        try:
            most, same = self._plan(session, job, case)
        except NotReexaminable:
            return None
        return most if same is None else None

    def _plan(self, session: Session, job: Job, case: Case) -> tuple[int, str | None]:
        """Return how many frames of a job's video can be examined, and the id of the job that has
        them already.

        Raises:
            NotReexaminable: see ``request``.
        """
        result = {}
        if job.state == JobState.SUCCEEDED and job.result is not None:
            result = open_json(self._vault.case_key(case), job)
        facts = result.get("media")
        if not facts or facts["kind"] != "video":
            raise NotReexaminable("Only a video that has a verdict can be examined again.")
        most = min(MAX_FRAMES, facts["frames"] or MAX_FRAMES)
        media = session.get_one(Media, job.media_id, populate_existing=True)
        of_media = select(Job).where(Job.media_id == media.id, Job.state.in_(REUSED))
        jobs = session.scalars(of_media.order_by(Job.created_at, Job.id)).all()
        for other in jobs:
            if other.frames == most and other.bundle_sha256 == self._bundle:
                return most, other.id
        if media.blob is None or any(j.retention == RetentionPolicy.ZERO for j in jobs):
            raise NotReexaminable("The media have been deleted. Submit the file again.")
        if any(j.state in UNFINISHED for j in jobs):
            raise NotReexaminable(
                "This video is being examined already. Wait until that has ended."
            )
        if max(job.frames or 0, int(result["frames"]["sampled"])) >= most:
            raise NotReexaminable(
                "All frames of this video that can be examined have been examined."
            )
        return most, None

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
