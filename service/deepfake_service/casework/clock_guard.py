"""Whether the clock can be trusted to say what is due for deletion.

A wrong hardware clock, a bad time server or a resumed virtual machine can set it years ahead.
Everything would then be past its retention. So the latest time ever seen is kept in the database,
together with a clock that only ticks: the time of day may not run ahead of what has ticked, nor
fall behind what was seen. While it does, nothing expires, and ``/readyz`` fails.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.orm import Session

from deepfake_service.db import Database, Fact, new_id
from deepfake_service.errors import NotReady
from deepfake_service.observability.logs import logger
from deepfake_service.security.audit_log import SERVICE, Action, append_entry

TOLERANCE = timedelta(hours=1)
"""How far the clock may be off what it is expected to show."""
LONGEST_STANDSTILL = timedelta(days=7)
"""How long an installation may have stood still if nothing but the clock says so."""
_NAME = "clock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_log = logger("deepfake_service.clock")


@dataclass(frozen=True, slots=True)
class _Seen:
    """A time that the clock showed, and what the ticking clock of a boot showed then."""

    at: datetime
    boot: str
    ticks: float
    accepted: str

    def dump(self) -> str:
        return json.dumps(
            {
                "at": self.at.isoformat(),
                "boot": self.boot,
                "ticks": self.ticks,
                "accepted": self.accepted,
            }
        )

    @classmethod
    def load(cls, text: str) -> _Seen:
        content = json.loads(text)
        return cls(
            datetime.fromisoformat(content["at"]),
            content["boot"],
            float(content["ticks"]),
            content["accepted"],
        )


class ClockGuard:
    """Compares the clock with what it showed before. One for each process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._last: _Seen | None = None
        self._boot = _boot_id()

    def problem(self) -> str | None:
        """Return a sentence on what is wrong with the clock, or ``None`` if it can be trusted."""
        with self._database.read() as session:
            stored = _stored(session)
        with self._lock:
            now = self._now(stored.accepted if stored else "")
            problem = self._compare(now, stored)
            if problem is None:
                self._last = now
        return problem

    def require(self) -> None:
        """Raise ``NotReady`` if the clock cannot be trusted."""
        problem = self.problem()
        if problem is not None:
            raise NotReady(problem)

    def is_trusted(self) -> bool:
        """Return whether the clock can be trusted, and keep the time if it is the latest."""
        problem = self.problem()
        if problem is not None:
            _log.error("clock_not_trusted", problem=problem)
            return False
        with self._database.write() as session:
            self._database.one_at_a_time(session, _NAME)
            stored = _stored(session)
            now = self._now(stored.accepted if stored else "")
            if stored is None or now.at > stored.at:
                session.merge(Fact(name=_NAME, value=now.dump()))
        return True

    def when_trusted(self, task: Callable[[], object]) -> Callable[[], None]:
        """Return a function that does ``task`` only while the clock can be trusted."""

        def guarded() -> None:
            if self.is_trusted():
                task()

        return guarded

    def accept(self) -> datetime:
        """Trust the clock as it is, after an operator has checked it. Audited.

        Returns:
            The time that the clock shows.
        """
        now = self._now(new_id())
        with self._database.write() as session:
            stored = _stored(session)
            ahead = "first" if stored is None else f"{(now.at - stored.at).total_seconds():+.0f} s"
            session.merge(Fact(name=_NAME, value=now.dump()))
            append_entry(session, SERVICE, Action.CLOCK_ACCEPTED, detail=ahead)
        return now.at

    def _now(self, accepted: str) -> _Seen:
        clock = self._database.clock
        return _Seen(clock(), self._boot, clock.ticks(), accepted)

    def _compare(self, now: _Seen, stored: _Seen | None) -> str | None:
        if stored is None:
            return None
        if stored.at - now.at > TOLERANCE:
            return _sentence("behind the latest time that this installation has seen", stored, now)
        last = self._last
        if last is None or last.accepted != stored.accepted:
            last = stored
        if last.boot == now.boot and last.boot:
            expected = last.at + timedelta(seconds=now.ticks - last.ticks)
            if now.at - expected > TOLERANCE:
                return _sentence("ahead of the time that has passed", last, now)
        elif now.at - last.at > LONGEST_STANDSTILL:
            return _sentence("far ahead of the time at which this installation last ran", last, now)
        return None


def _stored(session: Session) -> _Seen | None:
    fact = session.get(Fact, _NAME)
    return _Seen.load(fact.value) if fact else None


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""  # not Linux


def _sentence(what: str, before: _Seen, now: _Seen) -> str:
    return (
        f"The clock shows {now.at:%Y-%m-%d %H:%M} UTC, which is {what} ({before.at:%Y-%m-%d %H:%M} "
        "UTC). Nothing expires meanwhile. Correct the clock, or run `deepfake clock accept` if it "
        "is right."
    )
