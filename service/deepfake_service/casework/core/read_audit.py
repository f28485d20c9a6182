"""Noting once what is read in many requests: the pictures of a page, the ranges of a video."""

from __future__ import annotations

import threading
import time

from deepfake_service.security.accounts import Caller

WINDOW_S = 600.0


class ReadAudit:
    """Which key has read what lately, in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[tuple[str, str], float] = {}

    def is_first_read(self, caller: Caller, subject: str) -> bool:
        """Whether this is the first time in ten minutes that a key reads a subject."""
        now = time.monotonic()
        with self._lock:
            self._until = {k: until for k, until in self._until.items() if until > now}
            key = (caller.key_id, subject)
            if key in self._until:
                return False
            self._until[key] = now + WINDOW_S
            return True
