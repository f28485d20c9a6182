"""``GET /v1/audit``: the audit log, for auditors."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from deepfake_service.http.auth import Auditor
from deepfake_service.http.dependencies import AppStateDep
from deepfake_service.http.problems import problems
from deepfake_service.http.routing import api_router
from deepfake_service.http.schemas import Published
from deepfake_service.security import audit_log

router = api_router("audit")


class AuditEntryOut(Published):
    """Who did what, when, to which item, and with which key."""

    number: int
    at: str
    account: str | None
    key: str | None
    action: str
    subject: str | None
    detail: str | None


class AuditOut(Published):
    """Entries in the order in which they were written."""

    entries: list[AuditEntryOut]


@router.get("/audit", summary="Read the audit log", responses=problems(401, 403, 422, 503))
def get_audit(
    caller: Auditor,
    state: AppStateDep,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="Entries after this number.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    subject: Annotated[
        str | None, Query(max_length=26, description="Only entries about this id.")
    ] = None,
) -> AuditOut:
    """Return entries in order. They have neither content nor file names. Each read adds an entry
    itself."""
    with state.database.read() as session:
        entries = audit_log.page(session, after=after, limit=limit, subject=subject)
    with state.database.write() as session:
        audit_log.append_entry(session, caller.actor, audit_log.Action.AUDIT_READ, subject)
    return AuditOut.model_validate({"entries": [audit_log.entry_json(e) for e in entries]})
