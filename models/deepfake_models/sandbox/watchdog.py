"""A watchdog that ends a process which takes too long for what it is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """Calls ``expire`` once ``seconds`` have passed, unless it is stopped before.

    Time during which it is paused does not count.
    """

    def __init__(self, seconds: float, expire: Callable[[], None]) -> None:
        self._expire = expire
        self._deadline = time.monotonic() + max(seconds, 0.0)
        self._paused_at: float | None = None
        self._stopped = False
        self._waits_for_resumption = False
        self._changed = threading.Condition()
        self.has_expired = False
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def left_s(self) -> float:
        """Return the seconds that are left."""
        return self._deadline - (self._paused_at or time.monotonic())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock while the context lasts."""
        with self._changed:
            self._paused_at = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                self._deadline += time.monotonic() - self._paused_at
                self._paused_at = None
                # To wake the thread after every pause would cost more than most pauses last: it
                # notices the later deadline by itself when the earlier one has passed.
                if self._waits_for_resumption:
                    self._changed.notify()

    def stop(self) -> None:
        """End the watch."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._stopped and (self._paused_at is not None or self.left_s() > 0.0):
                self._waits_for_resumption = self._paused_at is not None
                self._changed.wait(None if self._waits_for_resumption else self.left_s())
            if self._stopped:
                return
            self.has_expired = True
        self._expire()
