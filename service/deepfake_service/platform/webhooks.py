"""Send webhooks by the Standard Webhooks specification: signed, to public addresses, no redirects.

The URL of a callback comes from a client and must not reach anything that only the service can
reach (server-side request forgery). So the host is resolved once, every address must be public or
in ``DEEPFAKE_CALLBACK_HOSTS``, and the connection goes to the address that was checked: a second
look-up could give another one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
from standardwebhooks.webhooks import Webhook

from deepfake_service.platform.db.enums import CallbackContent
from deepfake_service.platform.errors import CallbackRefused, CallbackUnresolved, FieldError
from deepfake_service.platform.networks import CallbackHosts

TIMEOUT_S = 10.0
"""Time for connecting, and for each read."""
DEADLINE_S = 20.0
"""Time for the whole request: a receiver that sends a byte now and then must not delay others."""
BACK_OFF = tuple(timedelta(seconds=s) for s in (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600))
"""Waiting times after failed attempts. After the last one the delivery has failed. They add up to
about 31 hours, so that a receiver may be down over a night."""
GONE = 410
"""The status by which, in the specification, a receiver declines further webhooks."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that a translator maps to the IPv4 address in their last 32 bits (RFC 6052)."""
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "64:ff9b:1::/48",  # the same for local use (RFC 8215)
        "fec0::/10",  # site-local, which old routers still use
        "::/96",  # IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated (SIIT, RFC 2765)
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # the former relays of 6to4
        "168.63.129.16/32",  # a cloud host that only its guests can reach
    )
)
_LAST_PORT = 65535
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""The only part of IPv6 from which public addresses are assigned (IANA)."""
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")
"""Examples (RFC 9637), which Python before 3.13 takes for public."""
_PORTS = frozenset({80, 443})
FIELD = "callback_url"
"""Name of the field with the URL, for errors about it."""
_WRONG_PORT = "must use port 443 or 80"
_NONE_ALLOWED = CallbackHosts()
ADDRESSES_TRIED = 3
"""Addresses of a receiver to which one attempt connects, until one of them accepts: the first one
may be down for as long as a name server gives it."""
RESOLVE_S = 5.0
"""Time for resolving a name."""
RESOLVERS = 8
"""Names that this process resolves at the same time."""
_resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolver")
"""Threads of their own: a name server that does not answer must not occupy those of requests."""

Resolve = Callable[[str, int], Sequence[str]]
"""Resolves host and port to numeric addresses."""


@dataclass(frozen=True, slots=True)
class Callback:
    """Where a webhook is sent, and what it says."""

    url: str
    content: CallbackContent = CallbackContent.IDS

    def to_bytes(self) -> bytes:
        """Return the callback as it is sealed."""
        return json.dumps([self.url, str(self.content)]).encode()

    @classmethod
    def from_bytes(cls, stored: bytes) -> Callback:
        """Return the callback that ``to_bytes`` stored."""
        url, content = json.loads(stored)
        return cls(url, CallbackContent(content))

    def __repr__(self) -> str:
        return "Callback()"


@dataclass(frozen=True, slots=True)
class Target:
    """A callback whose addresses were checked."""

    url: httpx.URL
    address: str
    others: tuple[str, ...] = ()
    """Addresses for an attempt that cannot connect to the first one."""

    def __repr__(self) -> str:
        return "Target()"


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """The result of one attempt: a code, and whether no further attempt is to be made."""

    code: str
    delivered: bool = False
    final: bool = False


def resolved(host: str, port: int) -> Sequence[str]:
    """Return the addresses of ``host``.

    Raises:
        OSError: it does not resolve, or not within ``RESOLVE_S`` (TimeoutError).
    """
    pending = _resolvers.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        entries = pending.result(RESOLVE_S)
    except TimeoutError:
        pending.cancel()  # unless it runs: nobody waits for it any more
        raise
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def check(
    url: str, *, allowed: CallbackHosts = _NONE_ALLOWED, resolve: Resolve = resolved
) -> Target:
    """Resolve the URL of a callback and check that it is public or ``allowed``.

    1. The scheme must be https or http, without a user name or password.
    2. The host is a name, which is resolved, or an address.
    3. Every address must be public: not loopback, private, link-local (which includes
       169.254.169.254, the metadata service of clouds), shared, multicast, reserved or unspecified,
       nor one of those mapped into IPv6. The port is 443 or 80.
    4. Neither applies to a host that is allowed by name, or all of whose addresses are in allowed
       networks.

    Raises:
        CallbackRefused: a condition is not met. The message gives the reason without the URL.
        CallbackUnresolved: the host could not be looked up now.
    """
    try:
        parsed = httpx.URL(url)
        host = parsed.host  # decodes an internationalised name, which may fail
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _refused("is not a URL with a host") from error
    if parsed.scheme not in ("http", "https") or not host:
        raise _refused("must name a host, and only http:// and https:// URLs are called")
    if parsed.userinfo:
        raise _refused("must not have a user name or password")
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    if port > _LAST_PORT:
        raise _refused(f"must have a port up to {_LAST_PORT}")
    is_named = allowed.has_name(parsed.raw_host.decode("ascii"))
    if port not in _PORTS and not (is_named or allowed.networks):
        raise _refused(_WRONG_PORT)
    try:
        addresses = resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise _not_public(error) from error
    if not addresses:
        raise _not_public()
    if not (is_named or all(_is_allowed(a, allowed) for a in addresses)):
        if not all(_is_public(a) or _is_allowed(a, allowed) for a in addresses):
            raise _not_public()
        if port not in _PORTS:
            raise _refused(_WRONG_PORT)
    return Target(parsed, addresses[0], tuple(addresses[1:ADDRESSES_TRIED]))


def _refused(rule: str) -> CallbackRefused:
    """Return the error about a callback URL that does not follow ``rule``."""
    return CallbackRefused(f"The callback URL {rule}.", errors=[FieldError(FIELD, rule)])


def _not_public(error: Exception | None = None) -> CallbackRefused:
    """Return the error about a host that was not found, because of ``error``, or is not public."""
    rule = "must resolve to public addresses only"
    # One text for names that do not resolve and for names that are not public: two would tell a
    # client which internal names exist.
    message, detail = f"The host of the callback URL {rule}", FieldError(FIELD, f"its host {rule}")
    is_temporary = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
    if is_temporary or isinstance(error, TimeoutError):
        later = "and cannot be looked up now. Try again later."
        return CallbackUnresolved(f"{message}, {later}", errors=[detail])
    return CallbackRefused(f"{message}.", errors=[detail])


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return a numeric address without its zone; ``None`` if it is none."""
    try:
        return ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None


