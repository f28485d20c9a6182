"""Which accounts may see and delete what."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import ColumnElement, exists, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from deepfake_service.accounts.accounts import MAY_READ_ALL, Caller
from deepfake_service.platform.db import Capture, Case, Job, Media, Notice, Occurrence
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.errors import NotFound

OfCase = TypeVar("OfCase", bound=Capture | Case | Job | Media | Notice | Occurrence)


def visible_to(caller: Caller) -> ColumnElement[bool]:
    """Return the condition, in a query on ``Case``, that a caller may see its content.

    If a person shown may be a minor, only the account of the case, the account that raised the
    flag, the reviewers whom one of them named, and administrators may.
    """
    if caller.role is Role.ADMIN:
        return true()
    own = or_(
        Case.account_id == caller.account_id,
        Case.minor_by == caller.account_id,
        Case.reviewers.contains(caller.account_id, autoescape=True),
    )
    return or_(own, Case.minor_at.is_(None)) if caller.role in MAY_READ_ALL else own


def find_visible(
    session: Session, caller: Caller, model: type[OfCase], row_id: str
) -> tuple[OfCase, Case]:
    """Return the row of ``model`` with this id, and the case that it belongs to; ``NotFound`` if
    there is no such row, it belongs to an item that was deleted, or the caller may not see its
    case."""
    row = session.get(model, row_id)
    if row is None:
        raise NotFound
    case_id = row.id if isinstance(row, Case) else row.case_id
    seen = select(Case).where(Case.id == case_id, visible_to(caller))
    case = session.scalars(seen).first()
    if case is None:
        raise NotFound
    if isinstance(row, Job) and row.state == JobState.CANCELLED:
        raise NotFound
    if isinstance(row, Media | Occurrence):
        medium_id = row.id if isinstance(row, Media) else row.media_id
        if not session.scalar(select(is_kept(medium_id))):
            raise NotFound
    return row, case


def is_kept(media_id: str | InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Return the condition that a medium has a job that was not deleted, or is a file of a capture,
    which has none. What was deleted outlives a restoration under a legal hold, unseen."""
    of_medium = exists().where(Job.media_id == media_id)
    return or_(~of_medium, of_medium.where(Job.state != JobState.CANCELLED))


def may_delete(caller: Caller, account_id: str) -> bool:
    """Return whether a caller may delete what belongs to an account. Accounts may delete what is
    their own, administrators everything."""
    return caller.account_id == account_id or caller.role is Role.ADMIN
