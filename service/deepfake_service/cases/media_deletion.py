"""When a medium expires, and its deletion with its screenshots, unless its case is under a hold."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Select, select

from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.cases.case_lock import lock_unheld
from deepfake_service.cases.cases import screenshot_of
from deepfake_service.platform.db import Case, Database, Job, Media, Occurrence
from deepfake_service.platform.storage import BlobMissing, Vault


def expiry_of(job: Job, media: Media, case: Case, after_review: timedelta) -> datetime | None:
    """Return when the medium of a job expires, as ``retention.due.due_media`` selects it; ``None``
    if that is not known yet, or it is deleted."""
    at = media.expires_at if media.blob else None
    if at and case.reviewed_at and case.reviewed_at >= media.created_at:
        at = min(at, case.reviewed_at + after_review)
    return max(at, job.awaited_until + after_review) if at and job.awaited_until else at


def expire(database: Database, vault: Vault, media_id: str, due: Select[str] | None = None) -> None:
    """Delete a medium, unless it is under a hold or not among those that are ``due`` any longer.

    The key is deleted first, in the transaction that checks for a hold. If the process stops after
    that, the blob remains as an orphan that nobody can decrypt and that the sweep deletes. The
    screenshots of where it was seen show what it shows, and are deleted with it.
    """
    with database.write() as session:
        media = lock_unheld(session, Media, media_id, due)
        if media is None or not media.blob:
            return
        blob, media.blob, media.wrapped_key = media.blob, None, None
        append_entry(session, SERVICE, Action.MEDIA_EXPIRED, media_id)
    vault.blobs.delete(blob)
    with database.read() as session:
        occurrences = session.scalars(
            select(Occurrence.id).where(
                Occurrence.media_id == media_id, Occurrence.screenshot_expired_at.is_(None)
            )
        ).all()
    for occurrence_id in occurrences:
        expire_screenshot(database, vault, occurrence_id)


def expire_screenshot(database: Database, vault: Vault, occurrence_id: str) -> None:
    """Delete the screenshot of an occurrence if there is one, unless its case is under a hold."""
    with database.read() as session:
        known = session.get(Occurrence, occurrence_id)
    if known is None:
        return
    # Before the transaction: a store that does not answer would hold up all other writers. A
    # screenshot is stored before its occurrence, so none appears meanwhile.
    name = screenshot_of(known.case_id, occurrence_id)
    exists = True
    try:
        vault.blobs.open(name)
    except BlobMissing:
        exists = False
    with database.write() as session:
        occurrence = lock_unheld(session, Occurrence, occurrence_id)
        if occurrence is None:
            return
        occurrence.screenshot_expired_at = database.clock()
        if exists:
            append_entry(session, SERVICE, Action.SCREENSHOT_EXPIRED, occurrence_id)
    vault.blobs.delete(name)
