"""The page of the audit log."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, literal, select, union_all

from deepfake_service.audit import log as audit_log
from deepfake_service.cases.cases import OF_CASE
from deepfake_service.platform.clock import Day
from deepfake_service.platform.db import AuditEntry, Case, Job, Notice
from deepfake_service.platform.enums import Role
from deepfake_service.web.pages import Auditor, PageRoute

router = APIRouter(include_in_schema=False, route_class=PageRoute)

AUDIT_PAGE = 200
ID = re.compile(r"[0-9a-z]{26}")
PAGES = (("items", Job), ("cases", Case), ("notices", Notice))
"""The pages of what entries are about."""


def zone_named(name: str) -> tzinfo:
    """Return the time zone with a name of the IANA database, or UTC if it is not known here."""
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):  # a folder of the database is no zone
        return UTC


class AuditQuery(BaseModel):
    """The query parameters of the audit log."""

    before: Annotated[int | None, Field(ge=0, le=2**63 - 1)] = None
    """Entries before this number; not a filter."""
    account: Annotated[str, Field(max_length=26)] = ""
    action: Annotated[str, Field(max_length=64)] = ""
    subject: Annotated[str, Field(max_length=200)] = ""
    """An id, or the reference of a case: then also what is in it."""
    since: Day | Literal[""] = ""
    """The first day."""
    until: Day | Literal[""] = ""
    """The last day."""
    zone: Annotated[str, Field(max_length=64)] = ""
    """The time zone of the days, which is that of the page; not a filter by itself."""

    @property
    def filtering(self) -> dict[str, object]:
        """The filters that are set, as query parameters."""
        exclude = {"before"} if self.since or self.until else {"before", "zone"}
        return self.model_dump(exclude=exclude, exclude_defaults=True)

    def conditions(self, cases: Sequence[str]) -> Iterator[ColumnElement[bool]]:
        """Yield the filters as the database applies them: days begin and end at midnight in the
        zone. ``cases`` are the ids of the cases that the subject names."""
        zone = zone_named(self.zone)

        def midnight(day: date) -> datetime:
            return datetime.combine(day, time(), zone).astimezone(UTC)

        if self.before is not None:
            yield AuditEntry.number < self.before
        if self.account:
            yield AuditEntry.account_id == self.account
        if self.action:
            yield AuditEntry.action == self.action
        if self.subject.strip():
            named = select(literal(self.subject.strip()))
            inside = (select(model.id).where(model.case_id.in_(cases)) for model in OF_CASE)
            own = select(Case.id).where(Case.id.in_(cases))
            yield AuditEntry.subject.in_(union_all(named, own, *inside))
        if self.since:
            yield AuditEntry.at >= midnight(self.since)
        if self.until:
            yield AuditEntry.at < midnight(self.until + timedelta(days=1))


@router.get("/audit")
def get_audit(visit: Auditor, query: Annotated[AuditQuery, Query()]) -> Response:
    """Show a page of the audit log, newest first. Reading it is logged, without the reference of a
    case that was asked for: administrators alone see those."""
    state, book, caller = visit.state, visit.services.cases, visit.caller
    subject = query.subject.strip()
    with state.database.write() as session:
        cases = book.named(session, subject) if subject else []
        read = subject if ID.fullmatch(subject) else next(iter(cases), None)
        audit_log.append_entry(session, caller.actor, audit_log.Action.AUDIT_READ, read)
        found = select(AuditEntry).where(*query.conditions(cases))
        newest = found.order_by(AuditEntry.number.desc()).limit(AUDIT_PAGE + 1)
        entries = [audit_log.entry_of(row) for row in session.scalars(newest)]
        links, references = dict[str, str](), dict[str, str]()
        if caller.role is Role.ADMIN:
            subjects = {str(entry.subject) for entry in entries}
            links = {
                row_id: f"/{folder}/{row_id}"
                for folder, model in PAGES
                for row_id in session.scalars(select(model.id).where(model.id.in_(subjects)))
            }
            references = book.references(session, subjects)
    return visit.page(
        "audit.html",
        entries=entries[:AUDIT_PAGE],
        older=entries[AUDIT_PAGE - 1].number if len(entries) > AUDIT_PAGE else None,
        links=links,
        references=references,
        query=query,
        zone_name=state.database.clock().astimezone(zone_named(query.zone)).tzname() or "UTC",
        names={account.id: account.name for account in state.accounts.all()},
        actions=[str(action) for action in audit_log.Action],
    )
