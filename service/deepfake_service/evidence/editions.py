"""The editions of a job's evidence: what goes into one, whether it is current, and revocations.

What was decided is compared with the audit log before anything about a job is signed or handed out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from deepfake_service.audit.journal import protect
from deepfake_service.audit.log import SERVICE, START, Action, append_entry, entry_json
from deepfake_service.cases.cases import folder_of, open_occurrence
from deepfake_service.evidence.bundle import zip_format
from deepfake_service.evidence.bundle.artifacts import EXAMINATION
from deepfake_service.evidence.bundle.custody import check_chain, compare
from deepfake_service.evidence.bundle.steps import Failed
from deepfake_service.evidence.bundle.trust_store import Revocations
from deepfake_service.evidence.signing_keys import SigningKeys
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
    RevokedEdition,
    current_time,
)
from deepfake_service.platform.db.enums import EditionState, JobState
from deepfake_service.platform.db.row_authentication import authenticator_of, refuse
from deepfake_service.platform.errors import EditionUnknown, RecordAltered
from deepfake_service.platform.storage import Vault, open_json

_last_decision = (
    select(func.coalesce(func.max(AuditEntry.number), 0))
    .where(AuditEntry.subject == Job.id, AuditEntry.action == str(Action.CASE_REVIEWED))
    .correlate(Job)
    .scalar_subquery()
)
_newest = (
    select(Edition.job_id, func.max(Edition.number).label("number"))
    .group_by(Edition.job_id)
    .subquery()
)


_superseded = select(RevokedEdition.sha256).where(RevokedEdition.state == EditionState.SUPERSEDED)


def material_of(job: Job) -> str:
    """Return the name of the blob of what was gathered for a job's evidence."""
    return f"{folder_of(job.case_id)}material-{job.id}"


def examination_of(vault: Vault, job: Job, key: bytes) -> dict[str, Any]:
    """Return the record of the examination that was gathered for a job's evidence; ``BlobMissing``
    if nothing was gathered, or it was deleted."""
    packed = vault.read(material_of(job), key)
    content: dict[str, Any] = json.loads(zip_format.member(packed, EXAMINATION))
    return content


def newest_edition(session: Session, job_id: str, number: int | None = None) -> Edition | None:
    """Return the newest edition of a job's evidence, or the one with this number, if it exists."""
    found = select(Edition).where(Edition.job_id == job_id).order_by(Edition.number.desc())
    if number is not None:
        found = found.where(Edition.number == number)
    return session.scalars(found.limit(1)).first()


def last_decision(session: Session, job_id: str) -> int:
    """Return the number of the audit log's entry of the last decision on a job; 0 without one."""
    return session.scalar(select(_last_decision).where(Job.id == job_id)) or 0


def outdated_jobs() -> Select[str]:
    """Select the ids of jobs whose newest edition lacks a decision or a flag, newest jobs first.

    The audit log says which decision was the last one: neither a clock that was set back nor a
    review that was deleted from the database makes an edition look newer than it is.
    """
    return (
        _outdated()
        .where(
            Case.wrapped_key.is_not(None),
            # A job of a restored backup may have lost its edition and be examined once more.
            Job.state == JobState.SUCCEEDED,
            Job.evidence_expired_at.is_(None),
        )
        .order_by(Job.created_at.desc())
    )


def is_outdated(session: Session, job_id: str) -> bool:
    """Return whether the newest edition of a job's evidence lacks a decision or a flag."""
    return session.scalars(_outdated().where(Job.id == job_id)).first() is not None


def _outdated() -> Select[str]:
    return (
        select(Job.id)
        .join(Case, Job.case_id == Case.id)
        .join(_newest, _newest.c.job_id == Job.id)
        .join(Edition, and_(Edition.job_id == Job.id, Edition.number == _newest.c.number))
        .where(
            or_(
                _last_decision != Edition.decided,
                and_(Case.minor_at.is_not(None), Edition.imagery.is_(True)),
                and_(
                    Case.minor_at.is_(None),
                    Edition.imagery.is_(False),
                    Job.shown.is_(True),
                    Edition.blob.is_not(None),
                ),
                # The edition that replaced it was lost when a backup was restored.
                Edition.sha256.in_(_superseded),
            )
        )
    )


def supersede(session: Session, sha256: str | None) -> None:
    """Put the edition with this SHA-256, if there is one, on the public list of revocations."""
    if sha256 is not None and session.get(RevokedEdition, sha256) is None:
        now = current_time(session)
        session.add(RevokedEdition(sha256=sha256, state=EditionState.SUPERSEDED, at=now))
        protect(session, "edition", sha256, EditionState.SUPERSEDED)


def is_withdrawn(session: Session, sha256: str) -> bool:
    """Return whether the edition with this SHA-256 was withdrawn."""
    revoked = session.get(RevokedEdition, sha256)
    return revoked is not None and revoked.state == EditionState.WITHDRAWN


