"""Notices of a case: made, sent by people, answered or overdue, to be withdrawn."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deepfake_models.results import VerdictCode
from deepfake_service.casework.core.notice_states import (
    RUNNING,
    NoticeRequest,
    NoticeUpdate,
    apply_update,
    field_error,
)
from deepfake_service.casework.core.permissions import may_see, visible
from deepfake_service.casework.core.queries import stated
from deepfake_service.casework.evidence_store import examination_of
from deepfake_service.db import (
    Case,
    Database,
    Edition,
    Job,
    Media,
    Notice,
    Occurrence,
    current_time,
    new_id,
)
from deepfake_service.db.enums import Finding, JobState, NoticeState
from deepfake_service.errors import (
    DatabaseUnavailable,
    NotFound,
    NoticeRefused,
)
from deepfake_service.notices.kinds import checked, kind_of
from deepfake_service.notices.render import Basis, Composed, NoticeSubject, Section, compose
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.storage import BlobMissing, Vault, context_of
from deepfake_service.storage.envelope import seal, unseal


class NoticeDesk:
    """Makes notices and follows them."""

    def __init__(
        self, database: Database, vault: Vault, *, issuer: str, two_people: bool = False
    ) -> None:
        self._database = database
        self._vault = vault
        self._issuer = issuer
        self._two_people = two_people

    def make(self, caller: Caller, case_id: str, wanted: NoticeRequest) -> dict[str, Any]:
        """Make a notice about occurrences of a case.

        Raises:
            NotFound: no such case, or kind. InvalidRequest: with every field that is missing or
            malformed. NoticeRefused: what it would rest on was not confirmed, or not examined.
        """
        kind = kind_of(wanted.kind)
        with self._database.write() as session:
            case, key = self._case(session, caller, case_id)
            # Not while somebody decides about what this is to rest on.
            self._database.one_at_a_time(session, case.account_id)
            session.refresh(case)
            if case.wrapped_key is None:
                raise NotFound
            seen = self._occurrences(session, case, key, wanted.occurrence_ids)
            minor = case.minor_at is not None
            fields = checked(kind, wanted.fields, [s for s, _ in seen], minor=minor)
            if wanted.recipient is not None and not wanted.recipient.isprintable():
                raise field_error("recipient", "holds control characters or line breaks")
            basis = self._basis(session, case, key, {media for _, media in seen})
            about = self._about(case, key)
            subject = NoticeSubject(
                [s for s, _ in seen],
                basis,
                recipient=wanted.recipient,
                reference=about["reference"],
                minor=minor,
            )
            composed = compose(kind, fields, subject, language=wanted.language)
            notice = Notice(
                id=new_id(),
                case_id=case_id,
                account_id=caller.account_id,
                kind=kind.id,
                language=wanted.language,
                state=NoticeState.DRAFTED,
                sealed=b"",
                created_at=current_time(session),
            )
            content = {
                "recipient": wanted.recipient,
                "fields": fields.model_dump(mode="json"),
                "occurrence_ids": list(wanted.occurrence_ids),
                "basis": [asdict(b) for b in basis],
                "composed": asdict(composed),
                "receipt": None,
            }
            self._seal(notice, key, content)
            session.add(notice)
            append_entry(session, caller.actor, Action.NOTICE_MADE, notice.id, kind.id)
        return _json(notice, content, self._database.clock())

    def read(self, caller: Caller, notice_id: str) -> dict[str, Any]:
        """A notice with its fields and words; audited.

        Raises:
            NotFound: there is none that the caller may see.
        """
        with self._database.write() as session:
            notice, key, _ = self._notice(session, caller, notice_id)
            append_entry(session, caller.actor, Action.NOTICE_READ, notice_id)
        return _json(notice, self._opened(notice, key), self._database.clock())

    def pdf(self, caller: Caller, notice_id: str) -> bytes:
        """A notice as a PDF; see ``read``."""
        found = self.read(caller, notice_id)
        return composed_of(found["words"]).pdf(
            found["language"], datetime.fromisoformat(found["created_at"]), self._issuer
        )

    def of_case(self, caller: Caller, case_id: str) -> list[dict[str, Any]]:
        """The notices of a case, the newest first, without what they say."""
        with self._database.read() as session:
            self._case(session, caller, case_id)
            found = session.scalars(
                select(Notice).where(Notice.case_id == case_id).order_by(Notice.created_at.desc())
            ).all()
        return [_listed(n, self._database.clock()) for n in found]

    def overdue(self, caller: Caller, limit: int = 200) -> list[dict[str, Any]]:
        """Notices that ought to have been acted on by now, the longest overdue first."""
        statement = (
            _overdue(select(Notice), self._database.clock())
            .join(Case, Notice.case_id == Case.id)
            .where(visible(caller))
            .order_by(Notice.due_at)
            .limit(limit)
        )
        with self._database.read() as session:
            return [_listed(n, self._database.clock()) for n in session.scalars(statement)]

    def count_overdue(self) -> float:
        """How many there are; NaN while the database does not answer."""
        counted = _overdue(select(func.count(Notice.id)), self._database.clock())
        try:
            with self._database.read() as session:
                return float(session.scalar(counted) or 0)
        except DatabaseUnavailable:
            return math.nan

    def update(self, caller: Caller, notice_id: str, update: NoticeUpdate) -> dict[str, Any]:
        """Note that a notice was sent, received or answered.

        Raises:
            NotFound: there is none that the caller may see. InvalidRequest: what cannot be.
        """
        with self._database.write() as session:
            notice, key, _ = self._notice(session, caller, notice_id)
            session.refresh(notice, with_for_update=True)
            content = self._opened(notice, key)
            apply_update(notice, update, current_time(session))
            if update.receipt is not None:
                content["receipt"] = update.receipt
                self._seal(notice, key, content)
            append_entry(session, caller.actor, Action.NOTICE_UPDATED, notice_id, notice.state)
        return _json(notice, content, self._database.clock())

    def mark_reversed(self, session: Session, case: Case, job: Job) -> None:
        """Mark the notices that rest on a job's finding, which was reversed, for withdrawal."""
        key = self._vault.case_key(case.id, case.wrapped_key)
        for notice in session.scalars(select(Notice).where(Notice.case_id == case.id)):
            rests = any(b["job"] == job.id for b in self._opened(notice, key)["basis"])
            if rests and notice.state != NoticeState.WITHDRAWN and notice.withdraw_at is None:
                notice.withdraw_at = current_time(session)
                append_entry(session, SERVICE, Action.NOTICE_TO_WITHDRAW, notice.id)

    @staticmethod
    def mark_flagged(session: Session, case: Case) -> None:
        """Mark a case's notices for withdrawal: somebody may be a minor, which they do not say."""
        for notice in session.scalars(
            select(Notice).where(
                Notice.case_id == case.id,
                Notice.state != NoticeState.WITHDRAWN,
                Notice.withdraw_at.is_(None),
            )
        ):
            notice.withdraw_at = current_time(session)
            append_entry(session, SERVICE, Action.NOTICE_TO_WITHDRAW, notice.id)

    def mark_upheld(self, session: Session, case: Case, job: Job) -> None:
        """Take those marks away again: the finding is confirmed after all."""
        if case.minor_at is not None:
            return
        key = self._vault.case_key(case.id, case.wrapped_key)
        for notice in session.scalars(
            select(Notice).where(Notice.case_id == case.id, Notice.withdraw_at.is_not(None))
        ):
            if any(b["job"] == job.id for b in self._opened(notice, key)["basis"]):
                notice.withdraw_at = None

    def _case(self, session: Session, caller: Caller, case_id: str) -> tuple[Case, bytes]:
        case = session.get(Case, case_id)
        if case is None or case.wrapped_key is None or not may_see(caller, case):
            raise NotFound
        return case, self._vault.case_key(case.id, case.wrapped_key)

    def _notice(
        self, session: Session, caller: Caller, notice_id: str
    ) -> tuple[Notice, bytes, Case]:
        notice = session.get(Notice, notice_id)
        if notice is None:
            raise NotFound
        case, key = self._case(session, caller, notice.case_id)
        return notice, key, case

    @staticmethod
    def _about(case: Case, key: bytes) -> dict[str, Any]:
        assert case.sealed is not None
        about: dict[str, Any] = json.loads(unseal(key, case.sealed, context_of("case", case.id)))
        return about

    @staticmethod
    def _occurrences(
        session: Session, case: Case, key: bytes, wanted: Sequence[str]
    ) -> list[tuple[dict[str, Any], str]]:
        found = []
        for occurrence_id in dict.fromkeys(wanted):
            seen = session.get(Occurrence, occurrence_id)
            if seen is None or seen.case_id != case.id:
                raise field_error("occurrence_ids", "names one that is not of this case")
            content = json.loads(unseal(key, seen.sealed, context_of("occurrence", seen.id)))
            found.append(({"id": seen.id, **content}, seen.media_id))
        return found

    def _basis(self, session: Session, case: Case, key: bytes, media: set[str]) -> list[Basis]:
        """What is on record of the media: their newest examinations.

        Of the same bytes examined several times, every review counts: what one of them was rejected
        for is not to go out on another.
        """
        basis = []
        for media_id in sorted(media):
            digest = session.get_one(Media, media_id).sha256
            jobs = session.scalars(
                select(Job)
                .join(Media, Job.media_id == Media.id)
                .where(
                    Job.case_id == case.id,
                    Media.sha256 == digest,
                    Job.state == JobState.SUCCEEDED,
                )
                .order_by(Job.created_at.desc())
            ).all()
            job = self._founding(jobs)
            edition = session.scalars(
                select(Edition.number)
                .where(Edition.job_id == job.id)
                .order_by(Edition.number.desc())
            ).first()
            basis.append(
                Basis(
                    sha256=digest,
                    verdict=str(job.verdict),
                    finding=job.finding,
                    job=job.id,
                    edition=edition or 1,
                    examined_at=self._examined_at(job, key),
                )
            )
        return basis

    def _founding(self, jobs: Sequence[Job]) -> Job:
        """The examination that a notice may rest on: confirmed, or a suspect one that nobody has
        reviewed, where one person's review is not asked for."""
        if not jobs:
            raise NoticeRefused("A medium of these occurrences has no verdict (yet).")
        against = {Finding.REJECTED, Finding.UNDECIDED, Finding.AWAITING_SECOND}
        if any(j.finding in against for j in jobs):
            raise NoticeRefused("Reviewers have not confirmed the finding that this would rest on.")
        confirmed = [j for j in jobs if j.finding == Finding.CONFIRMED]
        if confirmed:
            return confirmed[0]
        if self._two_people:
            raise NoticeRefused("Two people have to confirm the finding before notices are made.")
        if jobs[0].verdict != VerdictCode.LIKELY_MANIPULATED:
            raise NoticeRefused(
                "The verdict is not that a face is manipulated, and nobody has confirmed it."
            )
        return jobs[0]

    def _examined_at(self, job: Job, key: bytes) -> str:
        try:
            return str(examination_of(self._vault, job, key)["examined_at"])
        except BlobMissing:
            return str(stated(job.finished_at))

    def _seal(self, notice: Notice, key: bytes, content: dict[str, Any]) -> None:
        raw = json.dumps(content).encode()
        notice.sealed = seal(key, raw, context_of("notice", notice.id))

    @staticmethod
    def _opened(notice: Notice, key: bytes) -> dict[str, Any]:
        raw = unseal(key, notice.sealed, context_of("notice", notice.id))
        content: dict[str, Any] = json.loads(raw)
        return content


