"""Notices of a case: create them, record what becomes of them, and mark them for withdrawal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.read_audit import ReadAudit
from deepfake_service.accounts.visibility import OfCase, find_visible, visible_to
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.cases.case_lock import lock_open_case
from deepfake_service.cases.cases import open_post
from deepfake_service.cases.notice_history import NoticeHistory
from deepfake_service.cases.posts import Post
from deepfake_service.notices.basis import (
    basis_of,
    confirmed_job,
    supporting_reviews,
)
from deepfake_service.notices.compose import Basis, NoticeSubject, compose, text_of
from deepfake_service.notices.documents import NoticeDocuments
from deepfake_service.notices.kinds import Kind, kind_of
from deepfake_service.notices.shapes import (
    FullNotice,
    NoticeContent,
    NoticeList,
    NoticeOfCase,
    NoticeSummary,
    content_of,
    facts_of,
)
from deepfake_service.notices.states import (
    NoticePart,
    NoticeRequest,
    NoticeUpdate,
    apply_update,
    condition_of,
    is_overdue,
    require_shown,
)
from deepfake_service.platform.db import (
    Case,
    Database,
    Media,
    Notice,
    Occurrence,
    current_time,
    new_id,
)
from deepfake_service.platform.enums import NoticeEventKind, NoticeState
from deepfake_service.platform.errors import (
    Conflict,
    FieldError,
    InvalidRequest,
    invalid_field,
)
from deepfake_service.platform.pagination import MAX_PAGE, ListPage, page_of
from deepfake_service.platform.storage import Vault, open_json, seal_json
from deepfake_service.platform.storage.sealed_columns import opened_rows

A_DAY = timedelta(days=1)
"""The day of a person may be that much ahead of the service's."""


Listener = Callable[[Session, bytes, Notice, Sequence[str], bool], None]
"""Is told, in the transaction, that a notice about these posts was sent, answered or withdrawn, or
was not sent after all, and whether its recipient can remove them: ``removal.watches``."""