MAX_AGE_S = 60.0
"""How long a signed list is reused, since anyone may ask for it without a key."""


@dataclass
class RevocationList:
    """The list of an installation."""

    _database: Database
    _keys: SigningKeys
    issuer: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _signed: tuple[float, bytes] | None = None

    def current(self) -> Revocations:
        """Return the list as it is now; ``RecordAltered`` if a record of it was altered outside
        this program."""
        with self._database.read() as session:
            editions = {
                row.sha256: (str(row.state), row.at.isoformat(timespec="seconds"))
                for row in session.scalars(select(RevokedEdition))
            }
        keys = {
            key.id: key.revoked_at.isoformat(timespec="seconds")
            for key in self._keys.all()
            if key.revoked_at is not None
        }
        return Revocations(self.issuer, self._database.clock(), editions, keys)

    def signed(self) -> bytes:
        """Return the signed list, at most ``MAX_AGE_S`` seconds old."""
        with self._lock:
            now = time.monotonic()
            if self._signed is None or now - self._signed[0] > MAX_AGE_S:
                self._signed = now, self.current().sign(self._keys.current().statement)
            return self._signed[1]

    def is_withdrawn(self, sha256: str) -> bool:
        """Return whether an edition was withdrawn."""
        with self._database.read() as session:
            return is_withdrawn(session, sha256)

    def withdraw(self, sha256: str) -> None:
        """Withdraw an edition: the service does not answer for it any more. Audited.
        ``EditionUnknown`` if this service has no such edition."""
        with self._database.write() as session:
            edition = session.scalars(select(Edition).where(Edition.sha256 == sha256)).first()
            if edition is None:
                raise EditionUnknown
            row = session.get(RevokedEdition, sha256)
            if row is None:
                row = RevokedEdition(sha256=sha256)
                session.add(row)
            row.state, row.at = EditionState.WITHDRAWN, current_time(session)
            protect(session, "edition", sha256, EditionState.WITHDRAWN)
            append_entry(
                session, SERVICE, Action.EDITION_WITHDRAWN, edition.job_id, str(edition.number)
            )
        with self._lock:
            self._signed = None


CUSTODY_BATCH = 500
JOBS_BATCH = 200
NOT_IN_CUSTODY = (Action.MATCH_FOUND, Action.CASE_READ, Action.RESULT_READ)
"""Actions that the chain of custody leaves out. Recipients of the evidence must not learn that the
item resembles another account's case, and viewing pages changes nothing. The audit log has them."""
OF_POSTS = (Action.OCCURRENCE_ADDED, Action.SCREENSHOT_ADDED)
"""Actions on the posts of any medium of a case, whose ids are their details."""
BOUNDED = (Action.MEDIA_SUBMITTED, *OF_POSTS, Action.CASE_REVIEWED, Action.JOB_FINISHED)
"""Actions whose number other limits bound."""
FLAGS = (Action.MINOR_FLAGGED, Action.MINOR_UNFLAGGED)
HOLDS = (Action.HOLD_SET, Action.HOLD_LIFTED)
COMPARED = (*FLAGS, *HOLDS, Action.MEDIA_SUBMITTED, Action.CASE_REVIEWED, Action.EVIDENCE_MADE)
"""Actions with which rows are compared."""
READS = (Action.EVIDENCE_READ, Action.MEDIA_READ, Action.SCREENSHOT_READ)
MAX_FLAGS_IN_CUSTODY, MAX_READS_IN_CUSTODY, MAX_OTHERS_IN_CUSTODY = 500, 5000, 20_000
"""Entries about flags, reads and other actions in the chain of custody, the newest ones. Accounts
that may read evidence or set holds could otherwise make the chain too large for a verifier. They
are counted apart: the last flag must be in the chain, and no number of reads may push out exports
and holds. What is left out is stated."""


def occurrences_of(session: Session, media: Media, key: bytes) -> list[dict[str, Any]]:
    """Return where a medium was seen, oldest first."""
    rows = session.scalars(
        select(Occurrence)
        .where(Occurrence.media_id == media.id)
        .order_by(Occurrence.created_at, Occurrence.id)
    ).all()
    contents = [open_occurrence(key, row) for row in rows]
    collectors = {content["collector"] for content in contents}
    accounts = session.scalars(select(Account).where(Account.id.in_(collectors)))
    names = {account.id: account.name for account in accounts}
    return [
        {
            "id": row.id,
            "recorded_at": iso_time(row.created_at),
            **content,
            "collector_name": names.get(content["collector"]),
        }
        for row, content in zip(rows, contents, strict=True)
    ]


def requester_of(session: Session, job: Job) -> str:
    """Return the name, kind and role of the account that asked for the examination."""
    account = session.get_one(Account, job.account_id)
    return f"{account.name} ({account.kind}, {account.role})"