def composed_of(words: dict[str, Any]) -> Composed:
    """The words of a notice as they were kept."""
    return Composed(
        words["title"], words["opening"], [Section(**section) for section in words["sections"]]
    )


def _overdue(statement: Any, now: datetime) -> Any:
    running = Notice.state.in_(RUNNING)
    return statement.where(running, Notice.due_at < now)


def _listed(notice: Notice, now: datetime) -> dict[str, Any]:
    late = notice.state in RUNNING and notice.due_at and notice.due_at < now
    return {
        "id": notice.id,
        "case_id": notice.case_id,
        "kind": notice.kind,
        "language": notice.language,
        "state": notice.state,
        "created_at": stated(notice.created_at),
        "sent_at": stated(notice.sent_at),
        "due_at": stated(notice.due_at),
        "overdue": bool(late),
        "answered_at": stated(notice.answered_at),
        "withdraw": notice.withdraw_at is not None,
    }


def _json(notice: Notice, content: dict[str, Any], now: datetime) -> dict[str, Any]:
    words = composed_of(content["composed"])
    return {
        **_listed(notice, now),
        "recipient": content["recipient"],
        "receipt": content["receipt"],
        "fields": content["fields"],
        "occurrence_ids": content["occurrence_ids"],
        "basis": content["basis"],
        "text": words.text(),
        "words": content["composed"],
    }
