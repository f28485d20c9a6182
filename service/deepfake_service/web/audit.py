"""The page of the audit log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.db import Case, Job, Notice
from deepfake_service.db.enums import Role
from deepfake_service.http.auth import PageAuditor
from deepfake_service.http.dependencies import AppStateDep
from deepfake_service.security import audit_log
from deepfake_service.web.pages import PageRoute, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)

AUDIT_PAGE = 200
PAGES = (("items", Job), ("cases", Case), ("notices", Notice))
"""The pages of what entries are about."""


class AuditQuery(BaseModel):
    """The query parameters of the audit log."""

    before: Annotated[int | None, Field(ge=0, le=2**63 - 1)] = None
    """Entries before this number; not a filter."""
    account: Annotated[str, Field(max_length=26)] = ""
    action: Annotated[str, Field(max_length=64)] = ""
    subject: Annotated[str, Field(max_length=26)] = ""

    @property
    def filtering(self) -> dict[str, str]:
        """The filters that are set, as query parameters."""
        return self.model_dump(exclude={"before"}, exclude_defaults=True)


@router.get("/audit")
def get_audit(
    request: Request, caller: PageAuditor, state: AppStateDep, query: Annotated[AuditQuery, Query()]
) -> Response:
    """Show a page of the audit log, newest first. Reading it is logged."""
    subject = query.subject.strip() or None
    with state.database.write() as session:
        audit_log.append_entry(session, caller.actor, audit_log.Action.AUDIT_READ, subject)
        rows = audit_log.newest(
            session,
            before=query.before,
            limit=AUDIT_PAGE + 1,
            account_id=query.account or None,
            action=query.action or None,
            subject=subject,
        )
        entries = [audit_log.entry_json(row) for row in rows]
        links = _links(session, entries) if caller.role is Role.ADMIN else {}
    accounts = state.accounts.all()
    return page(
        request,
        "audit.html",
        caller,
        entries=entries[:AUDIT_PAGE],
        older=entries[AUDIT_PAGE - 1]["number"] if len(entries) > AUDIT_PAGE else None,
        links=links,
        query=query,
        accounts=accounts,
        names={account.id: account.name for account in accounts},
        actions=[str(action) for action in audit_log.Action],
    )


def _links(session: Session, entries: list[dict[str, Any]]) -> dict[str, str]:
    """Return the paths of the items, cases and notices that entries are about, by id."""
    subjects = {entry["subject"] for entry in entries}
    return {
        row_id: f"/{folder}/{row_id}"
        for folder, model in PAGES
        for row_id in session.scalars(select(model.id).where(model.id.in_(subjects)))
    }
