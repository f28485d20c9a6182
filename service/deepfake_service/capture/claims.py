"""Claims of captures: one worker has each in hand, and another one after it if that dies."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, func, or_, select, update
from sqlalchemy.orm import Session

from deepfake_service.capture.shapes import Content
from deepfake_service.cases.case_lock import lock_case
from deepfake_service.platform.db import Capture, Case, Database, Lease, Media
from deepfake_service.platform.db.enums import CaptureState
from deepfake_service.platform.storage import Vault

MAX_ATTEMPTS = 3
"""How often a capture is begun, by any worker: one that kills its worker must not do so forever."""


@dataclass(frozen=True, slots=True, repr=False)
class Work:
    """A capture that a worker has claimed."""

    capture: Capture
    case: Case
    key: bytes
    content: Content
    media: list[Media]
    """Its files."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What one worker has in hand. If it dies, its lease ends, and others begin again."""

    database: Database
    executor_id: str

    def others(self) -> Select[str]:
        """Select the other workers that live."""
        lives = Lease.expires_at > self.database.clock()
        return select(Lease.executor_id).where(lives, Lease.executor_id != self.executor_id)

    def take(self, due: ColumnElement[bool]) -> str | None:
        """Claim one of the captures that are ``due`` and in no other living worker's hands: the
        oldest of the account that has the fewest in hand; return its id."""
        # The first of each account, then their second: those in hand count, too.
        turn = func.row_number().over(partition_by=Capture.account_id, order_by=Capture.id)
        in_hand = Capture.worker.is_not(None)
        turns = select(Capture.id, turn.label("turn")).where(or_(due, in_hand)).subquery()
        waiting = (
            select(Capture.id)
            .outerjoin(turns, Capture.id == turns.c.id)
            .join(Case, Capture.case_id == Case.id)
            .where(
                Case.wrapped_key.is_not(None),
                due,
                or_(Capture.worker.is_(None), Capture.worker.not_in(self.others())),
            )
            .order_by(func.coalesce(turns.c.turn, 0), Capture.id)
            .limit(1)
        )
        with self.database.read() as session:
            if session.scalars(waiting).first() is None:
                return None
        with self.database.write() as session:
            self.database.one_at_a_time(session, "captures")
            capture_id = session.scalars(waiting).first()
            if capture_id is not None:
                taken = {"worker": self.executor_id, "attempts": Capture.attempts + 1}
                session.execute(update(Capture).where(Capture.id == capture_id).values(taken))
            return capture_id

    def release(self, capture_id: str, *, is_done: bool = False) -> None:
        """Leave a capture to the next worker: as if this one had not begun, or as done."""
        attempts = 0 if is_done else Capture.attempts - 1
        own = Capture.id == capture_id, Capture.worker == self.executor_id
        with self.database.write() as session:
            session.execute(update(Capture).where(*own).values(worker=None, attempts=attempts))

    def opened(self, vault: Vault, capture_id: str) -> Work | None:
        """Return a capture that was claimed; ``None`` if it was deleted."""
        with self.database.read() as session:
            capture = session.get(Capture, capture_id)
            case = session.get(Case, capture.case_id) if capture else None
            if capture is None or case is None or case.wrapped_key is None:
                return None
            key = vault.case_key(case)
            content = Content.opened(key, capture)
            media = [session.get_one(Media, file.media_id) for file in content.files]
        return Work(capture, case, key, content, media)

    def kept(
        self, session: Session, work: Work, state: CaptureState
    ) -> tuple[Capture, Case] | None:
        """Return a capture, and its case, locked, if what was done about it counts: it may have
        been deleted, or another worker may have taken this one for dead."""
        case = lock_case(session, work.case.id)
        capture = session.get(Capture, work.capture.id, populate_existing=True)
        if case is None or case.wrapped_key is None or capture is None:
            return None
        is_ours = capture.state == state and capture.worker == self.executor_id
        return (capture, case) if is_ours else None