def reviews_of(session: Session, job: Job, key: bytes) -> list[dict[str, Any]]:
    """Return the decisions on a job with their reasons, oldest first."""
    return [
        {
            **_review_json(review, session.get_one(Account, review.account_id)),
            **open_json(key, review),
        }
        for review in session.scalars(_reviews_of_jobs([job.id]))
    ]


def _reviews_of_jobs(ids: Sequence[str]) -> Select[Review]:
    return select(Review).where(Review.job_id.in_(ids)).order_by(Review.created_at)


def _review_json(review: Review, account: Account) -> dict[str, Any]:
    return {
        "at": iso_time(review.created_at),
        "account": account.id,
        "name": account.name,
        "role": account.role,
        "decision": review.decision,
    }


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
    session: Session, job: Job, case: Case, reviews: Sequence[Review], chain: dict[str, Any]
) -> None:
    """Compare a job, its case and its reviews with a chain."""
    records = {
        "job": {"id": job.id, "requester": requester_of(session, job)},
        "case": {"id": case.id, "minor": case.minor_at is not None},
        "reviews": [_review_json(r, session.get_one(Account, r.account_id)) for r in reviews],
        "finding": job.finding,
    }
    holds = [e["action"] for e in chain["entries"] if e["action"] in HOLDS]
    try:
        compare(records, chain)
        if (case.held_at is not None) != (holds[-1:] == [Action.HOLD_SET]):
            raise Failed("the legal hold is not the one in the chain of custody")
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


def custody_of(session: Session, job: Job, media: Media, case: Case) -> dict[str, Any]:
    """Return the entries of the audit log about a job, its medium and its case.

    Of those that are not ``BOUNDED``, only the newest are included; ``omitted`` describes the
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
    omitted = _omitted(session, concerning)
    chain = _chain(session, job, _entries(session, concerning, ~omitted))
    return {**chain, **_description_of(session, and_(concerning, omitted))}


Entries = list[tuple[AuditEntry, str]]
"""Entries of the audit log, each with the hash of the one before it in the log."""


def _entries(session: Session, *conditions: ColumnElement[bool]) -> Entries:
    before = aliased(AuditEntry)
    entries = select(AuditEntry, before.hash).where(*conditions).order_by(AuditEntry.number)
    entries = entries.outerjoin(before, before.number == AuditEntry.number - 1)
    return [(entry, previous or START) for entry, previous in session.execute(entries)]


def _chain(session: Session, job: Job, entries: Entries) -> dict[str, Any]:
    authenticator = authenticator_of(session)
    for entry, _ in entries:
        if authenticator is not None and not authenticator.is_authentic(entry):
            raise refuse(session, "audit", entry.number)
    listed = [{**entry_json(e), "hash": e.hash, "previous": previous} for e, previous in entries]
    try:
        check_chain(listed)
    except Failed as error:
        raise refuse(session, "jobs", job.id, str(error)) from error
    ids = sorted({e.account_id for e, _ in entries if e.account_id})
    accounts = [session.get_one(Account, account_id) for account_id in ids]
    return {
        "accounts": {a.id: {"name": a.name, "kind": a.kind, "role": a.role} for a in accounts},
        "entries": listed,
    }


def _omitted(session: Session, concerning: ColumnElement[bool]) -> ColumnElement[bool]:
    kinds = (
        (_is_one_of(FLAGS), MAX_FLAGS_IN_CUSTODY),
        (_is_one_of(READS), MAX_READS_IN_CUSTODY),
        (~_is_one_of((*FLAGS, *READS, *BOUNDED)), MAX_OTHERS_IN_CUSTODY),
    )
    return or_(
        *(
            kind & (AuditEntry.number <= _last_beyond(session, concerning & kind, newest))
            for kind, newest in kinds
        )
    )


def _description_of(session: Session, omitted: ColumnElement[bool]) -> dict[str, Any]:
    actions, digest = Counter[str](), hashlib.sha256()
    left = select(AuditEntry.action, AuditEntry.hash).where(omitted).order_by(AuditEntry.number)
    for action, entry_hash in session.execute(left.execution_options(yield_per=CUSTODY_BATCH)):
        actions[action] += 1
        digest.update(f"{entry_hash}\n".encode())
    if not actions:
        return {}
    described = {"count": actions.total(), "actions": dict(sorted(actions.items()))}
    return {"omitted": {**described, "sha256": digest.hexdigest()}}


def _is_one_of(actions: Sequence[Action]) -> ColumnElement[bool]:
    return AuditEntry.action.in_([str(action) for action in actions])


def _last_beyond(session: Session, condition: ColumnElement[bool], newest: int) -> int:
    """Return the number of the last entry that is not one of the ``newest``; 0 if all are."""
    numbers = select(AuditEntry.number).where(condition).order_by(AuditEntry.number.desc())
    return session.scalars(numbers.offset(newest).limit(1)).first() or 0
