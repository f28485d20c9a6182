"""A platform on loopback, with TLS by an authority of its own, whose posts come and go.

Host names resolve by ``FakePlatform.resolving``. What each path answers is a function, which tests
replace at any time: ``platform.says("/v/1", status(410))``.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import gzip
import ipaddress
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.loopback import serving
from tests.support.servers import wait_until

Answer = Callable[["Handler"], None]
NAMES = ("video.example", "other.example", "warning.or.kr")


def post(title: str = "A post", path: str | None = None, extra: str = "") -> Answer:
    """Return the page of a post that is up, and names itself and its medium."""

    def answer(handler: Handler) -> None:
        own = f"https://video.example{path or handler.path}"
        handler.page(
            f"<title>{title} - Video</title><meta property='og:url' content='{own}'>"
            f"<meta property='og:video' content='{own}.mp4'><h1>{title}</h1><video></video>{extra}"
            f"<p>seen by {' '.join(map(str, range(60)))}</p>"
        )

    return answer


def status(code: int, body: str = "<h1>?</h1>", **headers: str) -> Answer:
    """Return an answer with a status, and headers whose names have underscores."""
    return lambda handler: handler.page(body, code, **headers)


def shows(body: str) -> Answer:
    return lambda handler: handler.page(body)


def redirect(to: str, code: int = 302) -> Answer:
    return lambda handler: handler.page("", code, Location=to)


def reset(handler: Handler) -> None:
    """Reset the connection, as a filter does."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.close_connection = True
    # The file objects hold the socket as well: a shut down socket would end in order.
    handler.wfile.close()
    handler.rfile.close()
    raw = socket.socket(fileno=handler.connection.detach())
    raw.close()


def answers_once(answer: Answer) -> Answer:
    """Answer one request of each connection, and hang up at the second one without a word."""

    def once(handler: Handler) -> None:
        if handler.has_answered:
            handler.close_connection = True
            handler.server.hung_up += 1  # type: ignore[attr-defined]
            return
        handler.has_answered = True
        answer(handler)
        handler.close_connection = False

    return once


def endless(handler: Handler) -> None:
    handler.head(200, {"Content-Type": "text/html"})
    _flood(handler, b"<p>more</p>" * 100)


def heavy(to: str) -> Answer:
    """Return a redirect with as large a head as is read, and an endless body."""

    def answer(handler: Handler) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        handler.head(302, {"Location": to, "X-A": "a" * 90_000})
        handler.server.sent += 90_000  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"<p>more</p>" * 100)
                handler.server.sent += 1_100  # type: ignore[attr-defined]

    return answer


def slow(handler: Handler) -> None:
    handler.head(200, {"Content-Type": "text/html"})
    with contextlib.suppress(OSError):
        while not handler.server.closing.wait(0.2):  # type: ignore[attr-defined]
            handler.wfile.write(b"<")
            handler.wfile.flush()


def slow_head(handler: Handler) -> None:
    """Begin a head that does not end."""
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-A: ")
        while not handler.server.closing.wait(0.2):  # type: ignore[attr-defined]
            handler.wfile.write(b"a")
            handler.wfile.flush()


def hints(handler: Handler) -> None:
    """Send early hints (RFC 8297) without end, which are no answer yet."""
    _flood(handler, b"HTTP/1.1 103 Early Hints\r\nLink: </%s>\r\n\r\n" % (b"a" * 900))


def crumbs(handler: Handler) -> None:
    """Send a body in chunks of a byte, each with a long extension (RFC 9112, section 7.1.1)."""
    handler.head(200, {"Content-Type": "text/html", "Transfer-Encoding": "chunked"})
    _flood(handler, b"1;%s\r\n<\r\n" % (b"a" * 900))


def _flood(handler: Handler, piece: bytes) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    handler.close_connection = True
    with contextlib.suppress(OSError):
        while not handler.server.closing.is_set():  # type: ignore[attr-defined]
            handler.wfile.write(10 * piece)
            handler.server.sent += 10 * len(piece)  # type: ignore[attr-defined]


def huge_headers(handler: Handler) -> None:
    with contextlib.suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 30_000_000 + b"\r\n\r\n")


def garbage(handler: Handler) -> None:
    handler.wfile.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
    handler.close_connection = True


@functools.cache
def inflatable() -> bytes:
    """Return 200 kB that are 200 MB when they are decompressed."""
    return gzip.compress(b"\0" * 200_000_000)


