"""Copies of confirmed items: files of the same bytes, and those that look alike by their hashes.

Bytes are compared whenever an item is read, by the SHA-256 of its file. For pictures that are
alike, the perceptual hashes of confirmed items are kept: each item is compared with them once it
was examined, and earlier ones that await a decision are with new hashes. Neither changes a verdict,
and a person decides what a finding means for a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import Field
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session, aliased

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import visible_to
from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.cases.case_lock import lock_case
from deepfake_service.evidence.bundle.perceptual_hashes import (
    MediaHashes,
    Shares,
    exchange_lines,
    shares_alike,
)
from deepfake_service.hashes.hash_list import HashList
from deepfake_service.platform.answers import ItemId, Published, Time
from deepfake_service.platform.clock import iso_time
from deepfake_service.platform.db import (
    Case,
    Database,
    Job,
    KnownHashes,
    Match,
    Media,
    Review,
    new_id,
)
from deepfake_service.platform.enums import JobState
from deepfake_service.platform.findings import MANIPULATED, Finding
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.storage import Vault, installation_secret, open_json
from deepfake_service.platform.storage.envelope import KeyWrapper
from deepfake_service.platform.storage.sealed_columns import opened_rows

CATCH_UP_BATCH = 100

_log = logger("deepfake_service.hashes")


class SimilarCase(Published):
    """Another case, of which an item is the same file as a submission, or looks like it."""

    case_id: ItemId = Field(description="Id of the other case.")
    case_reference: str | None = Field(description="Its reference.")
    percent: int
    """Per cent of the good-quality frames of this submission that look like one of the other
    case."""
    known_percent: int
    """Per cent of the good-quality frames of the other case's medium that look like one of this
    submission."""
    same_file: bool = Field(description="Whether it is a file of the same bytes.")
    job_id: ItemId | None
    """Id of the item in that case that it resembles; null if that was deleted."""
    confirmed: bool = Field(description="Whether people confirmed that item as manipulated.")
    found_at: Time = Field(
        description="When it was found; the same file when the later was submitted."
    )


LAST_ID = "~"
"""Comes after every id."""
KEPT_FOR = timedelta(days=365)
"""From the last decision on an item until its hashes are deleted."""
AWAITS_DECISION = (
    Case.wrapped_key.is_not(None),
    Job.evidence_expired_at.is_(None),
    Job.state.in_([JobState.RUNNING, JobState.SUCCEEDED]),
    Job.finding.is_(None) | Job.finding.in_([Finding.AWAITING_SECOND, Finding.UNDECIDED]),
)
"""The conditions of the jobs whose media are compared with those of a new finding."""


@dataclass
class HashBank:
    """The hashes of confirmed media."""

    _database: Database
    _vault: Vault
    _keys: KeyWrapper
    _before: str = field(default=LAST_ID, init=False)
    """Where ``catch_up`` goes on."""

    def __post_init__(self) -> None:
        key = installation_secret(self._database, self._keys, "matching")
        self.hashes = HashList(self._database, self._vault, KnownHashes, key)

    def remember(self, job_id: str) -> None:
        """Store the hashes of the medium of a job whose finding was confirmed. An error is logged,
        and ``catch_up`` tries again."""
        try:
            for job, hashes in self.hashes.examined(Job.id == job_id):
                self._store(job, hashes)
        except Exception as error:
            _log.error("hashes_not_stored", job_id=job_id, failure=describe(error))

    def _store(self, job: Job, hashes: MediaHashes) -> None:
        decided = select(func.max(Review.created_at)).where(Review.job_id == job.id)
        with self._database.write() as session:
            case, again = lock_case(session, job.case_id), session.get(Job, job.id)
            if case is None or again is None or again.finding not in MANIPULATED:
                self.forget(session, job.id)  # the finding has changed in the meantime
                return
            stored = select(KnownHashes).where(KnownHashes.job_id == job.id)
            known = session.scalars(stored).first()
            if known is None:
                if not hashes.pdq:
                    return
                known = KnownHashes(id=new_id(), case_id=case.id, job_id=job.id)
                known.created_at = self._database.clock()
            if hashes.pdq:  # else those that were stored stay: evidence may have been deleted
                self.hashes.seal(known, {"pdq": hashes.pdq, "vpdq": hashes.vpdq})
            known.expires_at = session.scalars(decided).one() + KEPT_FOR
            session.add(known)

    def catch_up(self) -> None:
        """Store the hashes of confirmed jobs that have none, some at a time and the newest first:
        those of an earlier version, or whose storing an error or a crash prevented. The next call
        goes on with older ones. At their end, link earlier jobs that await a decision to those that
        resemble them."""
        since = self._database.clock() - KEPT_FOR
        with self._database.read() as session:
            missing = session.scalars(
                select(Job.id)
                .where(
                    Job.finding.in_(MANIPULATED),
                    Job.id.in_(select(Review.job_id).where(Review.created_at > since)),
                    Job.id.not_in(select(KnownHashes.job_id)),
                    Job.evidence_expired_at.is_(None),
                    Job.id < self._before,
                )
                .order_by(Job.id.desc())
                .limit(CATCH_UP_BATCH)
            ).all()
        for job_id in missing:
            self.remember(job_id)
        self._before = missing[-1] if len(missing) == CATCH_UP_BATCH else LAST_ID
        if self._before == LAST_ID:
            self.hashes.compare_new(self.link_similar, *AWAITS_DECISION)

    @staticmethod
    def forget(session: Session, job_id: str) -> None:
        """Delete the hashes of a job's medium, whose finding is not confirmed (any longer)."""
        session.execute(delete(KnownHashes).where(KnownHashes.job_id == job_id))

    def forget_expired(self) -> None:
        """Delete hashes at the end of their retention period, unless their case is under a hold."""
        is_due = KnownHashes.expires_at <= self._database.clock()
        with_due = Case.id.in_(select(KnownHashes.case_id).where(is_due)), Case.held_at.is_(None)
        with self._database.write() as session:
            # Locked in the order of their ids: a hold that was acknowledged is never deleted over.
            cases = select(Case.id).where(*with_due).order_by(Case.id).with_for_update()
            for case_id in session.scalars(cases).all():
                of_case = delete(KnownHashes).where(KnownHashes.case_id == case_id, is_due)
                # Another process may have been faster.
                if session.execute(of_case.returning(KnownHashes.id)).all():
                    append_entry(session, SERVICE, Action.HASHES_EXPIRED, case_id)

    def link_similar(
        self,
        job: Job,
        hashes: MediaHashes,
        confirmed: Iterable[tuple[KnownHashes, dict[str, list[str]]]] | None = None,
    ) -> None:
        """Link a job to the other cases whose media its medium resembles, by default any that is
        ``confirmed``."""
        if not hashes.pdq:
            return
        for entry, known in self.hashes.entries() if confirmed is None else confirmed:
            if entry.case_id != job.case_id:
                shares = shares_alike(hashes.pdq, known["pdq"])
                if shares.match:
                    self._link(job, entry, shares)

    def _link(self, job: Job, entry: KnownHashes, shares: Shares) -> None:
        with self._database.write() as session:
            # Other processes may link the same, or delete either case.
            locked = [lock_case(session, i) for i in sorted((job.case_id, entry.case_id))]
            if None in locked or not session.get(Job, job.id):
                return
            linked = select(Match).where(Match.job_id == job.id, Match.case_id == entry.case_id)
            match = session.scalars(linked).first()
            known = match and session.get(Job, match.known_job_id or "")
            if known and known.finding in MANIPULATED:
                return
            match = match or Match(id=new_id(), job_id=job.id, case_id=entry.case_id)
            match.known_job_id = entry.job_id
            match.percent = int(100 * shares.submitted)
            match.known_percent = int(100 * shares.known)
            match.created_at = self._database.clock()
            session.add(match)
            append_entry(session, SERVICE, Action.MATCH_FOUND, job.id)

    def export(self, caller: Caller) -> Iterator[str]:
        """Return the lines of all hashes in the exchange format, oldest first. Audited. They have
        nothing about the cases. They are read while they are sent, some at a time."""
        with self._database.write() as session:
            count = session.scalar(select(func.count(KnownHashes.id)).where(self.hashes.has_hashes))
            append_entry(session, caller.actor, Action.HASHES_EXPORTED, detail=str(count or 0))
        lines = exchange_lines((known["pdq"], known["vpdq"]) for _, known in self.hashes.entries())
        return (f"{line}\n" for line in lines)


