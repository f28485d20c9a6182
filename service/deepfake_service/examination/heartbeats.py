"""Which workers are alive: those whose lease changes while this process watches it.

The time in a lease is only compared with the time that was in it before, never with the clock, so
that a worker that died while a clock was ahead is not taken for alive until that time comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from deepfake_service.platform.db import Lease, current_time

# Other modules read these two where they use them, so that a program may have shorter ones.
BEAT_S = 2.0
"""How often a worker renews its lease."""
LEASE_S = 10.0
"""How long a lease may stay the same: several beats, so that a worker on a slow disk does not look
dead."""
FORGOTTEN_AFTER_S = 60.0
"""How long the lease of a dead worker is kept."""


def renew(session: Session, lease: Lease) -> None:
    """Write a lease that ends ``LEASE_S`` seconds from now.

    Call it in a transaction for writing: a worker that waited for the lock is alive.
    """
    lease.expires_at = current_time(session) + timedelta(seconds=LEASE_S)
    session.merge(lease)


@dataclass(frozen=True, slots=True)
class _Seen:
    value: datetime
    unchanged_s: float


class Heartbeats:
    """The leases that this process has seen, and for how long each has stayed the same.

    ``ticks`` returns seconds from a monotonic clock.
    """

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        self._last_look: float | None = None
        self._seen: dict[str, _Seen] = {}

    def watch(self, leases: Mapping[str, datetime]) -> float:
        """Compare the leases in the database, by worker, with those of the last look.

        Returns:
            The seconds since then that count.
        """
        now = self._ticks()
        elapsed = now - self._last_look if self._last_look is not None else 0.0
        # A pause of this process or of the database says nothing about the other workers.
        elapsed, self._last_look = min(elapsed, 2 * BEAT_S), now
        seen = {}
        for executor_id, value in leases.items():
            before = self._seen.get(executor_id)
            same = before is not None and before.value == value
            unchanged_s = before.unchanged_s + elapsed if before is not None and same else 0.0
            seen[executor_id] = _Seen(value, unchanged_s)
        self._seen = seen
        return elapsed

    def alive(self) -> set[str]:
        """Return the workers whose lease has changed in the last ``LEASE_S`` seconds."""
        return {name for name, seen in self._seen.items() if seen.unchanged_s < LEASE_S}

    def long_dead(self) -> dict[str, datetime]:
        """Return the leases that have not changed for ``FORGOTTEN_AFTER_S`` seconds."""
        return {
            name: seen.value
            for name, seen in self._seen.items()
            if seen.unchanged_s >= FORGOTTEN_AFTER_S
        }
