"""Rate-limit audit entries for repeated reads: the pictures of a page, the ranges of a video."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from deepfake_service.clock import Clock
from deepfake_service.db import Database
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import Action, append_entry

WINDOW = timedelta(minutes=10)


class ReadAudit:
    """The reads of the last ten minutes, by key and subject, in this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[tuple[str, str], datetime] = {}

    def is_first_read(self, caller: Caller, subject: str) -> bool:
        """Return whether a key reads ``subject`` for the first time in ten minutes."""
        now = self._clock()
        with self._lock:
            # An entry from further ahead is of a clock that was set back: it must not hide reads.
            self._until = {
                key: until for key, until in self._until.items() if now < until <= now + WINDOW
            }
            key = (caller.key_id, subject)
            if key in self._until:
                return False
            self._until[key] = now + WINDOW
            return True

    def note(
        self,
        database: Database,
        caller: Caller,
        action: Action,
        subject: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Append an entry to the audit log, if a key reads this for the first time in ten minutes.

        ``subject`` and ``detail`` are those of the entry, and together name what is read.
        """
        if self.is_first_read(caller, "/".join(part for part in (detail, subject) if part)):
            with database.write() as session:
                append_entry(session, caller.actor, action, subject, detail)
