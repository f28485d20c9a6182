"""Admission of requests: rates, one budget of concurrent requests an account, the memory that
uploads may take together, and failed sign-ins."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import limits
import limits.storage
import limits.strategies
from starlette.requests import HTTPConnection

from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.platform.db import Database
from deepfake_service.platform.errors import Code, Overloaded, TooManyRequests
from deepfake_service.platform.logs import logger
from deepfake_service.platform.networks import networks_of
from deepfake_service.platform.settings import Settings

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

    def __init__(self, rate: str, code: Code | None = None) -> None:
        self._rate = limits.parse(rate)
        self._code = code
        self._window = limits.strategies.MovingWindowRateLimiter(limits.storage.MemoryStorage())

    def hit(self, key: str) -> None:
        """Count a request; above the rate, raise ``TooManyRequests``."""
        if not self._window.hit(self._rate, key):
            raise self._refused(key)

    def check(self, key: str) -> None:
        """Raise as ``hit`` would, and count nothing."""
        if not self._window.test(self._rate, key):
            raise self._refused(key)

    def _refused(self, key: str) -> TooManyRequests:
        reset = self._window.get_window_stats(self._rate, key).reset_time
        wait_s = max(1, math.ceil(reset - time.time()))
        return TooManyRequests(code=self._code, retry_after_s=wait_s)


class AccountBudget:
    """Limits what one account does at the same time. Use it in the event loop only."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        """What the requests of each account cost now."""

    @contextlib.contextmanager
    def enter(self, account_id: str, cost: int = 1) -> Iterator[None]:
        """Count a request of an account while the context lasts; ``TooManyRequests`` if its
        requests would cost more than ``BUDGET`` together."""
        if self.spent[account_id] + cost > BUDGET:
            raise TooManyRequests(code=Code.TOO_MANY_AT_ONCE)
        self.spent[account_id] += cost
        try:
            yield
        finally:
            self.spent[account_id] -= cost
            if not self.spent[account_id]:
                del self.spent[account_id]


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


FAILED_SIGN_INS = "10/minute"
"""Per client address (IPv6: per /64 network). Further sign-ins from it get 429; valid keys of the
API are not affected."""
AUDITED = "30/minute"
"""Failures with an audit entry of their own. A flood must not fill the log: the next entry counts
the failures that had none."""
_KEY_ID = re.compile(r"dfk_([0-9a-f]{12})_")

_log = logger("deepfake_service.access")


class FailedSignIns:
    """Counts failed sign-ins, in this process."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._rate = RateLimit(FAILED_SIGN_INS, Code.TOO_MANY_FAILED_SIGN_INS)
        self._audited = RateLimit(AUDITED)
        self._proxies = networks_of(settings.trusted_proxies)
        self._lock = threading.Lock()
        self._unrecorded = 0

    def check(self, request: HTTPConnection) -> None:
        """Raise ``TooManyRequests`` if too many sign-ins from this address have failed."""
        self._rate.check(client_network(request, self._proxies))

    def record(self, request: HTTPConnection, key: str, reason: str = "key") -> None:
        """Record that a sign-in failed, for the ``reason`` ``key`` or ``code``;
        ``TooManyRequests`` if too many from this address have. Of the text that was sent as
        ``key``, only the id is recorded, if it has the form of a key. Writes to the database: call
        it in a thread.
        """
        address = client_network(request, self._proxies)
        named = _KEY_ID.match(key)
        key_id = named[1] if named else None
        _log.warning("sign_in_failed", failed_key_id=key_id, reason=reason)
        try:
            self._rate.hit(address)
            self._audited.hit("")
        except TooManyRequests as error:
            with self._lock:
                self._unrecorded += 1
            if error.code is not None:
                raise
            return
        with self._lock:
            before, self._unrecorded = self._unrecorded, 0
        detail = f"{reason} +{before}" if before else reason
        with self._database.write() as session:
            append_entry(session, SERVICE, Action.SIGN_IN_FAILED, key_id, detail)


Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def client_network(request: HTTPConnection, proxies: Networks) -> str:
    """Return the network of the client: its IPv4 address, or the /64 that its IPv6 address is in.

    If the connection comes from one of ``proxies``, the last address in ``X-Forwarded-For`` that is
    not one of them counts: the entries before it can be invented by the client.
    """
    chain = [request.client.host if request.client else ""]
    forwarded = request.headers.getlist("x-forwarded-for")
    chain += [part.strip() for part in reversed(",".join(forwarded).split(","))]
    for text in chain:
        try:
            seen = ipaddress.ip_address(text)
        except ValueError:
            return "unknown"
        # A socket for both families gives IPv4 peers mapped addresses (RFC 4291, section 2.5.5.2).
        address = getattr(seen, "ipv4_mapped", None) or seen
        if not any(address in network or seen in network for network in proxies):
            break
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
