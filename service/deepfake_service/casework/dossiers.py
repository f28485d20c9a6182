"""The records of a job that go into an edition of its evidence, read from the database."""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from deepfake_service.casework.core.cases import (
    MAX_OCCURRENCES,
    is_of_another_case,
    open_occurrence,
)
from deepfake_service.casework.core.queries import iso_time
from deepfake_service.db import Account, AuditEntry, Case, Job, Media, Occurrence, Review
from deepfake_service.db.row_authentication import authenticator_of, refuse
from deepfake_service.security.audit_log import START, Action, entry_json
from deepfake_service.storage import open_json

CUSTODY_BATCH = 500
NOT_IN_CUSTODY = (Action.MATCH_FOUND, Action.CASE_READ, Action.RESULT_READ)
"""Actions that the chain of custody leaves out. Recipients of the evidence must not learn that the
item resembles another account's case, and viewing pages changes nothing. The audit log has them."""
READS = (Action.EVIDENCE_READ, Action.MEDIA_READ, Action.SCREENSHOT_READ)
MAX_READS_IN_CUSTODY = 5000
"""Reads that the chain of custody lists, the newest ones. Whoever may read evidence could otherwise
make the chain too large for a verifier."""


def occurrences_of(
    session: Session, media: Media, key: bytes, reference: str | None
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Return where a medium was seen, oldest first, and a description of what is left out.

    Beyond ``MAX_OCCURRENCES``, which earlier versions did not limit, occurrences are left out. Then
    the description has their ``count`` and the ``sha256`` of their canonical JSON (RFC 8785), each
    followed by a line break. Those of another case are left out without a description.

    Args:
        reference: the reference of the medium's case.
    """
    rows = session.scalars(
        select(Occurrence)
        .where(Occurrence.media_id == media.id)
        .order_by(Occurrence.created_at, Occurrence.id)
    )
    listed: list[dict[str, Any]] = []
    names: dict[str, str | None] = {}
    omitted, digest = 0, hashlib.sha256()
    for row in rows:
        content = open_occurrence(key, row)
        if is_of_another_case(content, reference):
            continue
        collector = content["collector"]
        if collector not in names:
            account = session.get(Account, collector)
            names[collector] = account.name if account else None
        occurrence = {
            "id": row.id,
            "recorded_at": iso_time(row.created_at),
            **content,
            "collector_name": names[collector],
        }
        if len(listed) < MAX_OCCURRENCES:
            listed.append(occurrence)
        else:
            omitted += 1
            digest.update(rfc8785.dumps(occurrence) + b"\n")
    return listed, {"count": omitted, "sha256": digest.hexdigest()} if omitted else None


def requester_of(session: Session, job: Job) -> str:
    """Return the name, kind and role of the account that asked for the examination."""
    account = session.get_one(Account, job.account_id)
    return f"{account.name} ({account.kind}, {account.role})"


def reviews_of(session: Session, job: Job, key: bytes) -> list[dict[str, Any]]:
    rows = session.execute(
        select(Review, Account)
        .join(Account, Review.account_id == Account.id)
        .where(Review.job_id == job.id)
        .order_by(Review.created_at)
    )
    return [
        {
            "at": iso_time(review.created_at),
            "account": account.id,
            "name": account.name,
            "role": account.role,
            "decision": review.decision,
            **open_json(key, review),
        }
        for review, account in rows
    ]


def custody_of(session: Session, job: Job, media: Media, case: Case) -> dict[str, Any]:
    """Return the entries of the audit log about a job, its medium and its case.

    Of those about reading, only the newest ``MAX_READS_IN_CUSTODY`` are included.

    Each has the hash of the entry before it in the log, so that its own hash can be recomputed.

    Raises:
        RecordAltered: an entry does not have its authentication code.
    """
    concerning = AuditEntry.subject.in_([job.id, media.id, case.id])
    is_read = AuditEntry.action.in_([str(a) for a in READS])
    last_left_out = session.scalars(
        select(AuditEntry.number)
        .where(concerning, is_read)
        .order_by(AuditEntry.number.desc())
        .offset(MAX_READS_IN_CUSTODY)
        .limit(1)
    ).first()
    entries = session.scalars(
        select(AuditEntry)
        .where(
            concerning,
            AuditEntry.action.not_in([str(a) for a in NOT_IN_CUSTODY]),
            or_(~is_read, AuditEntry.number > (last_left_out or 0)),
        )
        .order_by(AuditEntry.number)
    ).all()
    before: dict[int, str] = {}
    for start in range(0, len(entries), CUSTODY_BATCH):
        numbers = [e.number - 1 for e in entries[start : start + CUSTODY_BATCH]]
        previous = select(AuditEntry).where(AuditEntry.number.in_(numbers))
        before |= {e.number: e.hash for e in session.scalars(previous)}
    authenticator = authenticator_of(session)
    for entry in entries:
        if authenticator is not None and not authenticator.is_authentic(entry):
            raise refuse("audit", entry.number)
    ids = {e.account_id for e in entries if e.account_id}
    accounts = session.scalars(select(Account).where(Account.id.in_(ids)))
    return {
        "accounts": {a.id: {"name": a.name, "kind": a.kind, "role": a.role} for a in accounts},
        "entries": [
            {**entry_json(e), "hash": e.hash, "previous": before.get(e.number - 1, START)}
            for e in entries
        ],
    }
