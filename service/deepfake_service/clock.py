"""The clock that the service reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the current time in UTC, with its time zone."""


def utc_now() -> datetime:
    """Return the current time of the system in UTC."""
    return datetime.now(UTC)
