"""``GET /v1/audit``: the audit log, for auditors."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field

from deepfake_service.audit import log as audit_log
from deepfake_service.http.auth import Auditor
from deepfake_service.http.routing import api_router
from deepfake_service.platform.answers import EXAMPLE_ID, Published

router = api_router("audit")


class AuditOut(Published):
    """Entries in the order in which they were written."""

    entries: list[audit_log.Entry] = Field(description="The entries, oldest first.")


@router.get("/audit", summary="Read the audit log")
def read_audit_log(
    call: Auditor,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="Entries after this number.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Entries in the answer.")] = 100,
    subject: Annotated[
        str | None,
        Query(max_length=26, description="Only entries about this id.", examples=[EXAMPLE_ID]),
    ] = None,
) -> AuditOut:
    """Return entries in order. They have neither content nor file names. To read on, send the
    number of the last entry as `after`. An answer with fewer entries than `limit` is the last one:
    each read adds an entry itself, so that there would be one more every time."""
    with call.state.database.read() as session:
        entries = audit_log.page(session, after=after, limit=limit, subject=subject)
    with call.state.database.write() as session:
        audit_log.append_entry(session, call.caller.actor, audit_log.Action.AUDIT_READ, subject)
    return AuditOut(entries=[audit_log.entry_of(row) for row in entries])
