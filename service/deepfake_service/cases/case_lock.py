"""The lock under which a case is deleted from, held, flagged and reviewed."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from deepfake_service.platform.db import Capture, Case, Job, Media, Occurrence
from deepfake_service.platform.enums import JobState
from deepfake_service.platform.errors import Code, Conflict, NotFound

OfCase = TypeVar("OfCase", Capture, Job, Media, Occurrence)


def lock_case(session: Session, case_id: str) -> Case | None:
    """Return a case as it is now, and exclude other transactions that lock it until this one ends.

    Every path that deletes asks for the legal hold of the case that this returns, in the
    transaction that deletes or that makes the deletion certain. A hold is set under the same lock,
    so that a hold that was acknowledged is never deleted over. Lock the case before any of its
    rows, and before an entry is appended to the audit log: otherwise two transactions may wait for
    each other.
    """
    return session.get(Case, case_id, with_for_update=True, populate_existing=True)


def lock_open_case(session: Session, case_id: str) -> Case:
    """Lock a case, as ``lock_case`` does, that still has its key; ``NotFound`` if there is no such
    case any more, or it is being shredded."""
    case = lock_case(session, case_id)
    if case is None or case.wrapped_key is None:
        raise NotFound
    return case


def lock_deletable(session: Session, case_id: str) -> Case:
    """Lock a case from which something is about to be deleted; ``NotFound`` if there is no such
    case any longer, ``Conflict`` if the case is under a legal hold."""
    case = lock_case(session, case_id)
    if case is None:
        raise NotFound
    if case.held_at is not None:
        raise Conflict(code=Code.CASE_HELD)
    return case


def lock_with_case(session: Session, model: type[OfCase], row_id: str) -> OfCase | None:
    """Lock the case of a row, then the row, and return it as it is now; ``None`` if there is no
    such row any longer."""
    known = session.get(model, row_id)
    if known is None or lock_case(session, known.case_id) is None:
        return None
    return session.get(model, row_id, with_for_update=True, populate_existing=True)


def lock_unheld(
    session: Session, model: type[OfCase], row_id: str, due: Select[str] | None = None
) -> OfCase | None:
    """Do what ``lock_with_case`` does; ``None`` also if the case is under a legal hold, or the row
    is not among the ids that are ``due`` any longer."""
    row = lock_with_case(session, model, row_id)
    if row is None or session.get_one(Case, row.case_id).held_at is not None:
        return None
    is_due = due is None or session.scalars(due.where(model.id == row_id)).first() is not None
    return row if is_due else None


def is_being_deleted(session: Session, case: Case) -> bool:
    """Return whether the deletion of a locked case, or of one of its items, has begun. Such a
    deletion is completed whatever happens, so that a hold would come too late."""
    cancelled = select(Job.id).where(Job.case_id == case.id, Job.state == JobState.CANCELLED)
    return case.wrapped_key is None or session.scalars(cancelled.limit(1)).first() is not None
