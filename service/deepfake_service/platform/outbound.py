"""Requests to other servers: answers are read within limits of size and time, and servers that
others name are asked at public addresses only, namely those that were checked.

The URL of a callback comes from a client, and that of a post from an analyst or from a redirect of
the server before it. None may reach what only the service can reach (server-side request forgery).
So the host is resolved once, every address must be public or in a list of the operator's, and the
connection goes to the address that was checked: a second look-up could give another one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from deepfake_models.errors import DeepfakeError
from deepfake_service.platform.errors import Code, FieldError, InvalidRequest, Overloaded
from deepfake_service.platform.networks import CallbackHosts

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that a translator maps to the IPv4 address in their last 32 bits (RFC 6052)."""
_REFUSED = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments
    ipaddress.IPv4Network("192.88.99.0/24"),  # the former relays of 6to4
    ipaddress.IPv4Network("168.63.129.16/32"),  # a cloud host that only its guests can reach
)
"""Networks that are public by Python's tables."""
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
RECEIVE_BUFFER = 32 * 1024
"""Bytes that the system may receive ahead: what was sent but not read is traffic, too."""
RESOLVE_S = 5.0
"""Time for resolving a name."""
RESOLVERS = 8
"""Names that this process resolves at the same time, beside those of links."""
_resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolver")
"""Threads of their own: a name server that does not answer must not occupy those of requests."""

Resolve = Callable[[str, int], Sequence[str]]
"""Resolves host and port to numeric addresses."""


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """A callback whose addresses were checked."""

    url: httpx.URL
    addresses: tuple[str, ...]
    """The first one to which a connection can be made is used."""


def resolved(host: str, port: int, resolvers: ThreadPoolExecutor | None = None) -> Sequence[str]:
    """Return the addresses of ``host``; ``OSError`` if it does not resolve, or not within
    ``RESOLVE_S`` (TimeoutError).

    One that is given up keeps its thread of ``resolvers`` for as long as the system asks.
    """
    pending = (resolvers or _resolvers).submit(
        socket.getaddrinfo, host, port, type=socket.SOCK_STREAM
    )
    try:
        entries = pending.result(RESOLVE_S)
    except TimeoutError:
        pending.cancel()  # unless it runs: no one waits for it any more
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
       nor one of those mapped into IPv6. It is none of this machine's own either: a packet filter
       on its outer interface would not see the connection. The port is 443 or 80.
    4. Neither applies to a host that is allowed by name, or all of whose addresses are in allowed
       networks.

    Raises:
        InvalidRequest: a condition is not met. The message gives the reason without the URL.
        Overloaded: the host could not be looked up now.
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
    port = parsed.port if parsed.port is not None else 443 if parsed.scheme == "https" else 80
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
    return Target(parsed, tuple(addresses[:ADDRESSES_TRIED]))


def _refused(rule: str) -> InvalidRequest:
    """Return the error about a callback URL that does not follow ``rule``."""
    detail = FieldError(FIELD, rule)
    return InvalidRequest(f"The callback URL {rule}.", code=Code.CALLBACK_REFUSED, errors=[detail])


def _not_public(error: Exception | None = None) -> InvalidRequest | Overloaded:
    """Return the error about a host that was not found, because of ``error``, or is not public."""
    rule = "must resolve to public addresses only"
    # One text for names that do not resolve and for names that are not public: two would tell a
    # client which internal names exist.
    message, detail = f"The host of the callback URL {rule}", FieldError(FIELD, f"its host {rule}")
    is_temporary = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
    if is_temporary or isinstance(error, TimeoutError):
        message += ", and cannot be looked up now. Try again later."
        return Overloaded(message, code=Code.CALLBACK_UNRESOLVED, errors=[detail])
    return InvalidRequest(f"{message}.", code=Code.CALLBACK_REFUSED, errors=[detail])


def _is_allowed(address: str, allowed: CallbackHosts) -> bool:
    return allowed.has_address(ipaddress.ip_address(address.partition("%")[0]))


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])  # without its zone
    if _is_own(ip):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner))
        if ip not in _GLOBAL_UNICAST or ip in _DOCUMENTATION:
            return False
    elif any(ip in network for network in _REFUSED):
        return False
    return ip.is_global and not ip.is_multicast


