"""Notices of a case: create them, record what becomes of them, and mark them for withdrawal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from deepfake_models.results import VerdictCode
from deepfake_service.casework.core.cases import is_of_another_case, open_occurrence
from deepfake_service.casework.core.editions import is_outdated, newest_edition
from deepfake_service.casework.core.notice_states import (
    RUNNING,
    NoticeRequest,
    NoticeUpdate,
    apply_update,
    field_error,
)
from deepfake_service.casework.core.pagination import MAX_PAGE, NoticePage, next_cursor, older
from deepfake_service.casework.core.queries import iso_time
from deepfake_service.casework.core.visibility import find_visible, visible_to
from deepfake_service.casework.evidence_store import examination_of
from deepfake_service.db import (
    Case,
    Database,
    Job,
    Media,
    Notice,
    Occurrence,
    current_time,
    new_id,
)
from deepfake_service.db.enums import Finding, JobState, NoticeState
from deepfake_service.db.row_authentication import load_list
from deepfake_service.errors import (
    DatabaseUnavailable,
    NotFound,
    NoticeRefused,
)
from deepfake_service.notices.kinds import checked, kind_of
from deepfake_service.notices.render import Basis, Composed, NoticeSubject, Section, compose
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.storage import BlobMissing, Vault, open_json, seal_json

AGAINST = frozenset({Finding.REJECTED, Finding.UNDECIDED, Finding.AWAITING_SECOND})
"""Findings that no notice may rest on."""


class NoticeDesk:
    """Creates notices and follows them."""

    def __init__(
        self, database: Database, vault: Vault, *, issuer: str, two_people: bool = False
    ) -> None:
        self._database = database
        self._vault = vault
        self._issuer = issuer
        self._two_people = two_people

    def create(self, caller: Caller, case_id: str, request: NoticeRequest) -> dict[str, Any]:
        """Create a notice about occurrences of a case.

        Raises:
            NotFound: there is no such case or kind of notice. InvalidRequest: fields are missing or
                malformed; the error names each. NoticeRefused: the finding that the notice would
                rest on was not confirmed, or there is none.
        """
        kind = kind_of(request.kind)
        with self._database.write() as session:
            case, key = self._case(session, caller, case_id)
            # Reviews of the account's cases wait until this transaction ends.
            self._database.one_at_a_time(session, case.account_id)
            session.refresh(case)
            if case.wrapped_key is None:
                raise NotFound
            reference = open_json(key, case)["reference"]
            occurrences = self._occurrences(session, case, request.occurrence_ids)
            contents = [{"id": o.id, **open_occurrence(key, o)} for o in occurrences]
            if any(is_of_another_case(content, reference) for content in contents):
                raise field_error("occurrence_ids", "contains a post from another case")
            minor = case.minor_at is not None
            fields = checked(kind, request.fields, contents, minor=minor)
            if request.recipient is not None and not request.recipient.isprintable():
                raise field_error("recipient", "contains control characters or line breaks")
            basis = self._basis(session, case, key, {o.media_id for o in occurrences})
            subject = NoticeSubject(
                contents,
                basis,
                recipient=request.recipient,
                reference=reference,
                minor=minor,
            )
            composed = compose(kind, fields, subject, language=request.language)
            notice = Notice(
                id=new_id(),
                case_id=case_id,
                account_id=caller.account_id,
                kind=kind.id,
                language=request.language,
                state=NoticeState.DRAFTED,
                created_at=current_time(session),
            )
            content = {
                "recipient": request.recipient,
                "fields": fields.model_dump(mode="json"),
                "occurrence_ids": list(request.occurrence_ids),
                "basis": [asdict(b) for b in basis],
                "composed": asdict(composed),
                "receipt": None,
            }
            seal_json(key, notice, content)
            session.add(notice)
            append_entry(session, caller.actor, Action.NOTICE_MADE, notice.id, kind.id)
        return self._json(notice, content)

    def read(self, caller: Caller, notice_id: str) -> dict[str, Any]:
        """Return a notice with its fields and its text, and audit that it was read.

        Raises:
            NotFound: there is no such notice, or the caller may not see it.
        """
        with self._database.write() as session:
            notice, key = self._notice(session, caller, notice_id)
            append_entry(session, caller.actor, Action.NOTICE_READ, notice_id)
        return self._json(notice, open_json(key, notice))

    def pdf(self, caller: Caller, notice_id: str) -> bytes:
        """Return a notice as a PDF. See ``read`` for the errors."""
        notice = self.read(caller, notice_id)
        return composed_of(notice["words"]).pdf(
            notice["language"], datetime.fromisoformat(notice["created_at"]), self._issuer
        )

    def of_case(
        self, caller: Caller, case_id: str, *, limit: int = MAX_PAGE, cursor: str | None = None
    ) -> NoticePage:
        """Return a page of the notices of a case, newest first, without their texts.

        Raises:
            NotFound: there is no such case, or the caller may not see it. InvalidRequest: the
                cursor is invalid.
        """
        statement = select(Notice).where(Notice.case_id == case_id)
        if cursor is not None:
            statement = statement.where(older(Notice.created_at, Notice.id, cursor))
        statement = statement.order_by(Notice.created_at.desc(), Notice.id.desc())
        with self._database.read() as session:
            self._case(session, caller, case_id)
            listed = load_list(session, statement.limit(limit))
            cursor = next_cursor(session, statement, Notice, limit)
        return NoticePage([self._listed(n) for (n,) in listed.rows], cursor, listed.altered)

    def overdue(self, caller: Caller, limit: int = MAX_PAGE) -> list[dict[str, Any]]:
        """List the notices whose deadline has passed, the longest overdue first."""
        statement = (
            select(Notice)
            .join(Case, Notice.case_id == Case.id)
            .where(_is_overdue(self._database.clock()), visible_to(caller))
            .order_by(Notice.due_at)
            .limit(limit)
        )
        with self._database.read() as session:
            return [self._listed(n) for (n,) in load_list(session, statement).rows]

    def count_overdue(self) -> float:
        """Count the notices whose deadline has passed. NaN while the database does not answer."""
        counted = select(func.count(Notice.id)).where(_is_overdue(self._database.clock()))
        try:
            with self._database.read() as session:
                return float(session.scalar(counted) or 0)
        except DatabaseUnavailable:
            return math.nan

    def update(self, caller: Caller, notice_id: str, update: NoticeUpdate) -> dict[str, Any]:
        """Record that a notice was sent, received or answered.

        Raises:
            NotFound: there is no such notice, or the caller may not see it. InvalidRequest: the
                update contradicts the state of the notice.
        """
        with self._database.write() as session:
            notice, key = self._notice(session, caller, notice_id)
            session.refresh(notice, with_for_update=True)
            content = open_json(key, notice)
            apply_update(notice, update, current_time(session))
            if update.receipt is not None:
                content["receipt"] = update.receipt
                seal_json(key, notice, content)
            append_entry(session, caller.actor, Action.NOTICE_UPDATED, notice_id, notice.state)
        return self._json(notice, content)

    def mark_reversed(self, session: Session, case: Case, job: Job) -> None:
        """Mark the notices that rest on a job for withdrawal: its finding was reversed."""
        key = self._vault.case_key(case)
        for notice in session.scalars(select(Notice).where(Notice.case_id == case.id)):
            if (
                _rests_on(notice, key, job)
                and notice.state != NoticeState.WITHDRAWN
                and notice.withdraw_at is None
            ):
                _mark_for_withdrawal(session, notice)

    @staticmethod
    def mark_flagged(session: Session, case: Case) -> None:
        """Mark the notices of a case for withdrawal, as they do not say that a minor is shown."""
        for notice in session.scalars(
            select(Notice).where(
                Notice.case_id == case.id,
                Notice.state != NoticeState.WITHDRAWN,
                Notice.withdraw_at.is_(None),
            )
        ):
            _mark_for_withdrawal(session, notice)

    def mark_upheld(self, session: Session, case: Case, job: Job) -> None:
        """Remove the marks of ``mark_reversed``, after the finding was confirmed again."""
        if case.minor_at is not None:
            return
        key = self._vault.case_key(case)
        for notice in session.scalars(
            select(Notice).where(Notice.case_id == case.id, Notice.withdraw_at.is_not(None))
        ):
            if _rests_on(notice, key, job):
                notice.withdraw_at = None

    def _case(self, session: Session, caller: Caller, case_id: str) -> tuple[Case, bytes]:
        case, _ = find_visible(session, caller, Case, case_id)
        if case.wrapped_key is None:
            raise NotFound
        return case, self._vault.case_key(case)

    def _notice(self, session: Session, caller: Caller, notice_id: str) -> tuple[Notice, bytes]:
        notice, case = find_visible(session, caller, Notice, notice_id)
        if case.wrapped_key is None:
            raise NotFound
        return notice, self._vault.case_key(case)

    @staticmethod
    def _occurrences(session: Session, case: Case, ids: Sequence[str]) -> list[Occurrence]:
        occurrences = []
        for occurrence_id in dict.fromkeys(ids):
            occurrence = session.get(Occurrence, occurrence_id)
            if occurrence is None or occurrence.case_id != case.id:
                raise field_error("occurrence_ids", "contains a post from another case")
            occurrences.append(occurrence)
        return occurrences

    def _basis(self, session: Session, case: Case, key: bytes, media_ids: set[str]) -> list[Basis]:
        """Return the newest examination of each medium.

        Reviews count for all examinations of the same bytes: what was rejected in one examination
        must not be reported on the basis of another.
        """
        basis = []
        for media_id in sorted(media_ids):
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
            if job.evidence_expired_at is None and is_outdated(session, job.id):
                raise NoticeRefused(
                    "The evidence does not contain the last decision yet. Request the evidence, "
                    "and create the notice after that."
                )
            edition = newest_edition(session, job.id)
            basis.append(
                Basis(
                    sha256=digest,
                    verdict=str(job.verdict),
                    finding=job.finding,
                    job=job.id,
                    edition=edition.number if edition else 1,
                    examined_at=self._examined_at(job, key),
                )
            )
        return basis

    def _founding(self, jobs: Sequence[Job]) -> Job:
        """Return the examination that a notice may rest on.

        That is a confirmed one. Where reviews by two people are not required, it may also be one
        that nobody has reviewed and whose verdict is that a face is manipulated.
        """
        if not jobs:
            raise NoticeRefused("At least one of the selected posts has a file without a verdict.")
        if any(j.finding in AGAINST for j in jobs):
            raise NoticeRefused("The review did not confirm manipulation.")
        confirmed = [j for j in jobs if j.finding == Finding.CONFIRMED]
        if confirmed:
            return confirmed[0]
        if self._two_people:
            raise NoticeRefused("Two people have to confirm the finding before a notice is made.")
        if jobs[0].verdict != VerdictCode.LIKELY_MANIPULATED:
            raise NoticeRefused(
                'The verdict is not "probably manipulated", and no reviewer has confirmed '
                "manipulation."
            )
        return jobs[0]

    def _examined_at(self, job: Job, key: bytes) -> str:
        try:
            return str(examination_of(self._vault, job, key)["examined_at"])
        except BlobMissing:
            return str(iso_time(job.finished_at))

    def _listed(self, notice: Notice) -> dict[str, Any]:
        return _listed(notice, self._database.clock())

    def _json(self, notice: Notice, content: dict[str, Any]) -> dict[str, Any]:
        return {
            **self._listed(notice),
            "recipient": content["recipient"],
            "receipt": content["receipt"],
            "fields": content["fields"],
            "occurrence_ids": content["occurrence_ids"],
            "basis": content["basis"],
            "text": composed_of(content["composed"]).text(),
            "words": content["composed"],
        }


def composed_of(words: dict[str, Any]) -> Composed:
    """Return the text of a notice from its stored form."""
    return Composed(
        words["title"], words["opening"], [Section(**section) for section in words["sections"]]
    )


def _rests_on(notice: Notice, key: bytes, job: Job) -> bool:
    return any(b["job"] == job.id for b in open_json(key, notice)["basis"])


def _mark_for_withdrawal(session: Session, notice: Notice) -> None:
    notice.withdraw_at = current_time(session)
    append_entry(session, SERVICE, Action.NOTICE_TO_WITHDRAW, notice.id)


def _is_overdue(now: datetime) -> ColumnElement[bool]:
    return and_(Notice.state.in_(RUNNING), Notice.due_at < now)


def _listed(notice: Notice, now: datetime) -> dict[str, Any]:
    is_late = notice.state in RUNNING and notice.due_at and notice.due_at < now
    return {
        "id": notice.id,
        "case_id": notice.case_id,
        "kind": notice.kind,
        "language": notice.language,
        "state": notice.state,
        "created_at": iso_time(notice.created_at),
        "sent_at": iso_time(notice.sent_at),
        "due_at": iso_time(notice.due_at),
        "overdue": bool(is_late),
        "answered_at": iso_time(notice.answered_at),
        "withdraw": notice.withdraw_at is not None,
    }
