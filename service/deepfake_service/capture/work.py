"""A capture that a worker has in hand."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from deepfake_service.capture.shapes import Content
from deepfake_service.cases.case_lock import lock_case
from deepfake_service.examination.webhook_deliveries import release_callbacks
from deepfake_service.platform.db import Capture, Case, Database, Media, current_time
from deepfake_service.platform.storage import Vault


@dataclass(frozen=True, slots=True, repr=False)
class Work:
    """A capture that a worker has claimed."""

    capture: Capture
    case: Case
    key: bytes
    content: Content
    media: list[Media]
    """Its files."""

    @classmethod
    def opened(cls, database: Database, vault: Vault, capture: Capture) -> Work | None:
        """Return the work on a capture that was claimed; ``None`` if that was deleted."""
        with database.read() as session:
            case = session.get(Case, capture.case_id)
            if session.get(Capture, capture.id) is None or case is None or not case.wrapped_key:
                return None
            key = vault.case_key(case)
            content = Content.opened(key, capture)
            media = [session.get_one(Media, file.media_id) for file in content.files]
        return cls(capture, case, key, content, media)

    def kept(self, session: Session) -> tuple[Capture, Case] | None:
        """Return the capture, and its case, locked, if what was done about it counts: it may have
        been deleted, or another worker may have taken this one for dead."""
        case, claimed = lock_case(session, self.case.id), self.capture
        capture = session.get(Capture, claimed.id, populate_existing=True)
        if case is None or case.wrapped_key is None or capture is None:
            return None
        is_ours = (capture.state, capture.worker) == (claimed.state, claimed.worker)
        return (capture, case) if is_ours else None


def end(
    session: Session, key: bytes, capture: Capture, content: Content, reason: str | None
) -> None:
    """Seal what is known of a capture that is over, let go of it, and have its end told."""
    capture.worker, capture.attempts, capture.reason = None, 0, reason
    capture.finished_at = current_time(session)
    content.seal(key, capture)
    release_callbacks(session, capture.id)


def in_turn(due: ColumnElement[bool]) -> Select[Capture]:
    """Select the captures that are ``due``: the first of each account, then their second. Those
    that are in hand count, too."""
    turn = func.row_number().over(partition_by=Capture.account_id, order_by=Capture.id)
    in_hand = Capture.worker.is_not(None)
    turns = select(Capture.id, turn.label("turn")).where(or_(due, in_hand)).subquery()
    return (
        select(Capture)
        .join(turns, Capture.id == turns.c.id)
        .join(Case, Capture.case_id == Case.id)
        .where(Case.wrapped_key.is_not(None), due)
        .order_by(turns.c.turn, Capture.id)
    )
