"""The chain of custody of an edition, and the comparison of what was decided with the audit log.

Records are compared before anything about a job is signed or handed out.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from deepfake_service.audit.log import START, Action, entry_of
from deepfake_service.evidence.bundle.custody import Stated, check_chain, compare
from deepfake_service.evidence.bundle.documents import (
    Custody,
    CustodyAccount,
    CustodyEntry,
    Failed,
    OmittedEntries,
    StatedDecision,
)
from deepfake_service.evidence.bundle.signs import SIGNS
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import (
    Account,
    AuditEntry,
    Case,
    Database,
    Edition,
    Job,
    Media,
    Occurrence,
    Review,
)
from deepfake_service.platform.db.row_authentication import is_authentic, refuse
from deepfake_service.platform.errors import RecordAltered
from deepfake_service.platform.storage import open_json

CUSTODY_BATCH = 500
JOBS_BATCH = 200
NOT_IN_CUSTODY = (Action.MATCH_FOUND, Action.CASE_READ, Action.RESULT_READ)
"""Actions that the chain of custody leaves out. Recipients of the evidence must not learn that the
item resembles another account's case, and viewing pages changes nothing. The audit log has them."""
OF_POSTS = (Action.OCCURRENCE_ADDED, Action.SCREENSHOT_ADDED, Action.OCCURRENCE_STATED)
"""Actions on the posts of any medium of a case, whose ids are their details."""
BOUNDED = (Action.MEDIA_SUBMITTED, *OF_POSTS, Action.CASE_REVIEWED, Action.JOB_FINISHED)
"""Actions whose number other limits bound."""
FLAGS = (Action.MINOR_FLAGGED, Action.MINOR_UNFLAGGED)
HOLDS = (Action.HOLD_SET, Action.HOLD_LIFTED)
COMPARED = (
    *FLAGS, *HOLDS, Action.MEDIA_SUBMITTED, Action.MEDIA_EXAMINED_AGAIN, Action.CASE_REVIEWED,
    Action.EVIDENCE_MADE,
)  # fmt: skip
"""Actions with which rows are compared."""
READS = (Action.EVIDENCE_READ, Action.MEDIA_READ, Action.SCREENSHOT_READ)
MAX_OF_AN_ACTION = 2000
"""Entries in the chain of custody of any other action, the newest ones. Accounts that may read
evidence or set holds could otherwise make the chain too large for a verifier. Each action is
counted apart: the last flag must be in the chain, and no number of reads may push out exports and
holds. What is left out is stated."""


def requester_of(session: Session, job: Job) -> str:
    """Return the name, kind and role of the account that submitted the medium."""
    account = session.get_one(Account, job.account_id)
    return f"{account.name} ({account.kind}, {account.role})"


def reviews_of(session: Session, job: Job, key: bytes) -> tuple[StatedDecision, ...]:
    """Return the decisions on a job with their reasons, oldest first, and whether its pictures were
    withheld from the reviewer, who had not opened them before."""
    return tuple(stated for stated, _ in reviews_and_notes_of(session, job, key))


def reviews_and_notes_of(
    session: Session, job: Job, key: bytes
) -> list[tuple[StatedDecision, str]]:
    """Return what ``reviews_of`` does, each with the note beside it, which no evidence has."""
    reviews = session.scalars(_reviews_of_jobs([job.id])).all()
    unseen = _unseen(session, job) if reviews else ()
    opened = [(review, open_json(key, review)) for review in reviews]
    return [
        (_decision(session, review, content, unseen), content.get("note", ""))
        for review, content in opened
    ]


def _unseen(session: Session, job: Job) -> set[tuple[str | None, str | None]]:
    """Return the accounts and times of the decisions that people made on a job while its pictures
    were withheld, and who had not opened these before. Administrators can still export them."""
    subjects = AuditEntry.subject.in_([job.id, job.media_id, job.case_id])
    flagged = False
    seen: set[str | None] = set()
    unseen: set[tuple[str | None, str | None]] = set()
    actions = (*FLAGS, *READS, Action.MEDIA_EXPORTED, Action.CASE_REVIEWED)
    for entry, _ in _entries(session, subjects, _is_one_of(actions)):
        if entry.action in FLAGS:
            flagged = entry.action == Action.MINOR_FLAGGED
        elif entry.action == Action.CASE_REVIEWED:
            if flagged and entry.account_id not in seen:
                unseen.add((entry.account_id, iso_time(entry.at)))
        elif entry.action == Action.MEDIA_EXPORTED or not flagged:
            seen.add(entry.account_id)
    return unseen


