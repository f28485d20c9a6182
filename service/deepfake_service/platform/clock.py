"""The clock that the service reads, and times that clients send and get."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol

from pydantic import AfterValidator, AwareDatetime
from pydantic_core import PydanticCustomError

# Unlike the monotonic clock, it also counts while a machine sleeps. Only Linux has it.
_MONOTONIC: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
CLIENT_SKEW = timedelta(minutes=5)
"""How far the clock of a client may differ from that of the service."""


class Clock(Protocol):
    """The time of day, which can be wrong, and a monotonic clock."""

    def __call__(self) -> datetime:
        """Return the current time in UTC, with its time zone."""
        ...

    def ticks(self) -> float:
        """Return the seconds since the machine started, by a monotonic clock."""
        ...


class SystemClock:
    """The clocks of the system."""

    def __call__(self) -> datetime:
        """Return the current time of the system in UTC."""
        return datetime.now(UTC)

    def ticks(self) -> float:
        """Return the seconds since the start of the machine."""
        return time.clock_gettime(_MONOTONIC)


utc_now = SystemClock()
"""Returns the current time of the system in UTC."""


def iso_time(at: datetime | None) -> str | None:
    """Format a time as answers give it: ISO 8601 in UTC, to the millisecond."""
    return None if at is None else at.isoformat(timespec="milliseconds")


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("not_a_time", "send a time from the year 1 to 9999") from error


Moment = Annotated[AwareDatetime, AfterValidator(_utc)]
"""A time with a zone, converted to UTC."""
