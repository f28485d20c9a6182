"""Deleting one medium, unless a legal hold keeps it."""

from __future__ import annotations

from deepfake_service.db import Case, Database, Media
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.storage import Vault


def expire(database: Database, vault: Vault, media_id: str) -> bool:
    """Delete a medium; whether it was there and no hold keeps it.

    Its key goes first, in the transaction that looks for a hold. Should the rest be interrupted,
    what is left is an orphan that nothing opens and the sweep deletes.
    """
    with database.write() as session:
        media = session.get(Media, media_id, with_for_update=True)
        if media is None or not media.blob:
            return False
        if session.get_one(Case, media.case_id, with_for_update=True).held_at is not None:
            return False
        blob, media.blob, media.wrapped_key = media.blob, None, None
        append_entry(session, SERVICE, Action.MEDIA_EXPIRED, media_id)
    vault.blobs.delete(blob)
    return True
