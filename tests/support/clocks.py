"""A clock that tests set."""

from __future__ import annotations

from datetime import datetime, timedelta

from deepfake_service.platform.clock import utc_now


class AdjustableClock:
    """The system's clock, moved ahead by ``advance`` or set to another time by ``jump``."""

    def __init__(self) -> None:
        self._passed = timedelta(0)
        self._jumped = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self._passed + self._jumped

    def ticks(self) -> float:
        """Return seconds that passed, whatever time the clock was set to."""
        return utc_now.ticks() + self._passed.total_seconds()

    def advance(self, by: timedelta) -> None:
        """Let ``by`` pass."""
        self._passed += by

    def jump(self, by: timedelta) -> None:
        """Set the clock ahead by ``by``, or back, while no time passes."""
        self._jumped += by
