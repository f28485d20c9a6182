"""Reviews: what people decide about an examination. The model's verdict is never overwritten.

One or two people have to state the same before a finding is confirmed, and not the submitter alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from deepfake_models.bundle.results import MediaFacts
from deepfake_service.accounts.accounts import ENVIRONMENT_ID, Caller, may_review
from deepfake_service.accounts.admin_key import FIRST_ACCOUNT
from deepfake_service.accounts.visibility import find_visible
from deepfake_service.audit.log import SERVICE, Action, Actor, append_entry
from deepfake_service.cases import notices_under_way
from deepfake_service.cases.case_lock import lock_open_case
from deepfake_service.evidence.bundle.custody import findings_of, found_by
from deepfake_service.evidence.bundle.signs import Signs, require_within
from deepfake_service.evidence.chain_of_custody import require_recorded, reviews_and_notes_of
from deepfake_service.evidence.editions import outdated_jobs
from deepfake_service.evidence.store import EvidenceStore
from deepfake_service.hashes.hash_bank import HashBank, SimilarCase, similar_cases
from deepfake_service.hashes.minor_flags import MinorFlags
from deepfake_service.platform.answers import Published, Time
from deepfake_service.platform.clock import Day
from deepfake_service.platform.db import (
    Account,
    AuditEntry,
    Case,
    Database,
    Job,
    Review,
    current_time,
    new_id,
)
from deepfake_service.platform.enums import REUSED, JobState, Role
from deepfake_service.platform.errors import (
    Code,
    Conflict,
    DatabaseUnavailable,
    EvidenceMissing,
    FieldError,
    InvalidRequest,
    NotFound,
    Overloaded,
    ServiceError,
    invalid_field,
)
from deepfake_service.platform.findings import CLEARED, MANIPULATED, Decision, Finding
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.pagination import MAX_PAGE
from deepfake_service.platform.storage import Vault, open_json, seal_json
from deepfake_service.platform.texts.formatting import days_in_korea

CATCH_UP_BATCH = 100
MAX_REVIEWS = 100
"""Decisions of one account on one examination. Each has up to 15 kB, and all are in every edition
of the evidence, which must not become too large to read."""

_ONE_PERSON = frozenset({FIRST_ACCOUNT, ENVIRONMENT_ID})
"""Names of the two accounts that the installer of the service has: they are one person."""

_log = logger("deepfake_service.reviews")


Awaited = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnHold:
    """What an undecided item waits for."""

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    awaited: Awaited
    """What is awaited, such as the original."""
    awaited_from: Awaited
    """From whom."""
    awaited_until: Day
    """The last day of waiting, in Korea. The file is kept until then, within the retention of
    evidence. After it, the item comes first in the queue."""

    @property
    def end(self) -> datetime:
        """The end of that day."""
        return days_in_korea(self.awaited_until, self.awaited_until)[1]


_ON_HOLD = TypeAdapter(OnHold)
MAX_REASON = 4000
"""Characters of the reason of a decision, and of the note beside it."""
NO_GROUNDS = FieldError("reason", "write why, or choose a sign")
"""What is wrong with a decision that has neither a reason nor a sign."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Judgement:
    """A person's decision about an examination, and why."""

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    decision: Decision
    """What you decide."""
    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_REASON)] = ""
    """Why, in your words; it may be empty if there are `signs`. It becomes part of the evidence."""
    signs: Signs = ()
    """The signs of manipulation that you saw. They become part of the evidence."""
    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_REASON)] = ""
    """For those who may open the item; in no evidence, report, notice or export."""
    on_hold: OnHold | None = None
    """What the item waits for, if you leave it undecided. It does not become part of the evidence.
    """


_JUDGEMENT, _FACTS = TypeAdapter(Judgement), TypeAdapter(MediaFacts | None)


def on_hold_of(session: Session, job: Job, key: bytes) -> OnHold | None:
    """Return what a job waits for, by the last decision on it; ``None`` if for nothing."""
    if job.awaited_until is None:
        return None
    made = select(Review).where(Review.job_id == job.id)
    last = session.scalars(made.order_by(Review.created_at.desc(), Review.id.desc())).first()
    told = open_json(key, last).get("on_hold") if last else None
    return _ON_HOLD.validate_python(told) if told else None


class Opinion(Published):
    """One decision."""

    at: Time = Field(description="When it was decided.")
    name: str = Field(description="Name of the reviewer.")
    role: Role = Field(description="Role of the reviewer.")
    decision: Decision = Field(description="What was decided.")
    reason: str
    """Why; empty if only signs were stated, and for a second reviewer until she has decided."""
    signs: Signs
    """The signs of manipulation that the reviewer saw; none for a second reviewer until she has
    decided."""
    note: str
    """What the reviewer noted for those who may open the item; empty if nothing. It is in no
    evidence, report, notice or export."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an account stands in the review of a job."""

    reviewed: bool
    submitted: bool
    needs_another: bool
    """Whether another reviewer has to confirm if the account confirmed now and no one had."""
    decides_next: bool
    """Whether the item awaits a second person, and the caller can be that one. Until she has
    decided on her own she does not see what the first one saw."""


