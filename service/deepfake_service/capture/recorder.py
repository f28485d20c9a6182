"""Recording of what a fetcher sends and receives, byte for byte, as WARC records (ISO 28500:2017).

The connections of yt-dlp's handler for ``requests`` dial the gate, and what ``http.client`` reads
from them passes through here, below its parser and above TLS: heads and bodies as they were sent,
with their codings. This runs in the sandbox, where no address can be reached but through the gate.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import ipaddress
import queue
import re
import socket
import ssl
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote, unquote, urljoin, urlsplit

import idna
import requests.exceptions
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError
from yt_dlp import YoutubeDL
from yt_dlp.networking._requests import RequestsRH

from deepfake_models.sandbox import child
from deepfake_models.sandbox.protocol import MAX_PIECE_BYTES
from deepfake_service.capture.contents import REVISIT
from deepfake_service.evidence.bundle.warc import HEAD_END, dechunked, head_fields, head_of

TIMEOUT_S = 20.0
"""For an answer to begin, and for each pause in it."""
MAX_EXCHANGES = 2000
_BEFORE_QUERY = re.compile(r"[^?#]*")
_IN_NO_HOST = re.compile(r"[\0-\x20\x7f#%/<>?@\\^|]")
_ANSWERS = {2: "refused_address", 4: "no_such_name", 5: "unreachable"}
"""What the replies of the gate mean."""


class LimitReached(OSError):
    """What may be received for one link was received."""


@dataclass
class Exchange:
    """A request and its answer, as far as it came."""

    url: str
    at: str
    address: str
    tls: tuple[str, str] | None
    """The protocol and the cipher."""
    request: bytes
    raw: bytearray = field(repr=False)
    certificate: bytes = b""
    status: int = 0
    is_whole: bool = True

    @property
    def head(self) -> bytes:
        end = HEAD_END.search(self.raw)
        return bytes(self.raw[: end.end()]) if end else b""

    @property
    def body(self) -> memoryview:
        return memoryview(self.raw)[len(self.head) :]


@dataclass
class Sink:
    """What was recorded for one link, as pieces of a WARC file that another thread takes."""

    max_bytes: int
    tls: ssl.SSLContext
    software: str
    joins: bool = False
    """Whether bodies are segments, whose medium is recorded as a whole: only their digests are."""
    limit: bool = False
    failure: str | None = None
    """Why the newest connection could not be made."""
    exchanges: list[tuple[str, int, bytes, str]] = field(default_factory=list)
    """Address, status, head and numeric address of each answer."""
    pieces: queue.Queue[bytes | None] = field(default_factory=lambda: queue.Queue(8))
    open: list[Any] = field(default_factory=list)
    _certificates: set[str] = field(default_factory=set)

    def charge(self, size: int) -> None:
        self.max_bytes -= size
        if self.max_bytes < 0 or len(self.exchanges) >= MAX_EXCHANGES:
            self.limit = True
            raise LimitReached("more than is received for one link")

    def finish(self) -> None:
        """Record answers that nobody read to their end, and end."""
        for answer in list(self.open):
            answer._close_conn()
        self.pieces.put(None)

    def add(self, exchange: Exchange) -> None:
        """Write the records of an exchange."""
        if not self.exchanges:
            lines = f"software: {self.software}\r\nformat: WARC File Format 1.1\r\n"
            fields = {"WARC-Date": now(), "Content-Type": "application/warc-fields"}
            self.record("warcinfo", fields, memoryview(lines.encode()))
        if exchange.certificate:
            self._certificate(exchange.certificate, exchange.at)
        head, body = exchange.head, exchange.body
        self.exchanges.append((exchange.url, exchange.status, head, exchange.address))
        digest = hashlib.sha256()
        is_chunked = b"\ntransfer-encoding: chunked" in head.lower()
        try:
            for piece in dechunked(_cut(body)) if is_chunked else _cut(body):
                digest.update(piece)
        except Exception:  # of a body that was cut short or is none
            digest = hashlib.sha256(body)
        fields = {
            "WARC-Target-URI": exchange.url,
            "WARC-Date": exchange.at,
            "WARC-IP-Address": exchange.address,
            "WARC-Protocol": "http/1.1",
            "WARC-Payload-Digest": f"sha256:{digest.hexdigest()}",
            "Content-Type": "application/http; msgtype=response",
        }
        if exchange.tls:
            fields |= {"WARC-Protocol": exchange.tls[0], "WARC-Cipher-Suite": exchange.tls[1]}
        if not exchange.is_whole:
            fields["WARC-Truncated"] = "length" if self.limit else "disconnect"
        kind = head_fields(head.partition(b"\n")[2]).get("content-type", "").lower()
        is_text = any(word in kind for word in ("text/", "mpegurl", "xml", "json"))
        if self.joins and not is_text:
            self.record("revisit", {**fields, "WARC-Profile": REVISIT}, memoryview(head))
        else:
            self.record("response", fields, memoryview(exchange.raw))
        self.record(
            "request",
            {**{name: fields[name] for name in ("WARC-Target-URI", "WARC-Date")},
             "Content-Type": "application/http; msgtype=request"},
            memoryview(exchange.request),
        )  # fmt: skip

    def record(self, kind: str, fields: dict[str, str], block: memoryview) -> None:
        """Write one record. A body that takes long to take holds up the connection."""
        digest = f"sha256:{hashlib.sha256(block).hexdigest()}"
        self.pieces.put(head_of(kind, {**fields, "WARC-Block-Digest": digest}, len(block)))
        for piece in _cut(block):
            self.pieces.put(bytes(piece))
        self.pieces.put(b"\r\n\r\n")

    def _certificate(self, der: bytes, at: str) -> None:
        """Record the certificate of a server once."""
        digest = hashlib.sha256(der).hexdigest()
        if digest not in self._certificates:
            self._certificates.add(digest)
            fields = {"WARC-Target-URI": f"urn:x-certificate:sha256:{digest}", "WARC-Date": at,
                      "Content-Type": "application/pkix-cert"}  # fmt: skip
            self.record("resource", fields, memoryview(der))


def now() -> str:
    """Return the time as fields of WARC records have it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def named(url: str, base: str = "") -> str:
    """Return an address whose host is that which browsers would go to (WHATWG URL, section 3.5).

    The libraries below would go to another one, or to none, for characters beyond ASCII before an
    ``@``, letters such as "ß" and backslashes. What is before an ``@`` is left out: nobody is
    signed in. ``ValueError`` if it has no host.
    """
    before = _BEFORE_QUERY.match(url)
    assert before is not None
    parts = urlsplit(urljoin(base, before[0].replace("\\", "/") + url[before.end() :]))
    place = parts.netloc.rpartition("@")[2]
    if parts.scheme not in ("http", "https"):
        return parts.geturl()
    if not place.startswith("["):
        host, colon, port = unquote(place, errors="strict").partition(":")
        labels = idna.uts46_remap(host, std3_rules=False).split(".")
        host = ".".join(
            label if label.isascii() else f"xn--{label.encode('punycode').decode()}"
            for label in labels
        )
        if not host or _IN_NO_HOST.search(host):
            raise ValueError("no host")
        place = f"{host}{colon}{port}"
    return parts._replace(netloc=place).geturl()


