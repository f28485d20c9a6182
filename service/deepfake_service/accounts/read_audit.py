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
        """Append an entry to the audit log, if a key reads this for the first time in ten minutes.
        ``action``, ``subject`` and ``detail`` are those of the entry, and together name what is
        read."""
        read = (caller.key_id, action, subject, detail)
        # Others wait for the entry, so that nothing is handed out without one.
        with self._lock:
            now = self._database.clock()
            # An entry from further ahead is of a clock that was set back: it must not hide reads.
            self._until = {k: t for k, t in self._until.items() if now < t <= now + WINDOW}
            if read in self._until:
                return
            with self._database.write() as session:
                append_entry(session, caller.actor, action, subject, detail)
            self._until[read] = self._database.clock() + WINDOW