@dataclass(frozen=True, slots=True)
class ReviewEffects:
    """What changes with a decision or a flag."""

    evidence: EvidenceStore
    hash_bank: HashBank
    minor_flags: MinorFlags


@dataclass
class Reviews:
    """Records decisions and their effects. These are a new edition of the evidence, marks on
    notices, hashes that are stored or deleted, and the time at which media expire."""

    _database: Database
    _vault: Vault
    _effects: ReviewEffects
    two_people: bool
    """Whether two people have to confirm."""
    submitter_confirms: Literal["if_alone", "always", "never"]
    """Whether the account that submitted an item can confirm it without a second person."""
    longest_hold: timedelta
    """How long after its examination a file can be on hold: as long as evidence is kept."""
    _without_edition: set[str] = field(default_factory=set)
    """Ids of jobs for which no further edition can be created."""

    def decide(
        self,
        caller: Caller,
        job_id: str,
        judgement: Judgement,
        *,
        known: int | None = None,
    ) -> Finding:
        """Record the caller's decision and its reason, and return the resulting finding.

        An undecided item can be put ``on_hold``. ``known`` is how many decisions on the job the
        caller has seen, if theirs must not be recorded beside others.

        The latest decision of each person counts for the finding. All of them stay recorded. Once
        a decision is, no error of what follows from it is raised: it must not be made twice.

        Raises:
            NotFound: there is no such job, or the caller may not see it. Conflict: the job has
                no verdict, the caller is not a person or has made ``MAX_REVIEWS`` decisions on the
                job, or there are other decisions than those that are ``known``. RecordAltered:
                earlier ones differ from the audit log. InvalidRequest: it cannot be on hold, or
                not for so long; there is neither a reason nor a sign; or a sign is outside the
                medium.
        """
        if not judgement.reason and not judgement.signs:
            raise InvalidRequest.of_fields(NO_GROUNDS)
        decision, on_hold = judgement.decision, judgement.on_hold
        with self._database.write() as session:
            job, case = find_visible(session, caller, Job, job_id)
            self._database.one_at_a_time(session, case.account_id)
            lock_open_case(session, case.id)
            if session.get(Job, job_id, populate_existing=True) is None:
                raise NotFound
            if job.state != JobState.SUCCEEDED:
                raise Conflict("There is no verdict to review.", code=Code.NOT_REVIEWABLE)
            if session.get_one(Account, caller.account_id).kind != "person":
                raise Conflict(
                    "Only people can review; this is a system account.", code=Code.NOT_REVIEWABLE
                )
            require_recorded(session, job)
            _check_same_person(session, caller, job_id)
            made = select(func.count(Review.id)).where(Review.job_id == job_id)
            newest = select(func.max(Review.created_at)).where(Review.job_id == job_id)
            if known is not None and session.scalar(made) != known:
                raise Conflict(
                    "Another decision was recorded while you were reading. Read it, and save yours "
                    "if it still stands.",
                    code=Code.NOT_REVIEWABLE,
                )
            own = made.where(Review.account_id == caller.account_id)
            if (session.scalar(own) or 0) >= MAX_REVIEWS:
                raise Conflict(code=Code.TOO_MANY_REVIEWS)
            if on_hold is not None:
                self._require_possible(on_hold, decision, job, current_time(session))
            at, before_it = current_time(session), session.scalar(newest)
            if before_it is not None:  # of a clock that was set back, or the same millisecond
                at = max(at, before_it + timedelta(milliseconds=1))
            review = Review(
                id=new_id(),
                job_id=job_id,
                account_id=caller.account_id,
                decision=decision,
                created_at=at,
            )
            key = self._vault.case_key(case)
            if judgement.signs:
                media = _FACTS.validate_python(open_json(key, job)["media"])
                require_within(judgement.signs, media)
            content = _JUDGEMENT.dump_python(judgement, mode="json", exclude={"decision"})
            seal_json(key, review, content)
            session.add(review)
            session.flush()
            before, finding = job.finding, self._finding_of(session, job_id)
            job.finding = finding
            job.awaited_until = on_hold.end if on_hold and finding == Finding.UNDECIDED else None
            append_entry(
                session, caller.actor, Action.CASE_REVIEWED, job_id, decision, at=review.created_at
            )
            session.flush()
            self._note_whether_reviewed(session, case)
            against = finding in (*CLEARED, Finding.UNDECIDED)
            if against or (before in MANIPULATED and finding not in MANIPULATED):
                notices_under_way.mark_reversed(session, key, case, job)
            elif finding in MANIPULATED:
                notices_under_way.mark_upheld(session, key, case, job)
            if finding not in MANIPULATED:
                self._effects.hash_bank.forget(session, job_id)
        # In transactions of their own. If the process stops here, ``catch_up`` does the rest.
        if finding in MANIPULATED:
            self._effects.hash_bank.remember(job_id)
        self._create_edition(caller.actor, job_id)
        return finding

    def _require_possible(
        self, on_hold: OnHold, decision: Decision, job: Job, now: datetime
    ) -> None:
        if decision is not Decision.UNDECIDED:
            raise invalid_field("on_hold", "only with the decision `undecided`")
        if on_hold.end <= now:
            raise invalid_field("awaited_until", "must not be in the past")
        if on_hold.end > (job.finished_at or now) + self.longest_hold:
            raise invalid_field("awaited_until", "later than evidence is kept: send an earlier day")

    def decide_each(
        self,
        caller: Caller,
        job_ids: Sequence[str],
        judgement: Judgement,
    ) -> dict[str, ServiceError | None]:
        """Record the caller's decision on each of some items. A refusal does not stop the others.
        Return the error that is the refusal, or ``None``, by the id of each.

        Raises:
            DatabaseUnavailable: nothing further can be recorded. Earlier decisions stay recorded.
        """
        refusals: dict[str, ServiceError | None] = dict.fromkeys(job_ids)
        for job_id in refusals:
            try:
                if judgement.decision in CLEARED:
                    self._require_opened(caller, job_id)
                self.decide(caller, job_id, judgement)
            except DatabaseUnavailable:
                raise
            except ServiceError as error:
                refusals[job_id] = error
        return refusals

    def _require_opened(self, caller: Caller, job_id: str) -> None:
        """Require that the account has opened the evidence of a job, as its page does."""
        opened = select(AuditEntry.number).where(
            AuditEntry.account_id == caller.account_id,
            AuditEntry.subject == job_id,
            AuditEntry.action == str(Action.EVIDENCE_READ),
        )
        with self._database.read() as session:
            if session.scalar(opened.limit(1)) is None:
                raise Conflict(
                    "Open this item before you decide that it is not manipulated.",
                    code=Code.NOT_REVIEWABLE,
                )

    def _create_edition(self, actor: Actor, job_id: str) -> None:
        try:
            self._effects.evidence.issue(job_id, actor)
        except (NotFound, EvidenceMissing):
            # Another attempt cannot succeed either. Nothing is deleted for that reason: the older
            # editions are retained, and evidence that is too large is not missing.
            self._without_edition.add(job_id)
        except Overloaded:  # another process creates it
            _log.warning("no_new_edition", job_id=job_id)
        except Exception as error:
            _log.error("edition_failed", job_id=job_id, failure=describe(error))

    def _finding_of(self, session: Session, job_id: str) -> Finding:
        made = select(Review).where(Review.job_id == job_id).order_by(Review.created_at, Review.id)
        latest = {review.account_id: review.decision for review in session.scalars(made)}
        possible = findings_of(latest)
        if cleared := CLEARED & possible:
            awaits = Finding.AWAITING_SECOND in possible and self._is_contested(session, job_id)
            return Finding.AWAITING_SECOND if awaits else Finding(*cleared)
        if Finding.AWAITING_SECOND not in possible:
            (found,) = possible
            return Finding(str(found))
        # No two people confirmed the same: ``confirmed`` comes first where one person is enough.
        for account, decision in sorted(latest.items(), key=lambda r: r[1] != Decision.CONFIRMED):
            if decision in possible and self._is_enough(session, job_id, account):
                return Finding(decision)
        return Finding.AWAITING_SECOND

    def _is_contested(self, session: Session, job_id: str) -> bool:
        """Return whether a notice rests on a statement that the file is shared without consent: one
        reviewer alone does not clear it then."""
        job = session.get_one(Job, job_id)
        case = session.get_one(Case, job.case_id)
        key = self._vault.case_key(case)
        return notices_under_way.is_stated(session, key, case, job)

    def _is_enough(self, session: Session, job_id: str, reviewer: str) -> bool:
        """Return whether a finding is confirmed by the account with this id alone."""
        if self.two_people:
            return False
        submitter = session.get_one(Job, job_id).account_id
        if self.submitter_confirms == "always" or not _is_same(session, reviewer, submitter):
            return True
        if self.submitter_confirms != "if_alone":
            return False
        # All accounts are loaded, because only the code of a row that is loaded is compared.
        people = [account.id for account in session.scalars(select(Account)) if may_review(account)]
        return all(_is_same(session, other, reviewer) for other in people)

    @staticmethod
    def _note_whether_reviewed(session: Session, case: Case) -> None:
        """Set or clear the time at which the whole case was reviewed: its media expire after it."""
        unreviewed = session.scalars(
            select(Job.id).where(
                Job.case_id == case.id,
                Job.state.in_(REUSED),
                Job.finding.is_(None)
                | Job.finding.in_([Finding.AWAITING_SECOND, Finding.UNDECIDED]),
            )
        ).first()
        case.reviewed_at = None if unreviewed else case.reviewed_at or current_time(session)

    def of_job(self, caller: Caller, job_id: str) -> list[Opinion]:
        """List the decisions on a job, oldest first; see ``opinions_of``."""
        with self._database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
            withheld = self.standing(session, caller, job).decides_next
            return opinions_of(session, job, self._vault.case_key(case), withheld=withheld)[0]

    def similar(self, caller: Caller, job_id: str) -> list[SimilarCase]:
        """List the cases that a job's medium resembles most, for a second reviewer none."""
        with self._database.read() as session:
            job, _ = find_visible(session, caller, Job, job_id)
            if self.standing(session, caller, job).decides_next:
                return []
            return similar_cases(session, self._vault, caller, [job_id]).get(job_id, [])[:MAX_PAGE]

    def on_hold(self, caller: Caller, job_id: str) -> OnHold | None:
        """Return what a job waits for."""
        with self._database.read() as session:
            job, case = find_visible(session, caller, Job, job_id)
            return on_hold_of(session, job, self._vault.case_key(case))

    def standing(self, session: Session, caller: Caller, job: Job) -> Standing:
        """Return where the caller stands in the review of a job, for its page."""
        reviewers = session.scalars(
            select(Review.account_id).where(Review.job_id == job.id).distinct()
        )
        reviewed = any(_is_same(session, other, caller.account_id) for other in reviewers)
        able = may_review(session.get_one(Account, caller.account_id))
        return Standing(
            reviewed=reviewed,
            decides_next=able and not reviewed and job.finding == Finding.AWAITING_SECOND,
            submitted=_is_same(session, job.account_id, caller.account_id),
            needs_another=not self._is_enough(session, job.id, caller.account_id),
        )

    def flag_minor(self, caller: Caller, case_id: str, *, enabled: bool) -> None:
        """Set or remove the flag that a person shown in a case may be a minor.

        While it is set, pictures are withheld from evidence and pages, and fewer accounts see the
        case. Every examination in the case gets a new edition of its evidence. Other cases with
        copies of its media are flagged as well; ``catch_up`` creates their editions. ``NotFound``
        or ``Forbidden``: see ``MinorFlags.clear_case``.
        """
        flags = self._effects.minor_flags
        (flags.flag_case if enabled else flags.clear_case)(caller, case_id)
        # The chores of the worker compare what this leaves.
        flags.compare_earlier_jobs(newest_only=True)
        self._create_editions(outdated_jobs().where(Job.case_id == case_id))

    def catch_up(self) -> None:
        """Create the editions that reviews and flags require and that do not exist yet."""
        self._create_editions(outdated_jobs())

    def _create_editions(self, jobs: Select[str]) -> None:
        statement = jobs.limit(CATCH_UP_BATCH + len(self._without_edition))
        with self._database.read() as session:
            outdated = session.scalars(statement).all()
        for job_id in [j for j in outdated if j not in self._without_edition][:CATCH_UP_BATCH]:
            self._create_edition(SERVICE, job_id)


