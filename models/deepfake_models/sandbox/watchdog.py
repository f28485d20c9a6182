"""A watchdog that ends a process which takes too long for what it is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_S = 0.05
"""Least time between two looks at the clock during a pause."""


class Watchdog:
    """Calls ``expire`` once ``seconds`` have passed, unless it is stopped before.

    Time during which it is paused does not count.
    """

    def __init__(self, seconds: float, expire: Callable[[], None]) -> None:
        self._expire = expire
        self._deadline = time.monotonic() + max(seconds, 0.0)
        self._paused_at: float | None = None
        self._stopped = threading.Event()
        self.has_expired = False
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def left_s(self) -> float:
        """Return the seconds that are left."""
        return self._deadline - (self._paused_at or time.monotonic())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock while the context lasts."""
        self._paused_at = paused_at = time.monotonic()
        try:
            yield
        finally:
            # In this order, so that the thread never sees the old deadline without the pause. It is
            # not woken: that would cost more than most pauses last.
            self._deadline += time.monotonic() - paused_at
            self._paused_at = None

    def stop(self) -> None:
        """End the watch."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(max(self.left_s(), LOOK_S if self._paused_at else 0.0)):
            if self._paused_at is None and self.left_s() <= 0.0:
                self.has_expired = True
                self._expire()
                return
