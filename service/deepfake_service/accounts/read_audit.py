"""Rate-limit audit entries for repeated reads: the pictures of a page, the ranges of a video."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from deepfake_service.accounts.accounts import Caller
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.platform.db import Database

WINDOW = timedelta(minutes=10)


class ReadAudit:
    """The reads of the last ten minutes, in this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._until: dict[tuple[str | None, ...], datetime] = {}

    def note(
        self, caller: Caller, action: Action, subject: str | None = None, detail: str | None = None
    ) -> None:
        """Append an entry to the audit log, if a key reads what it names (by ``action``,
        ``subject`` and ``detail``) for the first time in ten minutes."""
        read = (caller.key_id, action, subject, detail)
        if self._is_noted(read):  # who reads something again waits for no entry of others
            return
        with self._lock:  # the first read of something does: nothing is handed out without one
            if self._is_noted(read):
                return
            with self._database.write() as session:
                append_entry(session, caller.actor, action, subject, detail)
            self._until = {each: at for each, at in self._until.items() if self._is_noted(each)}
            self._until[read] = self._database.clock() + WINDOW

    def _is_noted(self, read: tuple[str | None, ...]) -> bool:
        # An entry from further ahead is of a clock that was set back: it must not hide reads.
        now = self._database.clock()
        return now < self._until.get(read, now) <= now + WINDOW
