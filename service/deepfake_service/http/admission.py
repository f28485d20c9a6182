"""Admission control: rate, concurrency and upload-memory limits."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar
from weakref import WeakValueDictionary

import anyio.to_thread
import limits
import limits.storage
import limits.strategies
from anyio import CapacityLimiter

from deepfake_service.errors import Overloaded, TooManyRequests

T = TypeVar("T")

BUSY_RETRY_S = 5
"""Seconds after which an account with as many pending requests as allowed should try again."""


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


class AccountSlots:
    """Limits how many requests of one kind an account has at the same time. Use it in the event
    loop only."""

    def __init__(self, per_account: int, refusal: type[TooManyRequests]) -> None:
        self._per_account = per_account
        self._refusal = refusal
        self._taken: Counter[str] = Counter()

    def of(self, account_id: str) -> int:
        """Return how many requests the account has now."""
        return self._taken[account_id]

    @contextlib.contextmanager
    def enter(self, account_id: str) -> Iterator[None]:
        """Count a request of an account while the context lasts.

        Raises:
            TooManyRequests: the account has as many already; it is of the kind ``refusal``.
        """
        if self._taken[account_id] >= self._per_account:
            raise self._refusal(BUSY_RETRY_S)
        self._taken[account_id] += 1
        try:
            yield
        finally:
            self._taken[account_id] -= 1
            if not self._taken[account_id]:
                del self._taken[account_id]


class AccountThreads:
    """Runs what may take seconds in threads of its own, a few for each account. Further calls of
    the account wait in the event loop, so that the threads of requests stay free for others."""

    def __init__(self, per_account: int) -> None:
        self._per_account = per_account
        self._limiters: WeakValueDictionary[str, CapacityLimiter] = WeakValueDictionary()

    async def run(self, account_id: str, function: Callable[[], T]) -> T:
        """Return what ``function`` returns."""
        limiter = self._limiters.get(account_id)
        if limiter is None:
            limiter = self._limiters[account_id] = CapacityLimiter(self._per_account)
        return await anyio.to_thread.run_sync(function, limiter=limiter)


class Ticket:
    """The share of the upload memory that one admitted request of an account holds."""

    def __init__(self, admission: Admission, account_id: str) -> None:
        self._admission = admission
        self._account_id = account_id
        self._bytes = 0

    def take(self, count: int) -> None:
        """Count ``count`` more bytes held in memory.

        Raises:
            Overloaded: all requests together would hold too many.
            TooManyRequests: the requests of the account would.
        """
        self._admission.reserve(self._account_id, count)
        self._bytes += count

    def give_back(self) -> None:
        """Return the whole share."""
        self._admission.release(self._account_id, self._bytes)
        self._bytes = 0


class Admission:
    """Admits requests up to a number of requests and of bytes, and up to a share of both for each
    account. Use it in the event loop only."""

    def __init__(
        self,
        *,
        max_requests: int,
        max_bytes: int,
        max_requests_per_account: int,
        max_bytes_per_account: int,
    ) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._max_bytes_per_account = max_bytes_per_account
        self._by_account = AccountSlots(max_requests_per_account, TooManyRequests)
        self._requests = 0
        self._bytes = 0
        self._bytes_by_account: Counter[str] = Counter()

    @property
    def bytes_held(self) -> int:
        return self._bytes

    @property
    def requests(self) -> int:
        return self._requests

    @contextlib.contextmanager
    def enter(self, account_id: str) -> Iterator[Ticket]:
        """Admit a request of an account while the context lasts.

        Raises:
            Overloaded: the maximum number of requests is being processed.
            TooManyRequests: as many of them as one account may have are of this account.
        """
        if self._requests >= self._max_requests:
            raise Overloaded
        with self._by_account.enter(account_id):
            self._requests += 1
            ticket = Ticket(self, account_id)
            try:
                yield ticket
            finally:
                ticket.give_back()
                self._requests -= 1

    def reserve(self, account_id: str, count: int) -> None:
        """Count bytes that a request of the account is about to hold: see ``Ticket.take``."""
        if self._bytes + count > self._max_bytes:
            raise Overloaded
        if self._bytes_by_account[account_id] + count > self._max_bytes_per_account:
            raise TooManyRequests(BUSY_RETRY_S)
        self._bytes += count
        self._bytes_by_account[account_id] += count

    def release(self, account_id: str, count: int) -> None:
        """Count bytes that a request of the account no longer holds."""
        self._bytes -= count
        self._bytes_by_account[account_id] -= count
        if not self._bytes_by_account[account_id]:
            del self._bytes_by_account[account_id]