def similar_cases(
    session: Session, vault: Vault, caller: Caller, job_ids: Sequence[str]
) -> dict[str, list[SimilarCase]]:
    """Return the cases with copies of jobs' media by job: the earliest confirmed item of the same
    bytes, and then cases that they resemble, the most similar first. Cases that the caller may not
    see are left out."""
    found: dict[str, list[SimilarCase]] = {}
    rows = [*_same_files(session, caller, job_ids), *_matches(session, caller, job_ids)]
    opened = opened_rows(rows, lambda row: open_json(vault.case_key(row[0]), row[0]))
    for (case, job_id, original, percents, is_confirmed, at), content in opened:
        listed = found.setdefault(job_id, [])
        if all(similar.case_id != case.id for similar in listed):
            percent, known_percent = percents or (100, 100)
            listed.append(
                SimilarCase(
                    case_id=case.id,
                    case_reference=content["reference"],
                    percent=percent,
                    known_percent=known_percent,
                    same_file=percents is None,
                    job_id=original,
                    confirmed=bool(is_confirmed),
                    found_at=str(iso_time(at)),
                )
            )
    return found


def is_same_file(copy: type[Media], original: type[Media]) -> ColumnElement[bool]:
    """Return the condition that media of two cases have the same bytes."""
    return (copy.sha256 == original.sha256) & (copy.case_id != original.case_id)


