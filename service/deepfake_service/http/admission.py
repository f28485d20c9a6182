"""Admission control: rate, concurrency and upload-memory limits."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

import limits
import limits.storage
import limits.strategies

from deepfake_service.errors import Overloaded, TooManyRequests


class RateLimit:
    """Limits the requests of one account in a moving window, such as ``600/minute``."""

    def __init__(self, rate: str) -> None:
        self._rate = limits.parse(rate)
        self._window = limits.strategies.MovingWindowRateLimiter(limits.storage.MemoryStorage())

    def hit(self, account_id: str) -> None:
        """Count a request.

        Raises:
            TooManyRequests: the account exceeds its rate; the error has the seconds to wait.
        """
        if not self._window.hit(self._rate, account_id):
            reset = self._window.get_window_stats(self._rate, account_id).reset_time
            raise TooManyRequests(max(1, math.ceil(reset - time.time())))


class Ticket:
    """The share of the upload memory that one admitted request holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._bytes = 0

    def take(self, count: int) -> None:
        """Count ``count`` more bytes held in memory.

        Raises:
            Overloaded: all requests together would hold too many.
        """
        self._admission.reserve(count)
        self._bytes += count

    def give_back(self) -> None:
        """Return the whole share."""
        self._admission.release(self._bytes)
        self._bytes = 0


class Admission:
    """Admits requests up to a number of requests and of bytes. Use it in the event loop only."""

    def __init__(self, *, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._requests = 0
        self._bytes = 0

    @property
    def bytes_held(self) -> int:
        return self._bytes

    @property
    def requests(self) -> int:
        return self._requests

    @contextlib.contextmanager
    def enter(self) -> Iterator[Ticket]:
        """Admit a request while the context lasts.

        Raises:
            Overloaded: the maximum number of requests is being processed.
        """
        if self._requests >= self._max_requests:
            raise Overloaded
        self._requests += 1
        ticket = Ticket(self)
        try:
            yield ticket
        finally:
            ticket.give_back()
            self._requests -= 1

    def reserve(self, count: int) -> None:
        if self._bytes + count > self._max_bytes:
            raise Overloaded
        self._bytes += count

    def release(self, count: int) -> None:
        self._bytes -= count
