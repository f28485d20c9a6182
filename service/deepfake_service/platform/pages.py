"""Fetch a public page as far as is needed to see whether it is there: little, once, and safely.

Each redirect is checked as the first address is (``outbound.check``). What an answer may take is
bounded: its head by h11 (100 KiB), its body and the time by ``outbound.fetch``. Nothing is
executed, stored or sent along: no cookies, no referrer, no credentials.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import httpx

from deepfake_service.platform import outbound
from deepfake_service.platform.errors import InvalidRequest, Overloaded, ServiceError
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.outbound import AnswerLimits, Reply

MAX_BODY_BYTES = 512 * 1024
"""Of all bodies of one page, as they are sent. Titles, canonical links and notices of removal are
at the beginning of a page."""
MAX_TEXT_BYTES = 1024 * 1024
"""Of a body after it was decompressed."""
MAX_HOPS = 5
"""Answers until the page, redirects included. With the heads, what the system receives ahead and
the further pages of a look (see ``lane.py``), one look of a usual site stays below 3 MiB."""
DEADLINE_S = 20.0
"""Time for the page, redirects included, beside that for resolving names."""
AGENT = "deepfake-service"
PLAIN_AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0.0.0 Safari/537.36"
)
"""Of browsers, which shorten it to this: what a site shows to who does not say what asks."""
_ASKED = {"Accept-Language": "en", "Accept-Encoding": "gzip"}
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


@dataclass(frozen=True, slots=True, repr=False)
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


@dataclass(frozen=True, slots=True)
class Page:
    """What came of fetching a page: the answers in their order, and the failure after them."""

    answers: tuple[Answer, ...] = ()
    failure: Failure | None = None

    @property
    def last(self) -> Answer | None:
        """The answer that is not a redirect; ``None`` if there is none."""
        return self.answers[-1] if self.answers and self.failure is None else None


class Pages:
    """Fetches pages, each over its own connection."""

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
        left = max_bytes
        while len(answers) < hops:
            try:
                target = outbound.check(url, allowed=self._allowed)
            except (InvalidRequest, Overloaded) as error:
                return Page(tuple(answers), failure_of_check(error))
            left_s = max(ends - time.monotonic(), 0.001)
            try:
                reply = outbound.fetch(
                    target,
                    AnswerLimits(left, DEADLINE_S, left_s),
                    headers={**_ASKED, "User-Agent": agent},
                    tls=self._tls,
                )
            except (httpx.HTTPError, OSError, ValueError) as error:
                return Page(tuple(answers), _failure(error))
            answer = _answer(str(target.url), reply)
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


def _answer(url: str, reply: Reply) -> Answer:
    kept = {name: reply.headers[name][:2000] for name in KEPT if name in reply.headers}
    encoding = reply.headers.get("content-encoding", "identity").lower()
    return Answer(
        url,
        reply.status,
        kept,
        reply.address,
        len(reply.body),
        hashlib.sha256(reply.body).hexdigest(),
        reply.is_cut,
        text_of(reply.body, kept.get("content-type", ""), encoding),
    )


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


def failure_of_check(error: ServiceError) -> Failure:
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