def _reviews_of_jobs(ids: Sequence[str]) -> Select[Review]:
    return select(Review).where(Review.job_id.in_(ids)).order_by(Review.created_at, Review.id)


def _decision(
    session: Session,
    review: Review,
    content: Mapping[str, object],
    unseen: Collection[tuple[str | None, str | None]] = (),
) -> StatedDecision:
    account, at = session.get_one(Account, review.account_id), iso_time(review.created_at)
    return StatedDecision(
        at=at,
        account=account.id,
        name=account.name,
        role=str(account.role),
        decision=str(review.decision),
        reason=str(content.get("reason", "")),
        signs=SIGNS.validate_python(content.get("signs", ())),
        pictures_withheld=(account.id, at) in unseen,
    )


def require_recorded(session: Session, job: Job) -> None:
    """Raise ``RecordAltered`` if a job or its case differs from the audit log."""
    for error in altered_jobs(session, [job]).values():
        raise error


def altered_jobs(session: Session, jobs: Sequence[Job]) -> dict[str, RecordAltered]:
    """Return an error for each of these jobs that differs, or whose case does, from the audit log.

    Ask this before anything about a job is signed, sent or exported: older rows that somebody put
    back into the database have no entry. Reviews, the finding, the requester, the editions, the
    flag of a possible minor and the legal hold are compared, by a few queries for all jobs.
    """
    ids, case_ids = [job.id for job in jobs], {job.case_id for job in jobs}
    cases = {c.id: c for c in session.scalars(select(Case).where(Case.id.in_(case_ids)))}
    _held: list[Account] = []  # or each job would load its own again
    with contextlib.suppress(RecordAltered):  # a job that needs an altered one says so below
        _held = list(session.scalars(select(Account)))
    subjects = AuditEntry.subject.in_([*ids, *case_ids])
    entries = _entries(session, subjects, _is_one_of(COMPARED))
    reviews, numbers = defaultdict[str, list[Review]](list), defaultdict[str, set[str]](set)
    for review in session.scalars(_reviews_of_jobs(ids)):
        reviews[review.job_id].append(review)
    editions = select(Edition.job_id, Edition.number).where(Edition.job_id.in_(ids))
    for job_id, number in session.execute(editions):
        numbers[job_id].add(str(number))
    altered = {}
    for job in jobs:
        case = cases.get(job.case_id)
        if case is None:
            continue  # it was deleted a moment ago
        own = [each for each in entries if each[0].subject in (job.id, job.case_id)]
        try:
            chain = _chain(session, job, own)
            _compare_records(session, job, case, reviews[job.id], chain)
            made = {e.detail for e, _ in own if e.action == Action.EVIDENCE_MADE}
            if numbers[job.id] != made:
                raise refuse(session, "jobs", job.id, "the editions are not those in the log")
        except RecordAltered as error:
            altered[job.id] = error
    return altered


def _compare_records(
    session: Session, job: Job, case: Case, reviews: Sequence[Review], chain: Custody
) -> None:
    """Compare a job, its case and its reviews with a chain."""
    decisions = [_decision(session, review, {}) for review in reviews]
    requester, flagged = requester_of(session, job), case.minor_at is not None
    stated = Stated(job.id, requester, case.id, flagged, decisions, job.finding)
    holds = [e.action for e in chain.entries if e.action in HOLDS]
    again = [e.detail for e in chain.entries if e.action == Action.MEDIA_EXAMINED_AGAIN]
    try:
        compare(stated, chain)
        if (case.held_at is not None) != (holds[-1:] == [Action.HOLD_SET]):
            raise Failed("the legal hold is not the one in the chain of custody")
        if again and again != [job.account_id]:
            raise Failed("the account that submitted the file is not the one in the chain")
    except Failed as error:
        raise refuse(session, "jobs", job.id, str(error)) from error


