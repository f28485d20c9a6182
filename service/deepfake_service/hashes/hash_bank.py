"""The hash bank: perceptual hashes of confirmed cases, and submissions that resemble one.

A match links cases. It never changes a verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import Field
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.visibility import find_visible, visible_to
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
from deepfake_service.platform.db import Case, Database, Job, KnownHashes, Match, Review, new_id
from deepfake_service.platform.db.enums import MANIPULATED
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.pagination import MAX_PAGE
from deepfake_service.platform.storage import Vault, installation_secret, open_json
from deepfake_service.platform.storage.envelope import KeyWrapper
from deepfake_service.platform.storage.sealed_columns import opened_rows

CATCH_UP_BATCH = 100

_log = logger("deepfake_service.hashes")


class SimilarCase(Published):
    """An earlier case that looks like a submission."""

    case_id: ItemId = Field(description="Id of the earlier case.")
    case_reference: str | None = Field(description="Its reference.")
    percent: int
    """Per cent of the good-quality frames of this submission that look like one of the earlier
    case."""
    known_percent: int
    """Per cent of the good-quality frames of the earlier case's medium that look like one of this
    submission."""
    confirmed: bool = Field(description="Whether a finding in the case was confirmed.")
    found_at: Time = Field(description="When it was found.")


KEPT_FOR = timedelta(days=365)
"""From the confirmation of a case until its hashes are deleted."""


@dataclass
class HashBank:
    """The hashes of confirmed media. Unless ``enabled``, none are stored and nothing matches."""

    _database: Database
    _vault: Vault
    _keys: KeyWrapper
    enabled: bool
    _without_hashes: set[str] = field(default_factory=set)
    """Ids of confirmed jobs whose media have no hashes that could be stored."""

    def __post_init__(self) -> None:
        key = installation_secret(self._database, self._keys, "matching") if self.enabled else b""
        self.hashes = HashList(self._database, self._vault, KnownHashes, key)

    def remember(self, job_id: str) -> None:
        """Store the hashes of the medium of a job whose finding was confirmed. An error is logged,
        and ``remember_recent`` tries again."""
        try:
            for job, hashes in self.hashes.examined(Job.id == job_id) if self.enabled else ():
                if hashes.pdq:
                    self._store(job, hashes)
                else:
                    self._without_hashes.add(job_id)
        except Exception as error:
            _log.error("hashes_not_stored", job_id=job_id, failure=describe(error))

    def _store(self, job: Job, hashes: MediaHashes) -> None:
        now = self._database.clock()
        with self._database.write() as session:
            case, again = lock_case(session, job.case_id), session.get(Job, job.id)
            self.forget(session, job.id)
            if case is None or again is None or again.finding not in MANIPULATED:
                return  # the finding has changed in the meantime
            known = KnownHashes(
                id=new_id(),
                case_id=case.id,
                job_id=job.id,
                created_at=now,
                expires_at=now + KEPT_FOR,
            )
            self.hashes.seal(known, {"pdq": hashes.pdq, "vpdq": hashes.vpdq})
            session.add(known)

    def remember_recent(self) -> None:
        """Store the hashes of jobs confirmed in the last day, if an error or a crash prevented it.
        What prevents it for one job does not for the others."""
        if not self.enabled:
            return
        since = self._database.clock() - timedelta(days=1)
        with self._database.read() as session:
            missing = session.scalars(
                select(Job.id)
                .where(
                    Job.finding.in_(MANIPULATED),
                    Job.id.in_(select(Review.job_id).where(Review.created_at > since)),
                    Job.id.not_in(select(KnownHashes.job_id)),
                )
                .limit(CATCH_UP_BATCH + len(self._without_hashes))
            ).all()
        for job_id in [j for j in missing if j not in self._without_hashes][:CATCH_UP_BATCH]:
            self.remember(job_id)

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

    def link_similar(self, job: Job, hashes: MediaHashes) -> None:
        """Link a job to the earlier cases whose media its medium resembles."""
        if not self.enabled:
            return
        for entry, known in self.hashes.entries(KnownHashes.case_id != job.case_id):
            shares = shares_alike(hashes.pdq, known["pdq"])
            if shares.match:
                self._link(job, entry, shares)

    def _link(self, job: Job, entry: KnownHashes, shares: Shares) -> None:
        with self._database.write() as session:
            linked = select(Match.id).where(Match.job_id == job.id, Match.case_id == entry.case_id)
            if session.scalars(linked).first() is not None:
                return
            session.add(
                Match(
                    id=new_id(),
                    job_id=job.id,
                    case_id=entry.case_id,
                    percent=int(100 * shares.submitted),
                    known_percent=int(100 * shares.known),
                    created_at=self._database.clock(),
                )
            )
            append_entry(session, SERVICE, Action.MATCH_FOUND, job.id)

    def matches(self, caller: Caller, job_id: str) -> list[SimilarCase]:
        """List the earlier cases that a job's medium resembles most, if the caller may see them."""
        with self._database.read() as session:
            find_visible(session, caller, Job, job_id)
            found = similar_cases(session, self._vault, caller, [job_id])
        return found.get(job_id, [])[:MAX_PAGE]

    def export(self, caller: Caller) -> Iterator[str]:
        """Return the lines of all hashes in the exchange format, oldest first. Audited. They have
        nothing about the cases. They are read while they are sent, some at a time."""
        with self._database.write() as session:
            stored = select(func.count(KnownHashes.id))
            count = session.scalar(stored) if self.enabled else 0  # nothing is sent otherwise
            append_entry(session, caller.actor, Action.HASHES_EXPORTED, detail=str(count or 0))
        if not self.enabled:
            return iter(())
        lines = exchange_lines((known["pdq"], known["vpdq"]) for _, known in self.hashes.entries())
        return (f"{line}\n" for line in lines)


def similar_cases(
    session: Session, vault: Vault, caller: Caller, job_ids: Sequence[str]
) -> dict[str, list[SimilarCase]]:
    """Return the earlier cases that jobs' media resemble, the most similar first, by job. Cases
    that the caller may not see are left out."""
    confirmed = select(Job.case_id).where(Job.finding.in_(MANIPULATED)).correlate(None)
    matches = session.execute(
        select(Match, Case, Case.id.in_(confirmed))
        .join(Case, Match.case_id == Case.id)
        .where(Match.job_id.in_(job_ids), visible_to(caller), Case.sealed.is_not(None))
        .order_by((Match.percent + Match.known_percent).desc(), Match.id)
    )
    found: dict[str, list[SimilarCase]] = {}
    opened = opened_rows(matches, lambda row: open_json(vault.case_key(row[1]), row[1]))
    for (match, earlier, is_confirmed), content in opened:
        similar = SimilarCase(
            case_id=earlier.id,
            case_reference=content["reference"],
            percent=match.percent,
            known_percent=match.known_percent,
            confirmed=bool(is_confirmed),
            found_at=str(iso_time(match.created_at)),
        )
        found.setdefault(match.job_id, []).append(similar)
    return found
