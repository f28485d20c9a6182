"""Fetch a public page as far as is needed to see whether it is there: little, once, and safely.

Each redirect is checked as the first address is (``outbound.check``). What an answer may take is
bounded: its head by h11 (100 KiB), its body and the time here. Nothing is executed, stored or sent
along: no cookies, no referrer, no credentials.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import httpcore
import httpx
from anyio.abc import ByteStream

from deepfake_service.platform import outbound
from deepfake_service.platform.errors import CallbackRefused
from deepfake_service.platform.networks import CallbackHosts

MAX_BODY_BYTES = 512 * 1024
"""Of all bodies of one page, as they are sent. Titles, canonical links and notices of removal are
at the beginning of a page."""
MAX_TEXT_BYTES = 1024 * 1024
"""Of a body after it was decompressed."""
MAX_HOPS = 5
"""Answers until the page, redirects included. With the heads, what the system receives ahead and
the further pages of a look (see ``lane.py``), one look stays below 3 MiB."""
HEAD_BYTES = 100 * 1024
"""Of an answer beside its body: the largest head that h11 reads. With TLS, early hints and the
coding of the body, all answers of a page together get no more."""
DEADLINE_S = 20.0
"""Time for the page, redirects included, beside that for resolving names."""
RECEIVE_BUFFER = 32 * 1024
"""Bytes that the system may receive ahead: what was sent but not read is traffic, too."""
AGENT = "deepfake-service"
PLAIN_AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36"
)
"""Of browsers, which shorten it to this: what a site shows to who does not say what asks."""
KEPT = ("content-type", "location", "retry-after", "link", "cf-mitigated", "age", "via", "x-cache")
"""Headers that a record of a look has."""
_CHARSETS = {
    "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "cp949": "cp949", "shift_jis": "cp932",
    "euc-jp": "euc_jp", "gb2312": "gb18030", "gbk": "gb18030", "big5": "big5",
    "windows-1251": "cp1251", "windows-1252": "cp1252", "iso-8859-1": "cp1252",
}  # fmt: skip
"""Encodings of pages other than UTF-8 (WHATWG Encoding), by Python's names."""
_DECLARED = re.compile(rb"charset\s?=\s?[\"']?([\w-]{1,20})", re.IGNORECASE | re.ASCII)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Failure(StrEnum):
    """Why there is no page."""

    REFUSED_ADDRESS = "refused_address"
    """The host, or that of a redirect, is not public, or the URL is none."""
    NO_SUCH_NAME = "no_such_name"
    NAME_SERVER = "name_server"
    """The name cannot be looked up now."""
    TIMEOUT = "timeout"
    RESET = "reset"
    """The connection was reset, as filters of networks do."""
    TLS = "tls"
    UNREACHABLE = "unreachable"
    MALFORMED = "malformed"
    """What was sent is not HTTP, or its head is too large or does not come."""
    REDIRECTS = "redirects"
    """There are more of them than are followed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer on the way to a page."""

    url: str
    status: int
    headers: Mapping[str, str]
    address: str
    body_bytes: int = 0
    """As they were sent, as far as they were read."""
    body_sha256: str = hashlib.sha256(b"").hexdigest()
    is_cut: bool = False
    """There was more than was read."""
    text: str = ""
    """The body, if it is text."""

    def __repr__(self) -> str:
        return "Answer()"


@dataclass(frozen=True, slots=True)
class Page:
    """What came of fetching a page: the answers in their order, and the failure after them."""

    answers: tuple[Answer, ...] = ()
    failure: Failure | None = None

    @property
    def last(self) -> Answer | None:
        """The answer that is not a redirect; ``None`` if there is none."""
        return self.answers[-1] if self.answers and self.failure is None else None


class _TooMuch(ValueError):
    """More was sent than a page may take."""


class _Metered(ByteStream):
    """A connection that ends once ``left`` is used up, whatever a server sends: no answer but early
    hints, a body in chunks of a byte, or TLS without content."""

    def __init__(self, stream: ByteStream, left: list[int]) -> None:
        self._stream, self._left = stream, left

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._left[0] <= 0:
            raise _TooMuch
        piece = await self._stream.receive(max_bytes)
        self._left[0] -= len(piece)
        return piece

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Any]:
        return self._stream.extra_attributes


class _Backend(httpcore.AnyIOBackend):
    """Connects with ``_Metered`` below TLS, where httpcore has no place of its own for it."""

    def __init__(self, left: list[int]) -> None:
        self._left = left

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        connected: Any = await super().connect_tcp(*args, **options)
        connected._stream = _Metered(connected._stream, self._left)
        return cast("httpcore.AsyncNetworkStream", connected)


