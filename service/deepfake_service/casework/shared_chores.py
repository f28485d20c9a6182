"""Chores that one worker of an installation does, whichever it is, and not each of them.

A sweep deletes at most a share of what there is. If each of twenty workers swept every minute, that
limit would be twenty times as high, and an object store would be listed twenty times an hour.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from deepfake_service.db import Database, Fact

_EARLY_SHARE, _EARLY_S = 0.1, 6.0
"""How long before the end of its period a chore may be done again, of which the shorter one counts:
workers' minutes differ."""


class SharedChores:
    """Remembers in the database when each chore was begun."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def when_due(self, name: str, task: Callable[[], object], every_s: float) -> Callable[[], None]:
        """Return a function that does ``task``, unless a process did so less than ``every_s`` ago.

        If that process dies meanwhile, another does the chore at its next time.
        """

        early_s = min(_EARLY_SHARE * every_s, _EARLY_S)

        def guarded() -> None:
            if self._claim(f"chore-{name}", timedelta(seconds=every_s - early_s)):
                task()

        return guarded

    def _claim(self, name: str, period: timedelta) -> bool:
        with self._database.write() as session:
            self._database.one_at_a_time(session, name)
            now, before = self._database.clock(), session.get(Fact, name)
            # A time from the future is of a clock that was set back.
            if before is not None and abs(now - datetime.fromisoformat(before.value)) < period:
                return False
            session.merge(Fact(name=name, value=now.isoformat()))
        return True