def contradictions(database: Database) -> Iterator[str]:
    """Yield the ids of the jobs that differ from the audit log."""
    last: Job | None = None
    while True:
        jobs = select(Job).join(Case).where(Case.wrapped_key.is_not(None)).order_by(Job.id)
        if last is not None:
            jobs = jobs.where(Job.id > last.id)
        with database.read() as session:
            batch = session.scalars(jobs.limit(JOBS_BATCH)).all()
            yield from altered_jobs(session, batch)
        if len(batch) < JOBS_BATCH:
            return
        last = batch[-1]


def custody_of(session: Session, job: Job, media: Media, case: Case) -> Custody:
    """Return the entries of the audit log about a job, its medium and its case.

    Of an action that is not ``BOUNDED``, only the newest are included; ``omitted`` describes the
    others, if there are any: their ``count``, the ``actions`` with the number of each, and the
    ``sha256`` of their hashes, each followed by a line break. Occurrences of the case's other media
    are left out. Each entry has the hash of the entry before it in the log, so that its own can be
    recomputed. ``RecordAltered`` if an entry does not have its authentication code or its hash.
    """
    seen = select(Occurrence.id).where(Occurrence.media_id == media.id)
    concerning = and_(
        AuditEntry.subject.in_([job.id, media.id, case.id]),
        AuditEntry.action.not_in([str(a) for a in NOT_IN_CUSTODY]),
        or_(AuditEntry.action.not_in([str(a) for a in OF_POSTS]), AuditEntry.detail.in_(seen)),
    )
    newest_first = func.row_number().over(
        partition_by=AuditEntry.action, order_by=AuditEntry.number.desc()
    )
    of_others = select(AuditEntry.number, newest_first.label("place"))
    others = of_others.where(concerning, ~_is_one_of(BOUNDED)).subquery()
    beyond = select(others.c.number).where(others.c.place > MAX_OF_AN_ACTION)
    omitted = AuditEntry.number.in_(beyond)
    chain = _chain(session, job, _entries(session, concerning, ~omitted))
    described = _description_of(session, and_(concerning, omitted))
    return chain.model_copy(update={"omitted": described})


Entries = list[tuple[AuditEntry, str]]
"""Entries of the audit log, each with the hash of the one before it in the log."""


def _entries(session: Session, *conditions: ColumnElement[bool]) -> Entries:
    before = aliased(AuditEntry)
    entries = select(AuditEntry, before.hash).where(*conditions).order_by(AuditEntry.number)
    entries = entries.outerjoin(before, before.number == AuditEntry.number - 1)
    return [(entry, previous or START) for entry, previous in session.execute(entries)]


def _chain(session: Session, job: Job, entries: Entries) -> Custody:
    for entry, _ in entries:
        if not is_authentic(session, entry):
            raise refuse(session, "audit", entry.number)
    listed = tuple(
        CustodyEntry(**dict(entry_of(e)), hash=e.hash, previous=previous) for e, previous in entries
    )
    try:
        check_chain(listed)
    except Failed as error:
        raise refuse(session, "jobs", job.id, str(error)) from error
    ids = sorted({e.account_id for e, _ in entries if e.account_id})
    accounts = (session.get_one(Account, account_id) for account_id in ids)
    stated = {a.id: CustodyAccount(name=a.name, kind=a.kind, role=str(a.role)) for a in accounts}
    return Custody(accounts=stated, entries=listed)


def _description_of(session: Session, omitted: ColumnElement[bool]) -> OmittedEntries | None:
    actions, digest = Counter[str](), hashlib.sha256()
    left = select(AuditEntry.action, AuditEntry.hash).where(omitted).order_by(AuditEntry.number)
    for action, entry_hash in session.execute(left.execution_options(yield_per=CUSTODY_BATCH)):
        actions[action] += 1
        digest.update(f"{entry_hash}\n".encode())
    if not actions:
        return None
    return OmittedEntries(count=actions.total(), actions=dict(actions), sha256=digest.hexdigest())


def _is_one_of(actions: Sequence[Action]) -> ColumnElement[bool]:
    return AuditEntry.action.in_([str(action) for action in actions])
