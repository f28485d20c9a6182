"""Webhooks by the Standard Webhooks specification: signed, to public addresses, without redirects.

A callback's URL is a client's text, and the service is asked to send to it: whatever it names must
be nothing that only the service can reach. So its name is resolved once, every address must be
public, and the connection goes to the address that was checked (no second look-up that could answer
otherwise).
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
from standardwebhooks.webhooks import Webhook

from deepfake_service.errors import CallbackRefused

TIMEOUT_S = 10.0
"""Of connecting, and of each read."""
DEADLINE_S = 20.0
"""Of all of it: a receiver that sends a byte now and then must not hold up the others."""
BACK_OFF = tuple(timedelta(seconds=s) for s in (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600))
"""After each failed attempt; after the last one a delivery has failed. About 31 hours in all, so
that a receiver may be down over a night."""
GONE = 410
"""A receiver that wants no more of this, by the specification."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that a translator turns into the IPv4 address in their last 32 bits (RFC 6052)."""
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "64:ff9b:1::/48",  # the same for a network's own use (RFC 8215)
        "fec0::/10",  # site-local, as old routers still have it
        "::/96",  # IPv4-compatible
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # the former relays of 6to4
        "168.63.129.16/32",  # a cloud's host, reachable only from its guests
    )
)
_LAST_PORT = 65535

Resolve = Callable[[str, int], Sequence[str]]
"""Host and port to numeric addresses."""


@dataclass(frozen=True, slots=True)
class Target:
    """A callback whose address was checked."""

    url: httpx.URL
    address: str

    def __repr__(self) -> str:
        return "Target()"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt: a code to keep, and whether another is worth while."""

    code: str
    delivered: bool = False
    final: bool = False


def resolved(host: str, port: int) -> Sequence[str]:
    """The addresses of ``host``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def check(url: str, *, allow_private: bool = False, resolve: Resolve = resolved) -> Target:
    """Resolve a callback and refuse what is not public.

    1. The scheme is https, or http; no user name or password is in it.
    2. The host is a name or an address; names are resolved.
    3. Every address is a public one: not loopback, private, link-local (169.254.169.254, the
       metadata of clouds, is one), shared, multicast, reserved or unspecified, nor one of those
       mapped into IPv6. One that is not refuses the whole name.

    Raises:
        CallbackRefused: naming the reason, without the URL.
    """
    try:
        parsed = httpx.URL(url)
        host = parsed.host  # decodes an internationalised name, which can fail
    except (httpx.InvalidURL, UnicodeError) as error:
        raise CallbackRefused("it is not a URL") from error
    if parsed.scheme not in ("http", "https") or not host:
        raise CallbackRefused("only http:// and https:// URLs are called")
    if parsed.userinfo:
        raise CallbackRefused("it holds a user name or password")
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    if port > _LAST_PORT:
        raise CallbackRefused("its port is none")
    try:
        addresses = resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise CallbackRefused("its host name cannot be resolved") from error
    if not addresses:
        raise CallbackRefused("its host name cannot be resolved")
    if not allow_private and not all(_is_public(a) for a in addresses):
        raise CallbackRefused("its address is not a public one")
    return Target(parsed, addresses[0])


def _is_public(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if any(ip in network for network in _REFUSED if network.version == ip.version):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def event(name: str, data: dict[str, Any], at: datetime) -> str:
    """The body of an event, as the specification forms it."""
    content = {"type": name, "timestamp": at.isoformat(timespec="milliseconds"), "data": data}
    return json.dumps(content, separators=(",", ":"))


def send(target: Target, secret: str, message_id: str, body: str, at: datetime) -> Outcome:
    """Deliver ``body`` once, signed with ``secret`` (``whsec_...``).

    Success is any 2xx. Redirects are not followed: they lead where nobody has checked.
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
        return Outcome("timeout")
    except httpx.HTTPError:
        return Outcome("unreachable")
    if 200 <= status < 300:
        return Outcome(f"http_{status}", delivered=True)
    return Outcome(f"http_{status}", final=status == GONE)


async def _post(target: Target, headers: dict[str, str], body: str) -> int:
    """The status that is answered; what else is answered is not read."""
    async with (
        httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
        client.stream(
            "POST",
            target.url.copy_with(host=target.address),
            content=body.encode(),
            headers=headers,
            # The certificate is checked against the name, not the address.
            extensions={"sni_hostname": target.url.host},
        ) as answer,
    ):
        return answer.status_code
