"""Failed sign-ins: limited by the address of the client, recorded in the audit log, and logged."""

from __future__ import annotations

import ipaddress
import re
import threading

from starlette.requests import HTTPConnection

from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.http.admission import RateLimit
from deepfake_service.platform.db import Database
from deepfake_service.platform.errors import TooManyFailedSignIns, TooManyRequests
from deepfake_service.platform.logs import logger
from deepfake_service.platform.networks import networks_of
from deepfake_service.platform.settings import Settings

AUDITED = "30/minute"
"""Failures with an audit entry of their own. A flood must not fill the log: the next entry counts
the failures that had none."""
_KEY_ID = re.compile(r"dfk_([0-9a-f]{12})_")

_log = logger("deepfake_service.access")


class FailedSignIns:
    """Counts failed sign-ins, in this process."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._rate = RateLimit(settings.failed_sign_ins_per_address, TooManyFailedSignIns)
        self._audited = RateLimit(AUDITED)
        self._proxies = networks_of(settings.trusted_proxies)
        self._lock = threading.Lock()
        self._unrecorded = 0

    def check(self, request: HTTPConnection) -> None:
        """Raise ``TooManyFailedSignIns`` if too many sign-ins from this address have failed."""
        self._rate.check(client_network(request, self._proxies))

    def record(self, request: HTTPConnection, key: str, reason: str = "key") -> None:
        """Record that a sign-in failed. Writes to the database: call it in a thread.

        Args:
            request: says from which address.
            key: the text that was sent. Only the id in it is recorded, if it has the form of a key.
            reason: ``key`` or ``code``, for the audit log.

        Raises:
            TooManyFailedSignIns: too many sign-ins from this address have failed.
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
            if isinstance(error, TooManyFailedSignIns):
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