def _cut(block: memoryview) -> Iterator[bytes]:
    for at in range(0, len(block), MAX_PIECE_BYTES):
        yield bytes(block[at : at + MAX_PIECE_BYTES])


class _Tee(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sink: Sink, kept: bytearray) -> None:
        self._raw, self._sink, self._kept = raw, sink, kept

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        size = self._raw.readinto(buffer)
        if size:
            self._sink.charge(size)
            self._kept += memoryview(buffer)[:size]
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Teed:
    """A socket whose file is read through a tee."""

    def __init__(self, sock: Any, sink: Sink, kept: bytearray) -> None:
        self._sock, self._sink, self._kept = sock, sink, kept

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Tee(self._sock.makefile("rb", 0), self._sink, self._kept))


class _Recorded(http.client.HTTPResponse):
    """An answer that is recorded once it was read, or is left."""

    def __init__(self, connection: Any, sock: Any, *args: Any, **options: Any) -> None:
        self._kept, self._connection = bytearray(), connection
        connection.kept = self._kept
        self._is_recorded = False
        connection.sink.open.append(self)
        super().__init__(_Teed(sock, connection.sink, self._kept), *args, **options)  # type: ignore[arg-type]

    def _close_conn(self) -> None:
        sink = self._connection.sink
        is_whole = (
            self._kept.endswith(b"\n0\r\n\r\n")
            if self.chunked
            else self.length == 0 or (self.length is None and not sink.limit)
        )
        if self.fp is not None:
            super()._close_conn()  # type: ignore[misc]
        if self._is_recorded:
            return
        self._is_recorded = True
        connection = self._connection
        connection.sink.open.remove(self)
        while (end := HEAD_END.search(self._kept)) and self._kept[8:12] == b" 100":
            del self._kept[: end.end()]  # the answer follows
        if not end:
            return  # no head came, or none with an end
        connection.sink.add(
            Exchange(
                connection.target, connection.at, connection.peer, connection.cipher,
                bytes(connection.sent), self._kept, connection.certificate, self.status or 0,
                is_whole,
            )
        )  # fmt: skip


