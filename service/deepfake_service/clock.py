"""The clock that the service reads."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

# Unlike the monotonic clock, it also counts while a machine sleeps. Only Linux has it.
_TICKING: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
CLIENT_SKEW = timedelta(minutes=5)
"""How far the clock of a client may differ from that of the service."""


class Clock(Protocol):
    """A clock that shows the time of day, which can be wrong, and one that only ticks."""

    def __call__(self) -> datetime:
        """Return the current time in UTC, with its time zone."""
        ...

    def ticks(self) -> float:
        """Return seconds since the start of the machine, by a clock that cannot be set."""
        ...


class SystemClock:
    """The clocks of the system."""

    def __call__(self) -> datetime:
        """Return the current time of the system in UTC."""
        return datetime.now(UTC)

    def ticks(self) -> float:
        """Return the seconds since the start of the machine."""
        return time.clock_gettime(_TICKING)


utc_now = SystemClock()
"""Returns the current time of the system in UTC."""