@dataclass
class NoticeDesk:
    """Creates notices and follows them.

    Raises from each method that has a caller:
        NotFound: there is no such case or notice, or the caller may not see it.
    """

    _database: Database
    _vault: Vault
    _documents: NoticeDocuments
    _listener: Listener

    def __post_init__(self) -> None:
        self._read_audit = ReadAudit(self._database)

    def create(self, caller: Caller, case_id: str, request: NoticeRequest) -> FullNotice:
        """Create a notice about occurrences of a case; ``InvalidRequest`` if fields are missing or
        malformed, naming each, ``Conflict`` if the finding that it would rest on was not
        confirmed, or there is none."""
        kind = kind_of(request.kind)
        language = request.language or kind.language
        sender = self._documents.sender.lines(language)
        consent = request.without_consent
        if consent is not None:
            self._require_own_words(kind, request)
        with self._database.write() as session:
            case, key = self._lock_case(session, caller, case_id)
            posts = _posts_of(session, key, case, request.occurrence_ids)
            minor = case.minor_at is not None
            fields = kind.check(request.fields, posts, minor=minor, manipulated=not consent)
            latest = current_time(session).date() + A_DAY
            if consent is not None and consent.stated_on > latest:
                raise invalid_field("without_consent.stated_on", "in the future")
            for name, field in kind.fields.items():
                if field.type == "date" and str(fields.get(name) or "") > latest.isoformat():
                    raise invalid_field(f"fields.{name}", "in the future")
            require_shown("recipient", request.recipient, lines=False)
            subject = self._subject(session, case, kind, posts, request)
            content = NoticeContent(
                recipient=request.recipient,
                fields=fields,
                occurrence_ids=list(request.occurrence_ids),
                basis=list(subject.basis),
                without_consent=consent,
                composed=compose(kind, fields, subject, language=language),
                sender=list(sender),
                captures=subject.captures,
            )
            notice = Notice(
                id=new_id(),
                case_id=case_id,
                account_id=caller.account_id,
                kind=kind.id,
                language=language,
                state=NoticeState.DRAFTED,
                created_at=current_time(session),
            )
            seal_json(key, notice, content.model_dump(mode="json"))
            session.add(notice)
            session.flush()
            history = NoticeHistory(session, key, notice)
            digest = hashlib.sha256(text_of(content.composed).encode()).hexdigest()
            history.append(NoticeEventKind.CREATED, caller.actor, document_sha256=digest)
            return self._whole(notice, content, history)

    def _lock_case(self, session: Session, caller: Caller, case_id: str) -> tuple[Case, bytes]:
        """Lock a case, and let reviews of its account's cases wait until the transaction ends."""
        case, _ = self._find(session, caller, Case, case_id)
        self._database.one_at_a_time(session, case.account_id)
        case = lock_open_case(session, case_id)
        return case, self._vault.case_key(case)  # another one if the case was emptied meanwhile

    def _subject(
        self,
        session: Session,
        case: Case,
        kind: Kind,
        posts: Sequence[Post],
        request: NoticeRequest,
    ) -> NoticeSubject:
        """Return what a notice is about, with the findings that it rests on."""
        media = sorted({post.media_id for post in posts})
        basis: list[Basis] = []
        if request.without_consent is None:
            found = (basis_of(session, self._vault, case, m, request.reports) for m in media)
            basis = [b if request.review_reasons else replace(b, reasons=[]) for b in found]
        minor = case.minor_at is not None
        return NoticeSubject(
            posts,
            basis,
            recipient=request.recipient,
            reference=open_json(self._vault.case_key(case), case)["reference"],
            minor=minor,
            captures=request.captures if kind.needs_screenshot and not minor else None,
            without_consent=request.without_consent,
            files=[session.get_one(Media, media_id).sha256 for media_id in media],
        )

    def _require_own_words(self, kind: Kind, request: NoticeRequest) -> None:
        """Refuse the standard statements of the organisation: they are for claims of forgery."""
        kept = self._documents.sender.organisation().statements
        errors = [
            FieldError(
                f"fields.{name}",
                "the standard statement of the organisation is for claims that content is "
                "manipulated; state in other words what was shared without consent",
            )
            for name, text in request.fields.items()
            if str(text).split() == kept.get(f"{kind.id}.{name}", "").split() != []
        ]
        if errors:
            raise InvalidRequest(errors=errors)

    def grounds(
        self, caller: Caller, case_id: str, media_ids: Iterable[str]
    ) -> dict[str, list[str] | Conflict]:
        """Return the reasons of the finding about each of some media of a case, or why no notice
        can be made about it. The caller audits that the case is read."""
        found: dict[str, list[str] | Conflict] = {}
        with self._database.read() as session:
            case, key = self._find(session, caller, Case, case_id)
            for media_id in media_ids:
                try:
                    job = confirmed_job(session, case, media_id)
                    reviews = supporting_reviews(session, job, key)
                    found[media_id] = [r.reason for r in reviews if r.reason]
                except Conflict as error:
                    found[media_id] = error
        return found

    def read(self, caller: Caller, notice_id: str) -> FullNotice:
        """Return a notice with its fields and its text, and audit that it was read."""
        with self._database.write() as session:
            notice, key = self._find(session, caller, Notice, notice_id)
            append_entry(session, caller.actor, Action.NOTICE_READ, notice_id)
            history = NoticeHistory(session, key, notice)
            return self._whole(notice, content_of(key, notice), history)

    def pdf(self, caller: Caller, notice_id: str) -> bytes:
        """Return the PDF of a notice: see ``NoticeDocuments.pdf``."""
        with self._database.read() as session:
            notice, key = self._find(session, caller, Notice, notice_id)
        content = self._documents.pdf(caller.actor, notice, key)
        with self._database.write() as session:
            append_entry(session, caller.actor, Action.NOTICE_READ, notice_id)
        return content

    def of_case(
        self, caller: Caller, case_id: str, *, limit: int = MAX_PAGE, cursor: str | None = None
    ) -> ListPage[NoticeSummary]:
        """Return a page of the notices of a case, newest first, without their texts;
        ``InvalidRequest`` if the cursor is invalid. The caller audits that the case is read."""
        with self._database.read() as session:
            _, key = self._find(session, caller, Case, case_id)
            statement = select(Notice).where(Notice.case_id == case_id)
            rows, following = page_of(session, statement, Notice, limit, cursor)
        opened = opened_rows(rows, lambda r: open_json(key, r[0]))
        facts = ({**facts_of(n, self.now()), "recipient": to["recipient"]} for (n,), to in opened)
        return ListPage([NoticeSummary.model_validate(each) for each in facts], following)

    def of_part(
        self, caller: Caller, part: NoticePart, *, start: int = 0, limit: int | None = None
    ) -> NoticeList:
        """Return a page of the notices of a part that the caller may see, after the first ``start``
        of them. Audited once in ten minutes: it has recipients and references."""
        limit = MAX_PAGE if limit is None else limit
        condition, order = condition_of(part, self.now())
        seen = condition, Case.wrapped_key.is_not(None), visible_to(caller)
        rows = select(Notice, Case).join(Case, Notice.case_id == Case.id).where(*seen)
        counted = select(func.count(Notice.id)).join(Case, Notice.case_id == Case.id).where(*seen)
        with self._database.read() as session:
            shown = session.execute(rows.order_by(order, Notice.id).offset(start).limit(limit))
            notices = [notice for _, notice in opened_rows(shown, self._of_case)]
            total = session.scalar(counted) or 0
        if notices:
            self._read_audit.note(caller, Action.NOTICE_READ, detail="list")
        return NoticeList(notices, start, total, min(start + limit, total))

    def now(self) -> datetime:
        """Return the time by which deadlines are compared."""
        return self._database.clock()

    def count_overdue(self) -> int:
        """Count the notices whose deadline has passed."""
        counted = select(func.count(Notice.id)).where(is_overdue(self.now()))
        with self._database.read() as session:
            return session.scalar(counted) or 0

    def update(self, caller: Caller, notice_id: str, update: NoticeUpdate) -> FullNotice:
        """Record that a notice was sent, received or answered; ``InvalidRequest`` if the update
        contradicts the state of the notice."""
        with self._database.write() as session:
            notice, key = self._find(session, caller, Notice, notice_id)
            lock_open_case(session, notice.case_id)
            session.refresh(notice)
            content = content_of(key, notice)
            history = NoticeHistory(session, key, notice)
            now = current_time(session)
            for kind in apply_update(notice, update, history.undo_until(), now):
                receipt = update.receipt if kind is NoticeEventKind.RECEIPT else None
                reason = update.reason if kind is NoticeEventKind.SENT else None
                if receipt is not None:
                    content = content.model_copy(update={"receipt": receipt})
                    seal_json(key, notice, content.model_dump(mode="json"))
                history.append(kind, caller.actor, receipt=receipt, reason=reason)
                if kind is not NoticeEventKind.RECEIPT:
                    posts, removes = content.occurrence_ids, kind_of(notice.kind).removes
                    self._listener(session, key, notice, posts, removes)
            return self._whole(notice, content, history)

    def _find(
        self, session: Session, caller: Caller, table: type[OfCase], row_id: str
    ) -> tuple[OfCase, bytes]:
        row, case = find_visible(session, caller, table, row_id)
        return row, self._vault.case_key(case)

    def _of_case(self, row: tuple[Notice, Case]) -> NoticeOfCase:
        notice, case = row
        key = self._vault.case_key(case)
        return NoticeOfCase.model_validate(
            {
                **facts_of(notice, self.now()),
                "case_reference": open_json(key, case)["reference"],
                "recipient": open_json(key, notice)["recipient"],
            }
        )

    def _whole(self, notice: Notice, content: NoticeContent, history: NoticeHistory) -> FullNotice:
        return FullNotice.model_validate(
            {
                **facts_of(notice, self.now()),
                **{name: getattr(content, name) for name in _SHOWN},
                "text": text_of(content.composed),
                "history": history.events(),
                "undo_until": history.undo_until(),
            }
        )


_SHOWN = FullNotice.model_fields.keys() & NoticeContent.model_fields.keys()


def _posts_of(session: Session, key: bytes, case: Case, ids: Sequence[str]) -> list[Post]:
    posts = []
    for occurrence_id in dict.fromkeys(ids):
        occurrence = session.get(Occurrence, occurrence_id)
        if occurrence is None or occurrence.case_id != case.id:
            raise invalid_field("occurrence_ids", "contains a post from another case")
        posts.append(open_post(key, occurrence))
    return posts
