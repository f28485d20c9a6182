"""An HTTP client that records each answer byte for byte, as records of WARC (ISO 28500:2017).

It runs in the enclosure of ``fetcher.py``, where its only way out is a SOCKS5 proxy on loopback,
which the gate serves. Each request has a connection of its own, so that nothing follows an answer.
"""

from __future__ import annotations

import hashlib
import io
import ipaddress
import re
import socket
import ssl
import string
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from functools import cached_property
from http.cookiejar import CookieJar
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit
from urllib.request import Request
from urllib.response import addinfourl

import h11
import idna

from deepfake_models.media.decoder import mime_of
from deepfake_service.capture.warc import HEAD_END, MAX_HEAD_BYTES, record
from deepfake_service.platform.pages import PLAIN_AGENT

TIMEOUT_S = 20.0
"""For an answer to begin, and for each pause in it."""
MAX_HOPS = 20
MAX_PAGE_BYTES = 4 << 20
"""Of a page, unpacked. More of it is not read; a picture or a video is, as far as the gate goes."""
BLOCK = 64 * 1024
HEADERS = {
    "User-Agent": PLAIN_AGENT,
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-us,en;q=0.5",
    "Accept-Encoding": "gzip",
    "Sec-Fetch-Mode": "navigate",
    "Connection": "close",
}
_PORTS = {"http": 80, "https": 443}
_SAFE = "!$%&'()*+,/:;=?@[]~"
"""Characters that an address may have beside letters and digits: others are percent-encoded."""
_BEFORE_QUERY = re.compile(r"[^?#]*")
_IN_NO_HOST = re.compile(r"[\0-\x20\x7f#%/<>?@\\^|]")
_REPLIES = {2: "refused_address", 4: "no_such_name", 5: "unreachable"}
"""What the replies of the gate mean."""


class NoAnswer(Exception):
    """There is no answer, for the reason that this names."""


@dataclass
class Exchange:
    """A request and its answer, as far as it came."""

    url: str
    at: str
    address: str
    tls: tuple[str, str] | None
    """The protocol and the cipher."""
    certificate: bytes
    request: bytes
    raw: bytearray = field(default_factory=bytearray)
    status: int = 0
    headers: Message = field(default_factory=Message)
    is_whole: bool = False
    _body: bytearray = field(default_factory=bytearray)
    """Without its transfer coding, as far as a page is read."""
    _sha256: hashlib._Hash = field(default_factory=hashlib.sha256)
    """Of all of it."""

    @cached_property
    def content(self) -> bytes:
        """The body without its codings, or the beginning of a picture or a video."""
        if self.headers.get("content-encoding", "").lower() not in ("gzip", "x-gzip"):
            return bytes(self._body)
        try:
            return zlib.decompressobj(wbits=31).decompress(self._body, MAX_PAGE_BYTES)
        except zlib.error:
            return b""

    @property
    def is_medium(self) -> bool:
        return mime_of(self.content[:512]) is not None

    def read(self, client: h11.Connection, connection: socket.socket) -> None:
        """Read the answer, as far as it comes."""
        while not self.is_whole:
            event = client.next_event()
            if event is h11.NEED_DATA:
                piece = connection.recv(BLOCK)
                self.raw += piece
                client.receive_data(piece)
            elif isinstance(event, h11.InformationalResponse):  # the answer follows
                end = HEAD_END.search(self.raw)
                del self.raw[: end.end() if end else 0]
            elif isinstance(event, h11.Response):
                self.status = event.status_code
                for name, value in event.headers:
                    # The bytes of an address need not be UTF-8.
                    text = (
                        quote(value, string.printable)
                        if name == b"location"
                        else value.decode("latin-1")
                    )
                    self.headers[name.decode("ascii")] = text
            elif isinstance(event, h11.Data):
                self._sha256.update(event.data)
                if len(self._body) < MAX_PAGE_BYTES:
                    self._body += event.data
                elif mime_of(bytes(self._body[:512])) is None:
                    return
            elif isinstance(event, h11.EndOfMessage):
                self.is_whole = True
                after, _ = client.trailing_data
                del self.raw[len(self.raw) - len(after) :]
            else:
                return

    def records(self) -> Iterator[bytes]:
        """Yield the records of the answer and of its request, in pieces."""
        fields = {
            "WARC-Target-URI": self.url,
            "WARC-Date": self.at,
            "WARC-IP-Address": self.address,
            "WARC-Protocol": "http/1.1",
            "WARC-Payload-Digest": f"sha256:{self._sha256.hexdigest()}",
            "Content-Type": "application/http; msgtype=response",
        }
        if self.tls:
            fields |= {"WARC-Protocol": self.tls[0], "WARC-Cipher-Suite": self.tls[1]}
        if not self.is_whole:
            fields["WARC-Truncated"] = "disconnect"
        yield from record("response", fields, bytes(self.raw))
        request = {name: fields[name] for name in ("WARC-Target-URI", "WARC-Date")}
        request["Content-Type"] = "application/http; msgtype=request"
        yield from record("request", request, self.request)


