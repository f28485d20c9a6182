"""Items with records that were altered outside this program, however they are listed.

An alteration can move an item to another part of the queue, or out of the sight of whoever would
notice it: a finding that nobody made, or a state that nobody looks at. So the codes of all records
of casework are checked, some at a time, whenever somebody looks at the queue.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from sqlalchemy import ColumnElement, or_, select

from deepfake_service.casework.core.visibility import visible_to
from deepfake_service.db import Case, Database, Edition, Job, Media, Notice, Occurrence, Review
from deepfake_service.db.row_authentication import refuse
from deepfake_service.db.tables import Authenticated
from deepfake_service.security.accounts import Caller
from deepfake_service.security.records import altered_after, still_altered

BUDGET_S = 0.05
"""How long one request checks records, a few thousand. The next one goes on where it stopped."""
SHOWN = 50
_CHECKED: tuple[type[Authenticated], ...] = (Case, Media, Job, Review, Occurrence, Notice, Edition)


class AlteredRecords:
    """Checks the records of casework in this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._next: tuple[int, Any] = (0, None)
        """The table that is checked next, and the row after which."""

    def items(self, caller: Caller) -> list[str]:
        """Return the ids of at most ``SHOWN`` jobs that the caller may see, oldest first.

        One of their records, of their case or of their medium was altered, and not accepted since.
        """
        authenticator = self._database.authenticator
        if authenticator is None:
            return []
        if self._lock.acquire(blocking=False):  # otherwise another request is checking
            try:
                self._check()
            finally:
                self._lock.release()
        concerned = [self._concerned(model) for model in _CHECKED]
        conditions = [condition for condition in concerned if condition is not None]
        if not conditions:
            return []
        found = select(Job.id).join(Case, Job.case_id == Case.id)
        found = found.where(visible_to(caller), or_(*conditions))
        with self._database.read() as session:
            return list(session.scalars(found.order_by(Job.created_at, Job.id).limit(SHOWN)))

    def _check(self) -> None:
        """Check the next records, until the time is up or each has been checked once."""
        until = time.monotonic() + BUDGET_S
        authenticator = self._database.authenticator
        assert authenticator is not None
        for _ in _CHECKED:
            number, after = self._next
            model = _CHECKED[number]
            while time.monotonic() < until:
                page = altered_after(self._database, model, after)
                for row_id in page.altered:
                    if (model.__tablename__, row_id) not in authenticator.refused:
                        refuse(authenticator, model.__tablename__, row_id)
                after = page.last
                if after is None:
                    break
            else:
                self._next = (number, after)
                return
            self._next = ((number + 1) % len(_CHECKED), None)

    def _concerned(self, model: type[Authenticated]) -> ColumnElement[bool] | None:
        """Return the condition for the jobs that altered rows of a table concern, if there are any.

        Rows that a person has accepted since, or that were deleted, are not altered any longer.
        """
        authenticator = self._database.authenticator
        assert authenticator is not None
        name = model.__tablename__
        refused = [row_id for table, row_id in tuple(authenticator.refused) if table == name]
        ids = still_altered(self._database, model, refused) if refused else []
        if not ids:
            return None
        conditions: dict[type[Authenticated], ColumnElement[bool]] = {
            Case: Job.case_id.in_(ids),
            Media: Job.media_id.in_(ids),
            Job: Job.id.in_(ids),
            Review: Job.id.in_(select(Review.job_id).where(Review.id.in_(ids))),
            Occurrence: Job.media_id.in_(select(Occurrence.media_id).where(Occurrence.id.in_(ids))),
            Notice: Job.case_id.in_(select(Notice.case_id).where(Notice.id.in_(ids))),
            Edition: Job.id.in_(select(Edition.job_id).where(Edition.id.in_(ids))),
        }
        return conditions[model]
