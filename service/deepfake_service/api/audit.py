"""``GET /v1/audit``: the audit log, for auditors."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field

from deepfake_service.audit import log as audit_log
from deepfake_service.http.auth import Auditor
from deepfake_service.http.routing import api_router
from deepfake_service.platform.answers import EXAMPLE_ID, ItemId, Published, Time

router = api_router("audit")


class AuditEntryOut(Published):
    """Who did what, when, to which item, and with which key."""

    number: int = Field(description="Number of the entry, from 1 without gaps.")
    at: Time = Field(description="When it was written.")
    account: ItemId | None
    """Id of the account that acted; null if the service did."""
    key: str | None = Field(description="Id of the key that was used; null if the service acted.")
    action: Annotated[str, Field(examples=["result.read"])] = Field(description="What was done.")
    subject: ItemId | None = Field(description="Id of what it was done to.")
    detail: str | None = Field(description="A code or an id that belongs to the action.")


class AuditOut(Published):
    """Entries in the order in which they were written."""

    entries: list[AuditEntryOut] = Field(description="The entries, oldest first.")


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
    return AuditOut.model_validate({"entries": [audit_log.entry_json(e) for e in entries]})