def now() -> str:
    """Return the time as fields of WARC records have it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def named(url: str, base: str = "") -> str:
    """Return an address whose host is that which browsers would go to (WHATWG URL, section 3.5).

    Python would go to another one, or to none, for characters beyond ASCII before an ``@``, letters
    such as "ß" and backslashes. What is before an ``@`` is left out: it is signed in nowhere.
    ``ValueError`` if it has no host.
    """
    before = _BEFORE_QUERY.match(url)
    assert before is not None
    parts = urlsplit(urljoin(base, before[0].replace("\\", "/") + url[before.end() :]))
    place = parts.netloc.rpartition("@")[2]
    if parts.scheme not in _PORTS:
        return parts.geturl()
    if not place.startswith("["):
        host, colon, port = unquote(place, errors="strict").partition(":")
        labels = idna.uts46_remap(host, std3_rules=False).split(".")
        host = ".".join(
            label if label.isascii() else f"xn--{label.encode('punycode').decode()}"
            for label in labels
        )
        if not host or not all(labels[:-1]) or _IN_NO_HOST.search(host):
            raise ValueError("no host")
        place = f"{host}{colon}{port}"
    path = parts.path or "/"
    if "/." in path:  # RFC 3986, section 5.2.4
        path = urlsplit(urljoin("http://a/", f"/.{path}")).path
    parts = parts._replace(
        netloc=place, path=quote(path, _SAFE), query=quote(parts.query, _SAFE), fragment=""
    )
    return parts.geturl()


class PageClient:
    """Fetches pages, and keeps each answer."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        """Create it. ``port`` is that of the proxy, and ``tls`` verifies certificates."""
        self._port, self._tls = port, tls
        self._jar = CookieJar()
        self.exchanges: list[Exchange] = []

    def get(self, url: str, base: str = "") -> tuple[str | None, list[Exchange]]:
        """Fetch an address with its redirects; return why there is no page, and the answers."""
        answers: list[Exchange] = []
        while len(answers) < MAX_HOPS:
            try:
                answer = self._exchange(named(url, base))
            except ValueError:  # no host
                return "no_such_name", answers
            except NoAnswer as error:
                return str(error), answers
            answers.append(answer)
            self.exchanges.append(answer)
            location = answer.headers.get("location")
            if not 300 <= answer.status < 400 or location is None:
                is_there = answer.is_whole or answer.content
                return (None if is_there else "unreachable"), answers
            url, base = location, answer.url
        return "unreachable", answers

    def _exchange(self, url: str) -> Exchange:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or parts.hostname is None:
            raise NoAnswer("unreachable")
        asked = Request(url)  # noqa: S310 - for the cookies alone
        self._jar.add_cookie_header(asked)
        headers = [("Host", parts.netloc), *HEADERS.items(), *asked.header_items()]
        client = h11.Connection(h11.CLIENT, MAX_HEAD_BYTES)
        query = f"?{parts.query}" if parts.query else ""
        begun = client.send(
            h11.Request(method="GET", target=f"{parts.path}{query}", headers=headers)
        )
        client.send(h11.EndOfMessage())
        assert begun is not None
        at = now()
        plain, address = self._dialled(parts)
        tls, certificate = None, b""
        with plain as connection:
            try:
                if parts.scheme == "https":
                    connection = self._tls.wrap_socket(plain, server_hostname=parts.hostname)
                    version, cipher = connection.version() or "", connection.cipher()
                    tls = f"tls/{version.removeprefix('TLSv')}", cipher[0] if cipher else ""
                    certificate = connection.getpeercert(binary_form=True) or b""
                connection.sendall(begun)
            except ssl.SSLCertVerificationError:
                raise NoAnswer("tls") from None
            except (OSError, ValueError):
                raise NoAnswer("unreachable") from None
            exchange = Exchange(url, at, address, tls, certificate, begun)
            with connection, suppress(OSError, h11.RemoteProtocolError):
                exchange.read(client, connection)
        if not exchange.status:
            raise NoAnswer("unreachable")
        self._jar.extract_cookies(addinfourl(io.BytesIO(), exchange.headers, url), asked)  # type: ignore[arg-type]
        return exchange

    def _dialled(self, parts: SplitResult) -> tuple[socket.socket, str]:
        """Return a connection through the proxy (RFC 1928), and to which address it leads."""
        assert parts.hostname is not None
        try:
            name, port = parts.hostname.encode("ascii"), parts.port or _PORTS[parts.scheme]
            connection = socket.create_connection(("127.0.0.1", self._port), 2 * TIMEOUT_S)
        except (OSError, ValueError):
            raise NoAnswer("unreachable") from None
        try:
            asked = b"\5\1\0\5\1\0\3" + bytes([len(name)]) + name + port.to_bytes(2, "big")
            connection.sendall(asked)
            reply, kind = _exactly(connection, 6)[3::2]
            address = _exactly(connection, 16 if kind == 4 else 4)
            _exactly(connection, 2)
        except (OSError, ValueError):
            reply, address = 5, b""
        if reply:
            connection.close()
            raise NoAnswer(_REPLIES.get(reply, "unreachable"))
        connection.settimeout(TIMEOUT_S)
        return connection, str(ipaddress.ip_address(address))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionResetError("the gate hung up")
        data += part
    return data
