"""Rate-limit audit entries for repeated reads: the pictures of a page, the ranges of a video."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from deepfake_service.clock import Clock
from deepfake_service.security.accounts import Caller

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