class _Dialled:
    """What connections through the gate have in common."""

    sink: Sink
    host: str
    port: int
    peer = ""
    cipher: tuple[str, str] | None = None
    certificate = b""
    at = ""
    target = ""
    sent = bytearray()
    kept = bytearray()
    """What came of the newest answer."""
    default_port: ClassVar[int]
    response_class: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.response_class = partial(_Recorded, self)

    def _new_conn(self) -> socket.socket:
        name = self.host.strip("[]").encode("idna" if not self.host.isascii() else "ascii")
        try:
            dialled = child.connection()
        except OSError as error:
            raise NewConnectionError(self, "no gate") from error  # type: ignore[arg-type]
        dialled.settimeout(2 * TIMEOUT_S)
        try:
            port = self.port.to_bytes(2, "big")
            dialled.sendall(b"\5\1\0\5\1\0\3" + bytes([len(name)]) + name + port)
            code, kind = _exactly(dialled, 6)[3::2]
            peer = _exactly(dialled, 16 if kind == 4 else 4)
            _exactly(dialled, 2)
            if code:
                raise ConnectionRefusedError(_ANSWERS.get(code, "unreachable"))
        except (OSError, ValueError) as error:
            dialled.close()
            is_said = isinstance(error, ConnectionRefusedError)
            self.sink.failure = str(error) if is_said else "unreachable"
            raise NewConnectionError(self, self.sink.failure) from error  # type: ignore[arg-type]
        self.sink.failure, self.cipher = None, None
        self.peer = str(ipaddress.ip_address(peer))
        dialled.settimeout(TIMEOUT_S)
        return dialled

    def putrequest(self, method: str, url: str, *args: Any, **options: Any) -> None:
        self.sent, self.at = bytearray(), now()
        scheme = "https" if self.default_port == 443 else "http"
        port = "" if self.port == self.default_port else f":{self.port}"
        self.target = f"{scheme}://{self.host}{port}{url}"
        super().putrequest(method, url, *args, **options)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        super().send(data)  # type: ignore[misc]
        if isinstance(data, bytes | bytearray | memoryview):
            self.sent += data
        sock = getattr(self, "sock", None)
        if self.cipher is None and isinstance(sock, ssl.SSLSocket):
            named = sock.cipher()
            self.cipher = (
                f"tls/{(sock.version() or '').removeprefix('TLSv')}",
                named[0] if named else "",
            )
            self.certificate = sock.getpeercert(binary_form=True) or b""


class _Repeating:
    """A pool of connections, any of which its server may have ended since its last answer."""

    def _make_request(self, *args: Any, **options: Any) -> Any:
        conn, method = args[:2]
        is_reused, conn.kept = not conn.is_closed, bytearray()
        try:
            return super()._make_request(*args, **options)  # type: ignore[misc]
        except OSError:
            is_safe = method in ("GET", "HEAD") and not conn.sink.limit
            if not is_reused or conn.kept or not is_safe:
                raise
        # The server had ended it: that is no answer, and a new connection may get one (RFC 9112,
        # section 9.3.1). Most servers do so sooner or later, and many without saying when.
        conn.close()
        return super()._make_request(*args, **options)  # type: ignore[misc]


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise ConnectionResetError("the gate hung up")
        data += part
    return data


def _handler(recorded: Sink) -> type[RequestsRH]:
    """Return yt-dlp's handler of requests, whose connections dial the gate and are recorded."""

    def redirected(answer: Any) -> str | None:
        """Return where an answer leads. Its bytes need not be UTF-8."""
        if not answer.is_redirect:
            return None
        location = quote(answer.headers["location"], safe=string.printable, encoding="latin-1")
        try:
            return named(location, answer.url)
        except ValueError as error:
            recorded.failure = "no_such_name"
            raise requests.exceptions.InvalidURL("a redirect without a host") from error

    class Plain(_Dialled, HTTPConnection):
        sink = recorded

    class Secure(_Dialled, HTTPSConnection):
        sink = recorded

    class PlainPool(_Repeating, urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(_Repeating, urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    class GateRH(RequestsRH):  # type: ignore[misc]
        _SUPPORTED_PROXY_SCHEMES = ()

        def _make_sslcontext(self, **_: Any) -> ssl.SSLContext:
            return recorded.tls

        def _create_instance(self, *args: Any, **options: Any) -> Any:
            session = super()._create_instance(*args, **options)
            session.get_redirect_target = redirected
            for adapter in session.adapters.values():
                pools = {"http": PlainPool, "https": SecurePool}
                adapter.poolmanager.pool_classes_by_scheme = pools
            return session

        def _get_proxies(self, _request: Any) -> dict[str, str]:
            return {}

    return GateRH


def recording(sink: Sink, **options: Any) -> YoutubeDL:
    """Return yt-dlp with one handler of requests: that which dials the gate. ``file:``, web sockets
    and proxies have none."""

    class Recording(YoutubeDL):  # type: ignore[misc]
        proxies: ClassVar[dict[str, str]] = {}

        def build_request_director(self, _handlers: Any, preferences: Any = None) -> Any:
            return super().build_request_director([_handler(sink)], preferences)

    return Recording(options)