def _is_allowed(address: str, allowed: CallbackHosts) -> bool:
    ip = _parsed(address)
    return ip is not None and allowed.has_address(ip)


def _is_public(address: str) -> bool:
    ip = _parsed(address)
    if ip is None:
        return False
    if any(ip in network for network in _REFUSED if network.version == ip.version):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner))
        if ip not in _GLOBAL_UNICAST or ip in _DOCUMENTATION:
            return False
    return ip.is_global and not ip.is_multicast


def event(name: str, data: dict[str, Any], at: datetime) -> str:
    """Return the body of an event in the form that the specification asks for."""
    content = {"type": name, "timestamp": at.isoformat(timespec="milliseconds"), "data": data}
    return json.dumps(content, separators=(",", ":"))


def send(target: Target, secret: str, message_id: str, body: str, at: datetime) -> DeliveryOutcome:
    """Deliver ``body`` once, signed with ``secret`` (``whsec_...``).

    Any 2xx status is success. Redirects are not followed, because their target was not checked.
    """
    headers = {
        "Content-Type": "application/json",
        "Host": target.url.netloc.decode("ascii"),
        "User-Agent": "deepfake-service",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body),
    }
    try:
        status = asyncio.run(asyncio.wait_for(_post(target, headers, body), DEADLINE_S))
    except (httpx.TimeoutException, TimeoutError):
        return DeliveryOutcome("timeout")
    except httpx.HTTPError:
        return DeliveryOutcome("unreachable")
    if 200 <= status < 300:
        return DeliveryOutcome(f"http_{status}", delivered=True)
    return DeliveryOutcome(f"http_{status}", final=status == GONE)


async def _post(target: Target, headers: dict[str, str], body: str) -> int:
    """Return the status of the response, whose body is not read."""
    async with httpx.AsyncClient(
        timeout=TIMEOUT_S, follow_redirects=False, trust_env=False
    ) as client:
        for address in (target.address, *target.others):
            try:
                async with client.stream(
                    "POST",
                    target.url.copy_with(host=address),
                    content=body.encode(),
                    headers=headers,
                    # The certificate is checked against the name, not the address.
                    extensions={"sni_hostname": target.url.host},
                ) as answer:
                    return answer.status_code
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error  # nothing was sent
    raise failure
