"""What people decide about an examination. The machine's verdict is never overwritten."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from deepfake_service.casework.core.permissions import may_see
from deepfake_service.casework.core.queries import row_of, stated
from deepfake_service.casework.evidence_store import EvidenceStore
from deepfake_service.casework.hash_bank import HashBank
from deepfake_service.casework.notice_desk import NoticeDesk
from deepfake_service.db import (
    Account,
    Case,
    Database,
    Edition,
    Job,
    Media,
    Review,
    current_time,
    new_id,
)
from deepfake_service.db.enums import Decision, Finding, JobState, Role
from deepfake_service.errors import (
    EvidenceBusy,
    EvidenceMissing,
    Forbidden,
    NotFound,
    NotReviewable,
)
from deepfake_service.observability.logs import describe, logger
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import SERVICE, Action, Actor, append_entry
from deepfake_service.storage import Vault, context_of
from deepfake_service.storage.envelope import seal, unseal

CAUGHT_UP_AT_ONCE = 100

_log = logger("deepfake_service.reviews")


class Reviews:
    """Notes decisions, and what follows from them: a new edition of the evidence, notices to be
    withdrawn, hashes kept or forgotten, the time at which media expire."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        evidence: EvidenceStore,
        notices: NoticeDesk,
        hash_bank: HashBank,
        *,
        two_people: bool,
    ) -> None:
        self._database = database
        self._vault = vault
        self._evidence = evidence
        self._notices = notices
        self._hash_bank = hash_bank
        self._two_people = two_people

    def decide(self, caller: Caller, job_id: str, decision: Decision, reason: str) -> Finding:
        """Note what the caller decides, and why; the finding that it comes to.

        A later decision of the same person takes the place of an earlier one in what is found; all
        stay on record.

        Raises:
            NotFound: there is no such job that the caller may see. NotReviewable: it has no
            verdict, or the caller is a program.
        """
        with self._database.write() as session:
            job, _, case = row_of(session, caller, job_id)
            self._database.one_at_a_time(session, case.account_id)
            session.refresh(case)
            session.refresh(job)
            if case.wrapped_key is None:
                raise NotFound
            if job.state != JobState.SUCCEEDED:
                raise NotReviewable("The job has no verdict that could be reviewed.")
            if session.get_one(Account, caller.account_id).kind != "person":
                raise NotReviewable("Reviews are made by people, and this account is a system's.")
            key = self._vault.case_key(case.id, case.wrapped_key)
            review = Review(
                id=new_id(),
                job_id=job_id,
                account_id=caller.account_id,
                decision=decision,
                sealed=b"",
                created_at=current_time(session),
            )
            content = json.dumps({"reason": reason}).encode()
            review.sealed = seal(key, content, context_of("review", review.id))
            session.add(review)
            session.flush()
            before, finding = job.finding, self._found(session, job_id)
            job.finding = finding
            append_entry(session, caller.actor, Action.CASE_REVIEWED, job_id, decision)
            session.flush()
            self._settle(session, case)
            if finding is Finding.REJECTED or before == Finding.CONFIRMED != finding:
                self._notices.mark_reversed(session, case, job)
            elif finding is Finding.CONFIRMED:
                self._notices.mark_upheld(session, case, job)
            if finding is not Finding.CONFIRMED:
                self._hash_bank.forget(session, job_id)
        # In transactions of their own; what a crash leaves undone, ``catch_up`` does.
        if finding is Finding.CONFIRMED:
            self._hash_bank.remember(job_id)
        self._new_edition(caller.actor, job_id)
        return finding

    def _new_edition(self, actor: Actor, job_id: str) -> None:
        try:
            self._evidence.make(job_id, actor)
        except (EvidenceMissing, EvidenceBusy):
            # Its time is over, it was examined by a version that gathered none, or somebody else
            # makes one: ``catch_up`` sees to what is left.
            _log.warning("no_new_edition", job_id=job_id)

    def _found(self, session: Session, job_id: str) -> Finding:
        latest: dict[str, str] = {}
        for review in session.scalars(
            select(Review).where(Review.job_id == job_id).order_by(Review.created_at, Review.id)
        ):
            latest[review.account_id] = review.decision
        decisions = list(latest.values())
        if Decision.REJECTED in decisions:
            # One who rejects is enough: nothing goes out that a reviewer does not stand behind.
            return Finding.REJECTED if Decision.CONFIRMED not in decisions else Finding.UNDECIDED
        confirmed = decisions.count(Decision.CONFIRMED)
        if not confirmed:
            return Finding.UNDECIDED
        enough = confirmed >= (2 if self._two_people else 1)
        return Finding.CONFIRMED if enough else Finding.AWAITING_SECOND

    @staticmethod
    def _settle(session: Session, case: Case) -> None:
        """Note since when all of a case is reviewed: from then on its media have a day."""
        open_jobs = session.scalars(
            select(Job.id).where(
                Job.case_id == case.id,
                Job.state.in_([JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED]),
                Job.finding.is_(None)
                | Job.finding.in_([Finding.AWAITING_SECOND, Finding.UNDECIDED]),
            )
        ).first()
        case.reviewed_at = None if open_jobs else case.reviewed_at or current_time(session)

    def of(self, caller: Caller, job_id: str) -> list[dict[str, Any]]:
        """The decisions on a job, the oldest first."""
        with self._database.read() as session:
            job, _, case = row_of(session, caller, job_id)
            found = session.execute(
                select(Review, Account)
                .join(Account, Review.account_id == Account.id)
                .where(Review.job_id == job.id)
                .order_by(Review.created_at)
            ).all()
        key = self._vault.case_key(case.id, case.wrapped_key)
        return [
            {
                "at": stated(review.created_at),
                "name": account.name,
                "role": account.role,
                "decision": review.decision,
                **json.loads(unseal(key, review.sealed, context_of("review", review.id))),
            }
            for review, account in found
        ]

    def flag_minor(self, caller: Caller, case_id: str, *, wanted: bool) -> None:
        """Say that somebody in a case may be a minor, or that nobody is.

        While it is said, pictures are withheld from evidence and pages, and fewer people see the
        case. Every examination in it gets a new edition of its evidence.

        Raises:
            NotFound: there is no such case that the caller may see.
        """
        with self._database.write() as session:
            case = session.get(Case, case_id)
            if case is None or case.wrapped_key is None or not may_see(caller, case):
                raise NotFound
            self._database.one_at_a_time(session, case.account_id)
            session.refresh(case)
            if not wanted and caller.account_id != case.minor_by and caller.role is not Role.ADMIN:
                raise Forbidden("Whoever said so, or an administrator, takes it back.")
            digests = sorted(
                set(session.scalars(select(Media.sha256).where(Media.case_id == case_id)))
            )
            for digest in digests:  # nobody submits the same bytes meanwhile
                self._database.one_at_a_time(session, digest)
            changed: list[Case] = []
            # The same bytes show the same person, in whosever case they are.
            alike = select(Media.case_id).where(Media.sha256.in_(digests))
            for one in session.scalars(
                select(Case).where(or_(Case.id == case_id, Case.id.in_(alike)))
            ):
                if (one.minor_at is not None) == wanted or one.wrapped_key is None:
                    continue
                if not wanted and one.minor_by != case.minor_by and caller.role is not Role.ADMIN:
                    continue  # somebody else said so as well
                changed.append(one)
            for one in changed:
                one.minor_at = current_time(session) if wanted else None
                one.minor_by = caller.account_id if wanted else None
                action = Action.MINOR_FLAGGED if wanted else Action.MINOR_UNFLAGGED
                append_entry(session, caller.actor, action, one.id)
                if wanted:
                    self._notices.mark_flagged(session, one)
        self.catch_up()

    def catch_up(self) -> None:
        """Make the editions that reviews and flags call for and that are not there yet."""
        newest = (
            select(Edition.job_id, func.max(Edition.created_at).label("at"))
            .group_by(Edition.job_id)
            .subquery()
        )
        reviewed = (
            select(Review.job_id, func.max(Review.created_at).label("at"))
            .group_by(Review.job_id)
            .subquery()
        )
        shows = (
            select(Edition.imagery)
            .where(Edition.job_id == Job.id, Edition.created_at == newest.c.at)
            .scalar_subquery()
        )
        with self._database.read() as session:
            late = session.scalars(
                select(Job.id)
                .join(Case, Job.case_id == Case.id)
                .join(newest, newest.c.job_id == Job.id)
                .outerjoin(reviewed, reviewed.c.job_id == Job.id)
                .where(
                    Case.wrapped_key.is_not(None),
                    Job.evidence_expired_at.is_(None),
                    or_(
                        reviewed.c.at > newest.c.at,
                        Case.minor_at.is_not(None) & shows.is_(True),
                        Case.minor_at.is_(None) & shows.is_(False) & Job.shown.is_(True),
                    ),
                )
                .order_by(Job.created_at.desc())
                .limit(CAUGHT_UP_AT_ONCE)
            ).all()
        for job_id in late:
            try:
                self._evidence.make(job_id, SERVICE)
            except EvidenceMissing:
                # There is nothing to make one from: not to be tried for ever.
                with self._database.write() as session:
                    job = session.get(Job, job_id)
                    if job is not None:
                        job.evidence_expired_at = current_time(session)
            except Exception as error:
                _log.error("edition_failed", job_id=job_id, failure=describe(error))
        self._hash_bank.remember_recent()
