"""Delete one medium, unless its case is under a legal hold."""

from __future__ import annotations

from deepfake_service.casework.core.case_lock import lock_case
from deepfake_service.db import Database, Media
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.storage import Vault


def expire(database: Database, vault: Vault, media_id: str) -> bool:
    """Delete a medium, and return whether it existed and was not under a hold.

    The key is deleted first, in the transaction that checks for a hold. If the process stops after
    that, the blob remains as an orphan that nobody can decrypt and that the sweep deletes.
    """
    with database.write() as session:
        media = session.get(Media, media_id)
        case = lock_case(session, media.case_id) if media else None
        if media is None or case is None or case.held_at is not None:
            return False
        session.refresh(media)
        if not media.blob:
            return False
        blob, media.blob, media.wrapped_key = media.blob, None, None
        append_entry(session, SERVICE, Action.MEDIA_EXPIRED, media_id)
    vault.blobs.delete(blob)
    return True
