"""A clock that tests set."""

from __future__ import annotations

from datetime import datetime, timedelta

from deepfake_service.clock import utc_now


class AdjustableClock:
    """The system's clock, moved ahead by ``advance``."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self._ahead

    def advance(self, by: timedelta) -> None:
        """Let ``by`` pass."""
        self._ahead += by
