"""Work that waits in rows: a worker claims what is due, and another one after it if that dies.

A claim is the worker's name in the row. It holds as long as the worker renews its lease, and until
what it did is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, Select, or_, select, update

from deepfake_service.platform.db import Capture, Database, Delivery, Lease, Watch

MAX_ATTEMPTS = 3
"""How often work is begun, by any worker: some that kills its worker must not do so forever."""

R = TypeVar("R", Capture, Delivery, Watch)


@dataclass(frozen=True, slots=True)
class Claims(Generic[R]):
    """What one worker has in hand of the rows of a table."""

    database: Database
    executor_id: str
    table: type[R]

    def others(self) -> Select[str]:
        """Select the other workers that live."""
        lives = Lease.expires_at > self.database.clock()
        return select(Lease.executor_id).where(lives, Lease.executor_id != self.executor_id)

    def are_free(self) -> ColumnElement[bool]:
        """Return the condition that a row is in no other living worker's hands."""
        return or_(self.table.worker.is_(None), self.table.worker.not_in(self.others()))

    def take(self, due: Select[R], most: int = 1, **values: object) -> Sequence[R]:
        """Claim the first rows that are ``due`` and free, and set these ``values`` in them. What is
        due is asked again within: meanwhile, another worker may have been faster."""
        free = due.where(self.are_free()).limit(most)
        with self.database.read() as session:
            if session.scalars(free).first() is None:
                return ()
        with self.database.write() as session:
            self.database.one_at_a_time(session, self.table.__tablename__)
            rows = session.scalars(free).all()
            taken = {"worker": self.executor_id, "attempts": self.table.attempts + 1, **values}
            ids = [row.id for row in rows]
            session.execute(update(self.table).where(self.table.id.in_(ids)).values(taken))
            return rows

    def release(self, row_id: str, *, is_done: bool = False) -> None:
        """Leave a row to the next worker: as if this one had not begun, or as done."""
        own = self.table.id == row_id, self.table.worker == self.executor_id
        free = {"worker": None, "attempts": 0 if is_done else self.table.attempts - 1}
        with self.database.write() as session:
            session.execute(update(self.table).where(*own).values(free))