Copied = tuple[Case, str, str | None, tuple[int, int] | None, bool, datetime]
"""A case with a copy of a job's medium, the ids of the job and of the item there, the percentages
of a match, whether a finding was confirmed, and when the copy was found."""


def _same_files(session: Session, caller: Caller, job_ids: Sequence[str]) -> Iterator[Copied]:
    original, file = aliased(Job), aliased(Media)
    earliest = (
        select(Job.id, Job.created_at, func.min(original.id).label("original"))
        .join(Media, Job.media_id == Media.id)
        .join(file, is_same_file(Media, file))
        .join(original, original.media_id == file.id)
        .join(Case, original.case_id == Case.id)
        .where(
            Job.id.in_(job_ids),
            # With ``==``, SQLite looks through all jobs that have succeeded.
            original.state != JobState.CANCELLED,
            original.finding.in_(MANIPULATED),
            visible_to(caller),
            Case.sealed.is_not(None),
        )
        .group_by(Job.id, Job.created_at)
        .subquery()
    )
    same = (
        select(Case, earliest, original.created_at)
        .join(original, original.case_id == Case.id)
        .join(earliest, earliest.c.original == original.id)
    )
    for case, job_id, submitted_at, known_id, known_at in session.execute(same):
        yield case, job_id, known_id, None, True, max(submitted_at, known_at)


def _matches(session: Session, caller: Caller, job_ids: Sequence[str]) -> Iterator[Copied]:
    known = (Job.id == Match.known_job_id) & (Job.state == JobState.SUCCEEDED)
    matches = (
        select(Case, Match, Job.id, Job.finding.in_(MANIPULATED))
        .join(Match, Match.case_id == Case.id)
        .outerjoin(Job, known)
        .where(Match.job_id.in_(job_ids), visible_to(caller), Case.sealed.is_not(None))
        .order_by((Match.percent + Match.known_percent).desc(), Match.id)
    )
    for case, match, known_id, is_confirmed in session.execute(matches):
        percents = match.percent, match.known_percent
        yield case, match.job_id, known_id, percents, is_confirmed, match.created_at
