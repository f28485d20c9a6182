"""Pictures that nearly equal earlier ones of the same account: counted, and limited by a setting.

A search for adversarial changes sends hundreds of versions of one picture, whose PDQ hashes differ
in a few bits. So do frames of one video, so that ordinary use must not be limited by default.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import limits
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_service.db import Database
from deepfake_service.errors import SettingsError, TooManySimilarPictures
from deepfake_service.evidence.perceptual_hashes import (
    HASH_BITS,
    MAX_DISTANCE,
    MIN_QUALITY,
    available,
    distances,
    packed,
    pdq,
)
from deepfake_service.observability.logs import logger
from deepfake_service.observability.metrics import Metrics
from deepfake_service.resource_limits import PREFIX
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import Action, append_entry

MAX_ACCOUNTS: Final = 64
"""Accounts whose hashes are kept; beyond it, those of the one that was idle longest are dropped.
With ``resource_limits.MAX_SIMILAR_PICTURES`` hashes of 32 bytes and their times, they take at most
10 MB."""
COUNTED: Final = limits.parse("1000/hour")
"""How many hashes are kept for how long where nothing is limited."""

HASHED_SIDE: Final = 512
"""Longest side in pixels at which pictures are hashed, as other implementations of PDQ do. Hashing
takes a third of a second for a picture of 12 megapixels, and a hundredth of that for this size."""

_log = logger("deepfake_service.access")


@dataclass(slots=True)
class _Recent:
    """The newest hashes of one account, in a ring, and when each came."""

    hashes: NDArray[np.uint8]
    times: NDArray[np.float64]
    next: int = 0
    audited: float = field(default=-math.inf)


class SimilarPictures:
    """Counts near-duplicates among the pictures of each account, in this process and in memory.

    Pictures that PDQ itself rates as poor, such as plain black ones, are not compared.

    Raises:
        SettingsError: there is a limit, and ``pdqhash`` is not installed.
    """

    def __init__(
        self,
        database: Database,
        rate: str | None,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = rate is not None
        self._rate = COUNTED if rate is None else limits.parse(rate)
        if not available():
            if self._limits:
                raise SettingsError(
                    f"{PREFIX}SIMILAR_PICTURES_PER_ACCOUNT needs the extra perceptual, which is "
                    "not installed"
                )
            _log.info("similar_pictures_not_counted", reason="pdqhash is not installed")
        self._database = database
        self._metrics = metrics
        self._clock = clock
        self._recent: OrderedDict[str, _Recent] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, caller: Caller, pixels: NDArray[np.uint8]) -> None:
        """Count a picture, (H, W, 3) uint8 RGB. May write to the database: call it in a thread.

        Raises:
            TooManySimilarPictures: as many pictures of the account as it may send nearly equal this
                one. It is not counted. The first one in a window is audited.
        """
        if not available():
            return
        hashed = pdq(_reduced(pixels))
        if hashed.quality < MIN_QUALITY:
            return
        with self._lock:
            wait_s, audit = self._count(caller.account_id, packed([hashed.pdq]))
        if audit:
            _log.warning("similar_pictures_refused", account=caller.account_id)
            with self._database.write() as session:
                append_entry(session, caller.actor, Action.SIMILAR_PICTURES_REFUSED)
        if wait_s is not None:
            raise TooManySimilarPictures(wait_s)

    def _count(self, account_id: str, one: NDArray[np.uint8]) -> tuple[int | None, bool]:
        """Return after how many seconds to try again if the picture with the hash ``one`` is
        refused, else ``None``, and whether to audit that."""
        now, window = self._clock(), self._rate.get_expiry()
        recent = self._recent.get(account_id)
        if recent is None:
            size = max(self._rate.amount, COUNTED.amount)
            hashes = np.zeros((size, HASH_BITS // 8), np.uint8)
            recent = self._recent[account_id] = _Recent(hashes, np.full(size, -math.inf))
            if len(self._recent) > MAX_ACCOUNTS:
                self._recent.popitem(last=False)
        self._recent.move_to_end(account_id)
        near = distances(one, recent.hashes)[0] <= MAX_DISTANCE
        alike = np.sort(recent.times[near & (recent.times > now - window)])
        if len(alike):
            self._metrics.similar_picture()
        if self._limits and len(alike) >= self._rate.amount:
            audit = now - recent.audited >= window
            recent.audited = now if audit else recent.audited
            freed = float(alike[len(alike) - self._rate.amount])
            return max(1, math.ceil(freed + window - now)), audit
        recent.hashes[recent.next] = one[0]
        recent.times[recent.next] = now
        recent.next = (recent.next + 1) % len(recent.times)
        return None, False


def _reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the means of squares of a picture, at most ``HASHED_SIDE`` of them along a side."""
    factor = -(-max(pixels.shape[:2]) // HASHED_SIDE)
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).reduce(factor))
