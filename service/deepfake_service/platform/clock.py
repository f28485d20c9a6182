"""The clock that the service reads, and times that clients send and get."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, overload

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field
from pydantic_core import PydanticCustomError

# Unlike the monotonic clock, it also counts while a machine sleeps. Only Linux has it.
_MONOTONIC: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
CLIENT_SKEW = timedelta(minutes=5)
"""How far the clock of a client may differ from that of the service."""


Clock = Callable[[], datetime]
"""Returns the current time in UTC, with its time zone. It can be wrong."""


def utc_now() -> datetime:
    """Return the current time of the system in UTC."""
    return datetime.now(UTC)


def ticks() -> float:
    """Return the seconds since the start of the machine, by a monotonic clock."""
    return time.clock_gettime(_MONOTONIC)


@overload
def iso_time(at: datetime) -> str: ...
@overload
def iso_time(at: None) -> None: ...
@overload
def iso_time(at: datetime | None) -> str | None: ...
def iso_time(at: datetime | None) -> str | None:
    """Format a time as answers give it: ISO 8601 in UTC, to the millisecond."""
    return None if at is None else at.isoformat(timespec="milliseconds")


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("not_a_time", "send a time from the year 1 to 9999") from error


def _written(at: object) -> object:
    """Refuse a number, which Pydantic would take for seconds since 1970."""
    return at if isinstance(at, date) or re.match(r"\d{4}-", str(at)) else None


Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(9000, 12, 31)), BeforeValidator(_written)]
"""A day whose beginning and end are times in any zone."""
Moment = Annotated[AwareDatetime, AfterValidator(_utc), BeforeValidator(_written)]
"""A time with a zone, converted to UTC."""