class Pages:
    """Fetches pages, each with a connection of its own."""

    def __init__(
        self, *, allowed: CallbackHosts | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        """Create it. ``allowed`` hosts need not be public, for tests. ``tls`` verifies
        certificates; by default by the public authorities."""
        self._allowed = allowed or CallbackHosts()
        self._tls = tls or httpx.create_ssl_context(trust_env=False)

    def get(
        self,
        url: str,
        *,
        max_bytes: int = MAX_BODY_BYTES,
        hops: int = MAX_HOPS,
        agent: str = AGENT,
    ) -> Page:
        """Fetch a page with its redirects. Whatever happens is in the result."""
        answers: list[Answer] = []
        ends = time.monotonic() + DEADLINE_S
        left, traffic = max_bytes, [max_bytes + hops * HEAD_BYTES]
        while len(answers) < hops:
            try:
                target = outbound.check(url, allowed=self._allowed)
            except CallbackRefused as error:
                return Page(tuple(answers), failure_of_check(error))
            try:
                left_s = max(ends - time.monotonic(), 0.001)
                asked = self._answer(target, agent, left, traffic)
                answer = asyncio.run(asyncio.wait_for(asked, left_s))
            except (httpx.HTTPError, OSError, ValueError) as error:
                return Page(tuple(answers), _failure(error))
            answers.append(answer)
            left -= answer.body_bytes
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not location:
                return Page(tuple(answers))
            try:
                url = str(target.url.join(location))
            except (httpx.InvalidURL, UnicodeError):
                return Page(tuple(answers), Failure.REFUSED_ADDRESS)
        return Page(tuple(answers), Failure.REDIRECTS)

    async def _answer(
        self, target: outbound.Target, agent: str, max_bytes: int, traffic: list[int]
    ) -> Answer:
        headers = {"User-Agent": agent, "Accept-Language": "en", "Accept-Encoding": "gzip"}
        transport = httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False)
        transport._pool = httpcore.AsyncConnectionPool(
            ssl_context=self._tls,
            socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)],
            network_backend=_Backend(traffic),
        )
        async with (
            httpx.AsyncClient(transport=transport, timeout=DEADLINE_S, trust_env=False) as client,
            outbound.sent(client, "GET", target, headers) as (answer, address),
        ):
            kept = {n: answer.headers[n][:2000] for n in KEPT if n in answer.headers}
            seen = (str(target.url), answer.status_code, kept, address)
            if answer.status_code in _REDIRECTS:
                return Answer(*seen)  # whose body nobody needs
            body, is_cut = bytearray(), False
            try:
                async for piece in answer.aiter_raw():
                    body += piece[: max_bytes - len(body)]
                    if len(body) >= max_bytes:
                        raise _TooMuch
            except _TooMuch:
                is_cut = True
            digest = hashlib.sha256(body).hexdigest()
            encoding = answer.headers.get("content-encoding", "identity").lower()
            text = text_of(bytes(body), kept.get("content-type", ""), encoding)
            return Answer(*seen, len(body), digest, is_cut, text)


def text_of(body: bytes, content_type: str, encoding: str) -> str:
    """Return the text of a body; empty if it is none, or compressed in a way that was not asked."""
    kind, _, parameters = content_type.lower().partition(";")
    texts = ("text/", "application/json", "application/rdap+json", "application/x")
    if kind.strip() and not kind.strip().startswith(texts):
        return ""
    if encoding in ("gzip", "x-gzip"):
        try:
            # A bomb is not inflated further than a page can be read.
            body = zlib.decompressobj(wbits=31).decompress(body, MAX_TEXT_BYTES)
        except zlib.error:
            return ""
    elif encoding != "identity":
        return ""
    declared = _DECLARED.search(body[:1024])
    named = parameters.partition("charset=")[2].strip(" \"'")
    named = named or (declared[1].decode("ascii").lower() if declared else "")
    return body.decode(_CHARSETS.get(named, "utf-8"), errors="replace")


def failure_of_check(error: CallbackRefused) -> Failure:
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return Failure.NAME_SERVER
    if isinstance(cause, socket.gaierror):
        absent = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        return Failure.NO_SUCH_NAME if cause.errno in absent else Failure.NAME_SERVER
    return Failure.REFUSED_ADDRESS


def _failure(error: BaseException) -> Failure:
    """Name what went wrong by the first of the causes that tells."""
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return Failure.TIMEOUT
    if isinstance(error, _TooMuch):  # whose context is TLS that waits for more
        return Failure.MALFORMED
    cause: BaseException | None = error
    for _ in range(8):
        if isinstance(cause, ConnectionResetError):
            return Failure.RESET
        if isinstance(cause, ssl.SSLError):
            return Failure.TLS
        cause = cause and (cause.__cause__ or cause.__context__)
    is_ended = "disconnected" in str(error) or "closed" in str(error)
    if isinstance(error, (httpx.RemoteProtocolError, ValueError)) and not is_ended:
        return Failure.MALFORMED
    return Failure.UNREACHABLE
