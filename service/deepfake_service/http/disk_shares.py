"""What the media of each account take on the disk, for a fair share of what is left of it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator

from sqlalchemy import func, select

from deepfake_service.db import Case, Database, Media

COUNTED_EVERY_S = 10.0
"""How long a sum over the media of an account is used. There may be hundreds of thousands."""


class DiskShares:
    """Knows how many bytes of media an account stores, and sends now."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stored: dict[str, tuple[float, int]] = {}
        self._arriving: Counter[str] = Counter()

    @contextlib.contextmanager
    def arriving(self, account_id: str) -> Iterator[Callable[[int], None]]:
        """Give a function that counts the bytes of a file of the account, while it arrives. Use it
        in the event loop only."""
        received = 0

        def add(count: int) -> None:
            nonlocal received
            received += count
            self._arriving[account_id] += count

        try:
            yield add
        finally:
            self._arriving[account_id] -= received
            if not self._arriving[account_id]:
                del self._arriving[account_id]

    def of(self, account_id: str) -> int:
        """Return the bytes of the media that an account stores and sends. Reads the database: call
        it in a thread."""
        counted_at, stored = self._stored.get(account_id, (0.0, 0))
        if not counted_at or time.monotonic() - counted_at >= COUNTED_EVERY_S:
            with self._database.read() as session:
                total = session.scalar(
                    select(func.sum(Media.size))
                    .join(Case, Media.case_id == Case.id)
                    .where(Case.account_id == account_id, Media.blob.is_not(None))
                )
            stored = int(total or 0)
            self._stored[account_id] = (time.monotonic(), stored)
        return stored + self._arriving.get(account_id, 0)