def bomb(handler: Handler) -> None:
    content = inflatable()
    handler.head(200, {"Content-Type": "text/html", "Content-Encoding": "gzip",
                       "Content-Length": str(len(content))})  # fmt: skip
    with contextlib.suppress(OSError):
        handler.wfile.write(content)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    has_answered = False
    """On this connection, by ``answers_once``, which does not say that it ends it."""

    def do_GET(self) -> None:
        platform: FakePlatform = self.server.platform  # type: ignore[attr-defined]
        platform.asked[self.path] += 1
        if len(platform.headers) < 100:
            platform.headers.append(dict(self.headers))
        answer = platform.all_say or platform.answers.get(self.path) or platform.others
        platform.answering.add(thread := threading.get_ident())
        try:
            answer(self)
        finally:
            platform.answering.discard(thread)

    def page(self, body: str, code: int = 200, **headers: str) -> None:
        content = body.encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.head(code, {"Content-Type": "text/html; charset=utf-8",
                         "Content-Length": str(len(content)), **named})  # fmt: skip
        self.wfile.write(content)

    def head(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        if not self.has_answered:
            # As a server says that ends a connection (RFC 9112, section 9.6). Else the next request
            # on it is lost if it is sent before the end has come, and not each is sent again.
            self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is none of ours."""


class FakePlatform:
    """Posts at ``https://video.example:PORT`` (and at other names), each with its answer."""

    def __init__(self, folder: Path, *, with_tls: bool = True) -> None:
        self.with_tls = with_tls
        self.answers: dict[str, Answer] = {}
        self.others: Answer = status(404, "<title>Not found</title>")
        """What paths without an answer say."""
        self.all_say: Answer | None = None
        """What every path says during an outage."""
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.answering: set[int] = set()
        """The threads that answer a request."""
        self._authority = _authority(folder)
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.platform = self  # type: ignore[attr-defined]
        self._server.sent = 0  # type: ignore[attr-defined]
        self._server.hung_up = 0  # type: ignore[attr-defined]
        self._server.closing = threading.Event()  # type: ignore[attr-defined]
        if with_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "server.pem")
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._serving = contextlib.ExitStack()
        self._serving.enter_context(serving(self._server))

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    @property
    def sent_bytes(self) -> int:
        """What the answers without end have sent, all of which a client must have broken off."""
        wait_until(lambda: not self.answering)
        return int(self._server.sent)  # type: ignore[attr-defined]

    @property
    def hung_up(self) -> int:
        """How many requests ``answers_once`` did not answer."""
        return int(self._server.hung_up)  # type: ignore[attr-defined]

    def tls(self) -> ssl.SSLContext:
        """Return what a client verifies its certificate by."""
        return ssl.create_default_context(cafile=str(self._authority))

    @property
    def authority(self) -> str:
        """Its authority's certificate in PEM."""
        return self._authority.read_text()

    def url(self, path: str, host: str = "video.example") -> str:
        return f"{'https' if self.with_tls else 'http'}://{host}:{self.port}{path}"

    def says(self, path: str, answer: Answer) -> str:
        """Let a path answer so, and return its URL."""
        self.answers[path] = answer
        return self.url(path)

    def close(self) -> None:
        self._server.closing.set()  # type: ignore[attr-defined]
        self._serving.close()


@contextlib.contextmanager
def resolving(names: dict[str, Any]) -> Iterator[Counter[str]]:
    """Resolve these names, to an address or by raising an error, and all others to loopback.

    Yields how often each was asked for.
    """
    real, asked = socket.getaddrinfo, Counter[str]()

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        asked[name] += 1
        known = names.get(name, "127.0.0.1" if str(name).endswith(".example") else name)
        if isinstance(known, Exception):
            raise known
        found = []
        for each in [known] if isinstance(known, str) else known:
            found += real(each, port, *args, **options)
        return found

    socket.getaddrinfo = getaddrinfo
    try:
        yield asked
    finally:
        socket.getaddrinfo = real


def _authority(folder: Path) -> Path:
    """Write the certificate and the key of the platform; return the file of its authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    start = datetime.datetime(2020, 1, 1)
    sites = [x509.DNSName(n) for n in (*NAMES, "*.example")]
    sites.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))  # type: ignore[arg-type]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName(sites), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.pem").write_bytes(secret + pem)
    (folder / "authority.pem").write_bytes(pem)
    return folder / "authority.pem"
