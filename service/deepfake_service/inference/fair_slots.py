"""Slots that accounts share by the work that they cause, not by the number of their requests.

This is start-time fair queueing (Goyal, Vin and Cheng 1996, SIGCOMM): each account has a virtual
time, which grows by the seconds that its work took. The waiting account whose time is the least is
served next. An account that was idle begins at the time of those that are active, so that it can
save nothing up.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable

EXPECTED_S = 1.0
"""What a slot is charged until it is known how long it was held."""


class FairSlots:
    """A number of slots for work. Use it in one event loop only."""

    def __init__(self, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = slots
        self._clock = clock
        self._charged: dict[str, float] = {}
        self._active: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @contextlib.asynccontextmanager
    async def slot(self, account_id: str) -> AsyncIterator[None]:
        """Hold a slot while the context lasts; its seconds are charged to ``account_id``."""
        self._begin(account_id)
        try:
            await self._acquire(account_id)
            began = self._clock()
            try:
                yield
            finally:
                self._charged[account_id] += self._clock() - began - EXPECTED_S
                self._free += 1
                self._grant()
        finally:
            self._active[account_id] -= 1
            if not self._active[account_id]:
                del self._active[account_id]
            if not self._active:
                self._charged.clear()

    def _begin(self, account_id: str) -> None:
        if account_id not in self._active:
            least = min((self._charged[a] for a in self._active), default=0.0)
            self._charged[account_id] = max(self._charged.get(account_id, 0.0), least)
        self._active[account_id] += 1

    async def _acquire(self, account_id: str) -> None:
        granted = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account_id, deque()).append(granted)
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._charged[account_id] -= EXPECTED_S
                self._free += 1
            self._grant()
            raise

    def _grant(self) -> None:
        while self._free and self._waiting:
            account_id = min(self._waiting, key=lambda a: self._charged[a])
            granted = self._waiting[account_id].popleft()
            if not self._waiting[account_id]:
                del self._waiting[account_id]
            if not granted.done():
                granted.set_result(None)
                self._charged[account_id] += EXPECTED_S
                self._free -= 1
