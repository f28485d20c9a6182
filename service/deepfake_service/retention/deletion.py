"""Deletion at a caller's request: cancel jobs, delete captures, shred cases, and the legal holds
that prevent it.

A case outlives its items: its reference and its notices stay until a person deletes the case, or it
expires. The last item takes the case's key with it, so that what was encrypted for the item cannot
be read from freed blocks of the disk either.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from sqlalchemy import Select, delete, exists, select, update
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import find_visible, may_delete
from deepfake_service.audit.log import SERVICE, Action, Actor, append_entry
from deepfake_service.cases.case_lock import (
    is_being_deleted,
    lock_case,
    lock_deletable,
    lock_unheld,
    lock_with_case,
)
from deepfake_service.cases.cases import folder_of, material_of, screenshot_of, screenshot_of_look
from deepfake_service.examination.queue import JobQueue
from deepfake_service.platform.db import (
    Capture,
    Case,
    Database,
    Edition,
    Job,
    KnownHashes,
    Listing,
    Look,
    Match,
    Media,
    Notice,
    Occurrence,
)
from deepfake_service.platform.enums import ENDED, JobState
from deepfake_service.platform.errors import Code, Conflict, Forbidden, NotFound
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.storage import Vault, open_json, seal_json
from deepfake_service.review.shapes import HoldRequest

OfAccount = TypeVar("OfAccount", Case, Job)
OfCase = TypeVar("OfCase", Capture, Job)


NOBODY = HoldRequest()


class Retention:
    """Deletes jobs, evidence, captures and cases. After a crash, each deletion can be repeated."""

    def __init__(self, database: Database, vault: Vault, queue: JobQueue, metrics: Metrics) -> None:
        self._database = database
        self._vault = vault
        self._queue = queue
        self._metrics = metrics

    def cancel(self, caller: Caller, job_id: str, *, with_case: bool = False) -> bool:
        """Stop a job and delete what belongs to it, and return whether its case was deleted, too:
        ``with_case``, unless it has other jobs. ``NotFound`` if the caller may not see such a job,
        ``Forbidden`` if they may not delete it, ``Conflict`` under a legal hold."""
        with self._database.write() as session:
            job, case = self._locked(session, _find_deletable(session, caller, Job, job_id))
            before = job.state
            # If the process stops after this transaction, the sweep deletes the job.
            job.state = JobState.CANCELLED
            if before not in ENDED:
                job.finished_at = self._database.clock()
                append_entry(session, caller.actor, Action.JOB_CANCELLED, job_id)
            if before != JobState.CANCELLED:
                append_entry(session, caller.actor, Action.JOB_DELETED, job_id)
            # Jobs that are being deleted as well do not count.
            others = select(Job.id).where(
                Job.case_id == case.id, Job.id != job_id, Job.state != JobState.CANCELLED
            )
            deletes_case = with_case and not session.scalars(others.limit(1)).first()
            if deletes_case:
                delete_case_key(session, caller.actor, Action.CASE_SHREDDED, case)
        if before not in ENDED:
            self._metrics.job_ended(JobState.CANCELLED)
        if deletes_case:
            self.finish_shredding(case.id)
        else:
            self.delete_job(job_id)
        return deletes_case

    def shred(self, case_id: str, caller: Caller) -> None:
        """Delete a case by deleting its key, and then everything that the key decrypts.

        1. The wrapped key is overwritten. From here on nothing in the case can be decrypted.
        2. Its blobs are deleted, then its rows, and what DBOS stores about its jobs.
        3. The database's write-ahead log is overwritten and truncated, so that it does not retain
           the rows.

        Raises as ``cancel`` does.
        """
        with self._database.write() as session:
            case = _find_deletable(session, caller, Case, case_id)
            self._database.one_at_a_time(session, case.account_id)
            case = lock_deletable(session, case_id)
            delete_case_key(session, caller.actor, Action.CASE_SHREDDED, case)
        self.finish_shredding(case_id)

    def finish_shredding(self, case_id: str) -> None:
        """Delete the blobs and rows of a case whose key was deleted."""
        self._database.purge_deleted()
        with self._database.read() as session:
            jobs = session.scalars(select(Job.id).where(Job.case_id == case_id)).all()
            blobs = session.scalars(select(Media.blob).where(Media.case_id == case_id)).all()
        self._vault.blobs.delete(*filter(None, blobs))
        self._delete_below(folder_of(case_id))
        for job_id in jobs:
            self._queue.cancel(job_id)
            self._delete_below(f"work/{job_id}/")
            self._queue.forget(job_id)
        with self._database.write() as session:
            session.execute(delete(Case).where(Case.id == case_id))
        self._database.purge_deleted()

    def delete_job(self, job_id: str) -> None:
        """Delete what belongs to a job that is cancelled. From its cancellation on, no hold can be
        set on its case."""
        with self._database.write() as session:
            job = lock_unheld(session, Job, job_id)
            if job is None:
                return  # another process has deleted it
            medium = session.get_one(Media, job.media_id)
            account_id = session.get_one(Case, job.case_id).account_id
        self._queue.cancel(job_id)
        self.delete_evidence(job_id)
        self._delete_below(f"work/{job_id}/")
        self._queue.forget(job_id)
        with self._database.write() as session:
            self._database.one_at_a_time(session, account_id)
            case = lock_case(session, job.case_id)
            session.execute(delete(KnownHashes).where(KnownHashes.job_id == job_id))
            session.execute(delete(Job).where(Job.id == job_id))
            blobs = self._delete_medium(session, medium)
            self._clear_if_empty(session, case)
        self._database.purge_deleted()
        # If the process stops here, no one can decrypt them, and the sweep of orphans deletes them.
        self._vault.blobs.delete(*blobs)

    @staticmethod
    def _delete_medium(session: Session, medium: Media) -> list[str]:
        """Delete a medium that no job needs any longer, with its key and its occurrences; return
        the blobs to delete: the medium and the screenshots of its posts and of looks at them."""
        if session.scalar(exists().where(Job.media_id == medium.id).select()):
            return []
        of_medium = Occurrence.media_id == medium.id
        seen = session.scalars(select(Occurrence.id).where(of_medium)).all()
        looks = session.scalars(select(Look.id).join(Occurrence).where(of_medium)).all()
        session.execute(delete(Media).where(Media.id == medium.id))
        screenshots = [
            *(screenshot_of(medium.case_id, occurrence_id) for occurrence_id in seen),
            *(screenshot_of_look(medium.case_id, look_id) for look_id in looks),
        ]
        return [medium.blob, *screenshots] if medium.blob else screenshots

    def _clear_if_empty(self, session: Session, case: Case | None) -> None:
        """Leave of a case without jobs its reference, its notices and its captures only. One that
        is being shredded stays as it is.

        It gets another key, so that what its items left cannot be decrypted: evidence and
        screenshots are encrypted with the key of the case itself. Notices and captures keep the
        old one in use: they, and what the store has of them, are encrypted with it as well.
        """
        if case is None or case.wrapped_key is None:
            return
        if session.scalars(select(Job.id).where(Job.case_id == case.id).limit(1)).first():
            return
        session.execute(delete(Match).where(Match.case_id == case.id))
        for model in (Notice, Capture):
            if session.scalars(select(model.id).where(model.case_id == case.id).limit(1)).first():
                return
        content = open_json(self._vault.case_key(case), case)
        key, case.wrapped_key = self._vault.new_case_key(case.id)
        seal_json(key, case, content)
        append_entry(session, SERVICE, Action.CASE_EMPTIED, case.id)

    def delete_capture(self, caller: Caller, capture_id: str) -> None:
        """Delete a capture with its files, what was found in them and its bundle. Items that were
        taken out of it stay. Its collector, the account of its case and administrators may; raises
        as ``cancel`` does."""
        with self._database.write() as session:
            found = session.get(Capture, capture_id)
            if found is None:
                raise NotFound
            if not may_delete(caller, found.account_id):
                _find_deletable(session, caller, Case, found.case_id)
            capture, case = self._locked(session, found)
            files = session.scalars(select(Media.blob).where(Media.capture_id == capture_id)).all()
            blobs = [blob for blob in (capture.blob, *files) if blob]
            delete_capture_rows(session, caller.actor, capture_id)
            self._clear_if_empty(session, case)
        self._database.purge_deleted()
        # If the process stops here, no one can decrypt the files, and the sweep of orphans deletes
        # them and the bundle. A worker that reads the capture, or takes something out of it, finds
        # that it is gone.
        self._vault.blobs.delete(*blobs)

    def _locked(self, session: Session, found: OfCase) -> tuple[OfCase, Case]:
        """Lock the case of a row from which something is about to be deleted, then the row, and
        return both as they are now; ``NotFound`` if another request has deleted the row meanwhile,
        ``Conflict`` under a legal hold."""
        self._database.one_at_a_time(session, found.account_id)
        case = lock_deletable(session, found.case_id)
        row = lock_with_case(session, type(found), found.id)
        if row is None:
            raise NotFound
        return row, case

    def delete_evidence(self, job_id: str, due: Select[str] | None = None) -> None:
        """Delete the blobs of a job's evidence, at the end of its retention if the job is still
        among those that are ``due``. The list of its editions remains.

        A legal hold prevents it, even one that was set a moment ago. If the process stops in
        between, the sweep finds blobs that no row names.
        """
        with self._database.write() as session:
            job = lock_unheld(session, Job, job_id, due)
            if job is None:
                return
            of_job = Edition.job_id == job_id
            blobs = session.scalars(select(Edition.blob).where(of_job)).all()
            session.execute(update(Edition).where(of_job).values(blob=None))
            job.evidence_expired_at = self._database.clock()
            session.execute(update(Listing).where(Listing.id == job_id).values(thumbnail=None))
            if due is not None:
                append_entry(session, SERVICE, Action.EVIDENCE_EXPIRED, job_id)
        self._vault.blobs.delete(material_of(job), *filter(None, blobs))

    def _delete_below(self, prefix: str) -> None:
        tomorrow = self._database.clock() + timedelta(days=1)
        self._vault.blobs.delete(*self._vault.blobs.older_than(prefix, tomorrow))

    def hold(
        self, caller: Caller, case_id: str, *, enabled: bool, asked: HoldRequest = NOBODY
    ) -> None:
        """Set or lift a legal hold, under which nothing in the case expires or can be deleted.

        Who ``asked`` for it is recorded until it is lifted. A hold that is set again stays as it
        is, or is audited again if the request says who asked for it, which replaces what an earlier
        one said. ``NotFound`` if there is no such case, or the caller may not see it;
        ``Conflict`` if the deletion of the case, or of an item in it, has begun.
        """
        with self._database.write() as session:
            find_visible(session, caller, Case, case_id)
            case = lock_case(session, case_id)
            if case is None:
                raise NotFound
            if enabled and is_being_deleted(session, case):
                raise Conflict(code=Code.BEING_DELETED)
            changes = bool(case.held_at) != enabled
            says = enabled and asked != NOBODY
            if not changes and not says:
                return
            if case.wrapped_key is not None:
                key = self._vault.case_key(case)
                hold = asked.stored() if says else None
                seal_json(key, case, {**open_json(key, case), "hold": hold})
            if changes:
                case.held_at = self._database.clock() if enabled else None
                if not enabled:
                    # What was marked before gets the whole grace period from now on.
                    case.expiring_at = None
                    for model in (Capture, Job, Media):
                        marked = model.case_id == case_id, model.expiring_at.is_not(None)
                        session.execute(update(model).where(*marked).values(expiring_at=None))
            action = Action.HOLD_SET if enabled else Action.HOLD_LIFTED
            append_entry(session, caller.actor, action, case_id)


def delete_case_key(session: Session, actor: Actor, action: Action, case: Case) -> None:
    """Delete the key of a locked case, and record as ``action`` by whom. Then finish shredding."""
    case.wrapped_key = case.sealed = None
    append_entry(session, actor, action, case.id)


def delete_capture_rows(session: Session, actor: Actor, capture_id: str) -> None:
    """Delete a capture and its files from the database, and record by whom."""
    session.execute(delete(Capture).where(Capture.id == capture_id))
    append_entry(session, actor, Action.CAPTURE_DELETED, capture_id)


def _find_deletable(
    session: Session, caller: Caller, model: type[OfAccount], row_id: str
) -> OfAccount:
    row = session.get(model, row_id)
    if row is None:
        raise NotFound
    if not may_delete(caller, row.account_id):
        find_visible(session, caller, model, row_id)
        raise Forbidden("Only the account that submitted this, or an administrator, may delete it.")
    return row
