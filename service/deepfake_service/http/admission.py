"""Admission of requests: rates, one budget of concurrent requests an account, and the memory that
uploads may take together."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator

import limits
import limits.storage
import limits.strategies

from deepfake_service.platform.errors import Overloaded, TooManyAtOnce, TooManyRequests

BUDGET = 40
"""What the concurrent requests of one account may cost together. As many threads serve requests, so
that one account cannot hold more of them. ``deepfake submit`` sends at most 32 videos at a time,
and the console three."""
SCORING = 5
"""Cost of a request whose body is held in memory until it is answered."""
HEAVY = 8
"""Cost of a download or document that is made for the request: it may hold several files in memory,
read all cases, copy an original to the disk, or wait in a thread for a time-stamp authority."""
MAX_SCORING = 32
"""Requests with their body in memory, of all accounts. Further ones are refused at once: they would
otherwise wait longer than their clients do."""


class RateLimit:
    """Limits requests by a key, such as an account, in a moving window, such as ``600/minute``."""

    def __init__(self, rate: str, refusal: type[TooManyRequests] = TooManyRequests) -> None:
        self._rate = limits.parse(rate)
        self._refusal = refusal
        self._window = limits.strategies.MovingWindowRateLimiter(limits.storage.MemoryStorage())

    def hit(self, key: str) -> None:
        """Count a request.

        Raises:
            TooManyRequests: it exceeds the rate; the error has the seconds to wait, and is of the
                kind ``refusal``.
        """
        if not self._window.hit(self._rate, key):
            raise self._refused(key)

    def check(self, key: str) -> None:
        """Raise as ``hit`` would, and count nothing."""
        if not self._window.test(self._rate, key):
            raise self._refused(key)

    def _refused(self, key: str) -> TooManyRequests:
        reset = self._window.get_window_stats(self._rate, key).reset_time
        return self._refusal(max(1, math.ceil(reset - time.time())))


class AccountBudget:
    """Limits what one account does at the same time. Use it in the event loop only."""

    def __init__(self) -> None:
        self._spent: Counter[str] = Counter()

    def spent(self, account_id: str) -> int:
        """Return what the requests of the account cost now."""
        return self._spent[account_id]

    @contextlib.contextmanager
    def enter(self, account_id: str, what: str = "requests", cost: int = 1) -> Iterator[None]:
        """Count a request of an account while the context lasts.

        Raises:
            TooManyAtOnce: the account's requests would cost more than ``BUDGET`` together.
        """
        if self._spent[account_id] + cost > BUDGET:
            raise TooManyAtOnce(what)
        self._spent[account_id] += cost
        try:
            yield
        finally:
            self._spent[account_id] -= cost
            if not self._spent[account_id]:
                del self._spent[account_id]


class UploadMemory:
    """Bounds the uploads that are held in memory, because plaintext media are never on the disk.
    Use it in the event loop only."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.requests = 0
        self.bytes_held = 0

    @contextlib.contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Admit a request, and give a function that counts bytes which it holds until the end of
        the context.

        Raises:
            Overloaded: there are ``MAX_SCORING`` requests; also from the function, if all together
                would hold too many bytes.
        """
        if self.requests >= MAX_SCORING:
            raise Overloaded
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if self.bytes_held + count > self._max_bytes:
                raise Overloaded
            taken += count
            self.bytes_held += count

        self.requests += 1
        try:
            yield take
        finally:
            self.requests -= 1
            self.bytes_held -= taken
