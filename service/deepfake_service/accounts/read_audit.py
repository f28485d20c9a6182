"""Rate-limit audit entries for repeated reads: the pictures of a page, the ranges of a video."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from deepfake_service.accounts.accounts import Caller
from deepfake_service.audit.log import Action, append_entry
from deepfake_service.platform.clock import Clock
from deepfake_service.platform.db import Database

WINDOW = timedelta(minutes=10)


class ReadAudit:
    """The reads of the last ten minutes, by key and subject, in this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._until: dict[tuple[str | None, str], datetime] = {}
        self._begun: set[tuple[str | None, str]] = set()

    @contextmanager
    def first_read(self, caller: Caller, subject: str) -> Iterator[bool]:
        """Yield whether a key reads ``subject`` for the first time in ten minutes.

        Write the entry within the block: a read counts once it has ended without an error. Others
        of the same key and subject wait for that, so that nothing is handed out without an entry.
        """
        key = (caller.key_id, subject)
        with self._changed:
            self._changed.wait_for(lambda: key not in self._begun)
            is_first = not self._is_noted(key)
            if is_first:
                self._begun.add(key)
        if not is_first:
            yield False
            return
        is_written = False
        try:
            yield True
            is_written = True
        finally:
            with self._changed:
                self._begun.remove(key)
                if is_written:
                    self._until[key] = self._clock() + WINDOW
                self._changed.notify_all()

    def _is_noted(self, key: tuple[str | None, str]) -> bool:
        now = self._clock()
        # An entry from further ahead is of a clock that was set back: it must not hide reads.
        self._until = {k: until for k, until in self._until.items() if now < until <= now + WINDOW}
        return key in self._until

    def note(
        self,
        database: Database,
        caller: Caller,
        action: Action,
        subject: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Append an entry to the audit log, if a key reads this for the first time in ten minutes.
        ``action``, ``subject`` and ``detail`` are those of the entry, and together name what is
        read."""
        read = "/".join(part for part in (action, detail, subject) if part)
        with self.first_read(caller, read) as is_first:
            if is_first:
                with database.write() as session:
                    append_entry(session, caller.actor, action, subject, detail)