def opinions_of(
    session: Session, job: Job, key: bytes, *, withheld: bool
) -> tuple[list[Opinion], int]:
    """Return the decisions on a job, oldest first, and how many people state its finding. If they
    are ``withheld`` from a second reviewer, they come without reasons, signs and notes."""
    made = reviews_and_notes_of(session, job, key)
    names = {"at", "name", "role", "decision"}
    opinions = [
        Opinion(
            **stated.model_dump(include=names),
            reason="" if withheld else stated.reason,
            signs=() if withheld else stated.signs,
            note="" if withheld else note,
        )
        for stated, note in made
    ]
    return opinions, len(found_by(job.finding, [stated for stated, _ in made]))


def _check_same_person(session: Session, caller: Caller, job_id: str) -> None:
    """Raise ``Conflict`` if the same person has reviewed a job with another account."""
    reviewers = select(Review.account_id).where(Review.job_id == job_id).distinct()
    for account_id in session.scalars(reviewers):
        if account_id != caller.account_id and _is_same(session, account_id, caller.account_id):
            raise Conflict(
                "You have reviewed this examination with another account of yours. Use that one.",
                code=Code.NOT_REVIEWABLE,
            )


def _is_same(session: Session, first: str, second: str) -> bool:
    """Return whether two accounts belong to one person."""
    if first == second:
        return True
    names = {session.get_one(Account, first).name, session.get_one(Account, second).name}
    return names == _ONE_PERSON
