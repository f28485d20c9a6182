"""The flag that a person shown in a case may be a minor, and what it follows by digest."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.casework.core.blind_index import BlindIndex
from deepfake_service.db import Case, FlaggedHashes, Media, current_time
from deepfake_service.security.audit_log import Action, Actor, append_entry


@dataclass(frozen=True, slots=True)
class MinorFlag:
    """A flag to set on a case."""

    account_id: str | None
    """The account that decided on the flag. It, and administrators, can remove it."""
    origin: str | None = None
    """The id of the case whose flag this one follows; ``None`` if a person flagged this case."""


def digest_of(blind_index: BlindIndex, sha256: str) -> str:
    """Return the blind-index digest by which the flag of some bytes is found."""
    return blind_index.of("flagged", sha256)


def flag_of_bytes(session: Session, blind_index: BlindIndex, sha256: str) -> MinorFlag | None:
    """Return the flag that a submission of these bytes follows, if there is one.

    The flagged case may have been deleted in the meantime.
    """
    case = session.scalars(
        select(Case)
        .join(Media, Media.case_id == Case.id)
        .where(Media.sha256 == sha256, Case.minor_at.is_not(None))
        .limit(1)
    ).first()
    if case is not None:
        return MinorFlag(case.minor_by, case.minor_from or case.id)
    hashes = session.scalars(
        select(FlaggedHashes).where(FlaggedHashes.digest == digest_of(blind_index, sha256)).limit(1)
    ).first()
    return MinorFlag(hashes.flagged_by, hashes.case_id) if hashes is not None else None


def set_flag(session: Session, actor: Actor, case: Case, flag: MinorFlag | None) -> None:
    """Set the flag of a case, or remove it (``None``), and audit that."""
    case.minor_at = current_time(session) if flag else None
    case.minor_by = flag.account_id if flag else None
    case.minor_from = flag.origin if flag else None
    action = Action.MINOR_FLAGGED if flag else Action.MINOR_UNFLAGGED
    append_entry(session, actor, action, case.id)