def _is_own(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether an address is of this machine."""
    # A route's source is the first address of an interface, so it does not tell its further ones;
    # and where the system lets any address be bound (ip_nonlocal_bind), only the source tells.
    example = "192.0.2.1" if ip.version == 4 else "2001:db8::1"
    return (_binds(str(ip)) and not _binds(example)) or _source(str(ip)) == str(ip)


def _binds(address: str) -> bool:
    try:
        with _datagrams(address) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _source(address: str) -> str | None:
    """Return from where this machine would send to an address; nothing is sent."""
    try:
        with _datagrams(address) as probe:
            probe.connect((address, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _datagrams(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """What an answer may have and take."""

    max_bytes: int
    """Of its body, as it is sent. With 0, none is read."""
    pause_s: float
    """Longest pause in it."""
    deadline_s: float
    """Until its end, with the look-up of a name."""


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """A server's answer."""

    status: int
    headers: httpx.Headers
    address: str
    """Which was connected to; the host's name if that was not looked up here."""
    body: bytes = b""
    """As it was sent, never decompressed: a few hundred bytes can become gigabytes. That of a
    redirect is not read."""
    is_cut: bool = False
    """There was more than was read."""


class _NameLookups(ThreadPoolExecutor):
    """The thread in which the name of a server is looked up. Nothing ends a look-up early, so it is
    left behind: ``asyncio.run`` would wait for it."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        super().shutdown(wait=False, cancel_futures=cancel_futures)


def fetch(
    to: Target | str,
    limits: AnswerLimits,
    headers: Mapping[str, str],
    *,
    post: bytes | None = None,
    tls: ssl.SSLContext | None = None,
) -> Reply:
    """Send one request and return its answer. Redirects are not followed. Call it in a thread that
    runs no event loop.

    A target is asked at the first of its addresses that accepts a connection. A URL, which the
    operator named, is asked by its name, with the proxies of the environment. ``tls`` verifies
    certificates; by default by the public authorities.

    Raises:
        httpx.HTTPError, httpx.InvalidURL: there is no answer. TimeoutError: nor by the deadline.
    """
    method = "GET" if post is None else "POST"
    if isinstance(to, str):
        client = httpx.AsyncClient(timeout=limits.pause_s)
        requests = [client.build_request(method, to, content=post, headers=headers)]
    else:
        transport = httpx.AsyncHTTPTransport(
            verify=tls or True,
            trust_env=False,
            socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)],
        )
        client = httpx.AsyncClient(transport=transport, timeout=limits.pause_s, trust_env=False)
        requests = [
            client.build_request(
                method,
                to.url.copy_with(host=address),
                content=post,
                headers={"Host": to.url.netloc.decode("ascii"), **headers},
                # The certificate is checked against the name, not the address.
                extensions={"sni_hostname": to.url.host},
            )
            for address in to.addresses
        ]
    return asyncio.run(asyncio.wait_for(_reply(client, requests, limits), limits.deadline_s))


async def _reply(
    client: httpx.AsyncClient, requests: Sequence[httpx.Request], limits: AnswerLimits
) -> Reply:
    asyncio.get_running_loop().set_default_executor(_NameLookups(max_workers=1))
    async with client:
        for request in requests:
            try:
                answer = await client.send(request, stream=True)
                break
            except (httpx.ConnectError, httpx.ConnectTimeout):  # nothing was sent
                if request is requests[-1]:
                    raise
            except httpx.InvalidURL as error:  # of a redirect, which is not followed here
                raise httpx.RemoteProtocolError("the answer names no address") from error
        head = (answer.status_code, answer.headers, request.url.host)
        body, is_cut = bytearray(), False
        if limits.max_bytes and not answer.has_redirect_location:
            async for piece in answer.aiter_raw():
                room = limits.max_bytes - len(body)
                body += piece[:room]
                if is_cut := len(piece) > room:
                    break
        await answer.aclose()
        return Reply(*head, bytes(body), is_cut)


class UnusableAnswer(DeepfakeError):
    """A server did not answer as asked; the message says how, as the predicate of a sentence."""


def fetch_bounded(
    url: str, limits: AnswerLimits, *, post: bytes | None = None, media_type: str | None = None
) -> bytes:
    """Return the body of the answer of a server that the operator named. What is to be ``post``ed
    has this media type. ``UnusableAnswer`` if the server cannot be reached, refuses, compresses its
    answer, or exceeds the limits."""
    headers = {"Accept-Encoding": "identity"} | ({"Content-Type": media_type} if media_type else {})
    try:
        reply = fetch(url, limits, headers, post=post)
    except (TimeoutError, httpx.TimeoutException) as error:
        raise UnusableAnswer("answers too slowly") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnusableAnswer("does not answer") from error
    if reply.status != 200:
        raise UnusableAnswer(f"answered with status {reply.status}")
    if reply.headers.get("content-encoding", "identity") != "identity":
        raise UnusableAnswer("compressed its answer, although it was asked not to")
    if reply.is_cut:
        raise UnusableAnswer(f"sent too large an answer (over {limits.max_bytes} bytes)")
    return reply.body
