"""Notices of a case that are under way: marked when its review or its flag changes."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.audit.log import SERVICE
from deepfake_service.cases.notice_history import NoticeHistory
from deepfake_service.platform.db import Case, Job, Media, Notice, Occurrence, current_time
from deepfake_service.platform.enums import JobState, NoticeEventKind, NoticeState
from deepfake_service.platform.findings import AGAINST
from deepfake_service.platform.storage import open_json

RUNNING = (NoticeState.SENT, NoticeState.PRESERVED)
"""States in which the deadline counts."""
TO_WITHDRAW = Notice.withdraw_at.is_not(None) & (Notice.state != NoticeState.WITHDRAWN)
"""Notices whose basis has changed, and which have not been withdrawn yet."""


def mark_reversed(session: Session, key: bytes, case: Case, job: Job) -> None:
    """Mark the notices that rest on a job for withdrawal: its finding was reversed. A notice rests
    on all examinations of the bytes that it is about (see ``notices.basis.confirmed_job``)."""
    sha256 = session.get_one(Media, job.media_id).sha256
    for notice, digests in _with_digests(session, key, case):
        if sha256 in digests:
            _mark_for_withdrawal(session, key, notice)


def mark_flagged(session: Session, key: bytes, case: Case) -> None:
    """Mark the notices of a case for withdrawal, as they do not say that a minor is shown."""
    for notice in session.scalars(select(Notice).where(Notice.case_id == case.id)):
        _mark_for_withdrawal(session, key, notice)


def mark_upheld(session: Session, key: bytes, case: Case, job: Job) -> None:
    """Remove the marks of ``mark_reversed``, after the finding of a job was confirmed again; not as
    long as reviewers are against any of the files that a notice is about."""
    if case.minor_at is not None:
        return
    sha256, against = session.get_one(Media, job.media_id).sha256, _digests_against(session, case)
    for notice, digests in _with_digests(session, key, case):
        if sha256 in digests and notice.withdraw_at is not None and not digests & against:
            notice.withdraw_at = None
            NoticeHistory(session, key, notice).append(NoticeEventKind.UPHELD, SERVICE)


def is_stated(session: Session, key: bytes, case: Case, job: Job) -> bool:
    """Return whether a notice that was not withdrawn rests on the statement that the file of a job
    is shared without consent."""
    posts = set(session.scalars(select(Occurrence.id).where(Occurrence.media_id == job.media_id)))
    of_case = Notice.case_id == case.id, Notice.state != NoticeState.WITHDRAWN
    contents = (open_json(key, n) for n in session.scalars(select(Notice).where(*of_case)))
    return any(c["without_consent"] and posts & {*c["occurrence_ids"]} for c in contents)


def _with_digests(session: Session, key: bytes, case: Case) -> Iterator[tuple[Notice, set[str]]]:
    """Yield the notices of a case, each with the SHA-256 of the files on whose findings it
    rests."""
    for notice in session.scalars(select(Notice).where(Notice.case_id == case.id)):
        yield notice, {basis["sha256"] for basis in open_json(key, notice)["basis"]}


def _digests_against(session: Session, case: Case) -> set[str]:
    """Return the SHA-256 of the files of a case that no notice may rest on, by their reviews."""
    found = Job.case_id == case.id, Job.state == JobState.SUCCEEDED, Job.finding.in_(AGAINST)
    of_jobs = select(Media.sha256).join(Job, Job.media_id == Media.id)
    return set(session.scalars(of_jobs.where(*found)))


def _mark_for_withdrawal(session: Session, key: bytes, notice: Notice) -> None:
    if notice.state != NoticeState.WITHDRAWN and notice.withdraw_at is None:
        notice.withdraw_at = current_time(session)
        NoticeHistory(session, key, notice).append(NoticeEventKind.TO_WITHDRAW, SERVICE)
