"""``GET /v1/audit``: the audit log, for auditors."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request

from deepfake_service.http.auth import current_caller
from deepfake_service.http.dependencies import AppState, app_state
from deepfake_service.http.problems import problems
from deepfake_service.http.schemas import Published
from deepfake_service.security import audit_log as log
from deepfake_service.security.accounts import MAY_AUDIT, Caller, authorize

router = APIRouter(prefix="/v1", tags=["audit"])


class AuditEntryOut(Published):
    """Who did what to which item, when, with which key."""

    number: int
    at: str
    account: str | None
    key: str | None
    action: str
    subject: str | None
    detail: str | None


class AuditOut(Published):
    """Entries in order."""

    entries: list[AuditEntryOut]


async def auditor(caller: Annotated[Caller, Depends(current_caller)]) -> Caller:
    """The caller, who may read the audit log.

    Raises:
        Forbidden: they may not.
    """
    authorize(caller, MAY_AUDIT)
    return caller


@router.get("/audit", summary="Read the audit log", responses=problems(401, 403, 422, 503))
async def get_audit(
    request: Request,
    caller: Annotated[Caller, Depends(auditor)],
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="Entries after this number.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    subject: Annotated[str | None, Query(max_length=26, description="About this id alone.")] = None,
) -> AuditOut:
    """Entries in order; no content and no file names. Reading is an entry of its own."""
    return await anyio.to_thread.run_sync(_page, app_state(request), caller, after, limit, subject)


def _page(state: AppState, caller: Caller, after: int, limit: int, subject: str | None) -> AuditOut:
    with state.database.read() as session:
        entries = log.page(session, after=after, limit=limit, subject=subject)
    with state.database.write() as session:
        log.append_entry(session, caller.actor, log.Action.AUDIT_READ, subject)
    return AuditOut.model_validate({"entries": [log.entry_json(e) for e in entries]})
