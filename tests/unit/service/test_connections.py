"""The server's connections under attack: idle ones, slow heads, slow bodies, refused responses."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from deepfake_service.http.connections import (
    KNOWN_SENDER,
    RESERVED,
    ConnectionLimits,
    connection_class,
)
from tests.support.servekit import wait_until


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer the path; ``/large`` has more than any buffer holds, the sender of
    ``/known`` is known before its body is read, and nothing else happens during ``/busy``."""
    if scope["path"] == "/known":
        scope["state"][KNOWN_SENDER] = True
    if scope["path"] == "/busy":
        time.sleep(0.3)  # noqa: ASYNC251 - connections wait in the listener meanwhile
    if scope["path"] != "/unread":
        while (await receive()).get("more_body"):
            pass
    body = b"x" * 50_000_000 if scope["path"] == "/large" else scope["path"].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def waiting(path: str) -> bytes:
    """Return the head of a request whose body does not follow."""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n".encode()


class Server:
    """A server of ``app`` in a thread, with a listener for operators if ``operations`` is set."""

    def __init__(self, *, operations: bool = False, **limits: Any) -> None:
        self.sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(1 + operations)]
        self.ports = [s.getsockname()[1] for s in self.sockets]
        values = {"max_connections": 4, "head_timeout_s": 30.0, "stall_timeout_s": 30.0, **limits}
        if operations:
            values["operations_port"] = self.ports[1]
        protocol = connection_class(ConnectionLimits(**values))
        config = uvicorn.Config(app, http=protocol, lifespan="off", log_config=None, ws="none")
        self.server = uvicorn.Server(config)
        self.opened: list[socket.socket] = []
        self.thread = threading.Thread(target=self.server.run, args=(self.sockets,), daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started)

    def open(self, sent: bytes = b"", port: int = 0) -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self.ports[port]), timeout=20)
        self.opened.append(opened)
        opened.sendall(sent)
        return opened

    def get(self, path: str, port: int = 0) -> int:
        return httpx.get(f"http://127.0.0.1:{self.ports[port]}{path}", timeout=20).status_code

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)


@pytest.fixture
def serving() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(**options: Any) -> Server:
        servers.append(Server(**options))
        return servers[-1]

    yield start
    for server in servers:
        for opened in server.opened:
            opened.close()
        server.server.should_exit = server.server.force_exit = True
        server.thread.join(20)


def answers(opened: socket.socket) -> list[int]:
    """Return the status codes of everything that the server sends before it closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := opened.recv(65536):
            received += data
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d{3}) ", received)]


def receive_until(opened: socket.socket, end: bytes) -> bytes:
    """Return what the server sends, up to ``end``."""
    received = b""
    while not received.endswith(end):
        data = opened.recv(1000)
        assert data, f"the server closed the connection after {received!r}"
        received += data
    return received


def is_closed_within(opened: socket.socket, seconds: float) -> bool:
    opened.settimeout(seconds)
    with contextlib.suppress(ConnectionResetError):
        try:
            return opened.recv(100) == b""
        except TimeoutError:
            return False
    return True


def test_idle_connections_without_a_key_do_not_stop_the_service(
    serving: Callable[..., Server],
) -> None:
    server = serving()
    for _ in range(60):
        server.open()
    assert server.get("/v1/jobs") == 200
    assert server.get("/healthz") == 200
    assert server.connections <= 4 + RESERVED
    for _ in range(60):
        server.open(b"POST / HTTP/1.1\r\nHost: x\r\n")
    assert server.get("/v1/jobs") == 200


def test_the_address_with_most_idle_connections_loses_them_first(
    serving: Callable[..., Server],
) -> None:
    server = serving()
    kept = socket.create_connection(
        ("127.0.0.1", server.ports[0]), timeout=20, source_address=("127.0.0.2", 0)
    )
    for _ in range(20):
        server.open()
    kept.sendall(b"GET /kept HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" in kept.recv(100)
    kept.close()


def test_health_is_answered_while_every_connection_has_a_request(
    serving: Callable[..., Server],
) -> None:
    server = serving()
    slow = [server.open(waiting("/known")) for _ in range(4)]
    wait_until(lambda: server.connections == 4)
    for _ in range(2 * RESERVED):  # the extra connections are given back
        assert server.get("/healthz") == 200
    assert server.get("/v1/jobs") == 503
    for opened in slow:
        opened.close()
    wait_until(lambda: server.get("/v1/jobs") == 200)


def test_heads_without_a_key_and_a_body_do_not_stop_the_service(
    serving: Callable[..., Server],
) -> None:
    """Such requests kept every connection until their bodies were late, again and again."""
    server = serving()
    expecting = waiting("/known").replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    upload = server.open(expecting)
    assert b" 100 " in upload.recv(1000)
    for _ in range(20):
        server.open(waiting("/sign-in"))
    assert server.get("/v1/jobs") == 200
    upload.sendall(b"123456789")
    assert b" 200 " in upload.recv(1000)
    honest = server.open(waiting("/sign-in"))  # no other has waited for a shorter time
    assert server.get("/v1/jobs") == 200
    honest.sendall(b"123456789")
    assert b" 200 " in honest.recv(1000)


def test_a_head_that_does_not_end_is_cut_off(serving: Callable[..., Server]) -> None:
    server = serving(head_timeout_s=0.5)
    nothing, half = server.open(), server.open(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    answered = server.open(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" in answered.recv(100)
    answered.sendall(b"GET / HTTP/1.1\r\n")  # the second head on a connection counts as well
    for opened in (nothing, half, answered):
        began = time.monotonic()
        while not is_closed_within(opened, 0.1):
            assert time.monotonic() - began < 10
            with contextlib.suppress(OSError):
                opened.sendall(b"x")  # a byte now and then does not help


def test_a_body_that_nobody_reads_does_not_keep_its_connection(
    serving: Callable[..., Server],
) -> None:
    server = serving(head_timeout_s=0.5)
    opened = server.open(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n")
    assert b"200" in opened.recv(100)

    def is_closed() -> bool:
        try:
            opened.sendall(b"x")
        except OSError:
            return True
        return False

    wait_until(is_closed, 10)


def test_a_client_that_does_not_receive_is_disconnected(serving: Callable[..., Server]) -> None:
    server = serving(stall_timeout_s=0.5)
    server.open(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: server.connections == 1)
    wait_until(lambda: server.connections == 0)


def test_clients_cannot_block_the_listener_of_operators(serving: Callable[..., Server]) -> None:
    server = serving(operations=True)
    for _ in range(4 + RESERVED):
        server.open(waiting("/known"))
    assert server.get("/metrics", port=1) == 200
    assert server.get("/v1/jobs", port=1) == 404
    for _ in range(3 * RESERVED):
        server.open(port=1)
    assert server.get("/readyz", port=1) == 200


def test_a_connection_that_was_answered_gives_way_at_once(serving: Callable[..., Server]) -> None:
    server = serving(max_connections=1)
    for _ in range(20):
        answered = server.open(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in answered.recv(1000)  # it stays open for a further request
        following = server.open(b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in following.recv(1000)


def test_a_head_that_is_on_its_way_is_not_lost_to_connections_accepted_with_it(
    serving: Callable[..., Server],
) -> None:
    """Connections that were accepted while the server was busy replaced each other."""
    server = serving(max_connections=3)
    for _ in range(3):
        answered = server.open(b"GET /answered HTTP/1.1\r\nHost: x\r\n\r\n")
        receive_until(answered, b"/answered")
    answered.sendall(b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.1)
    following = [server.open(f"GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) for n in range(2)]
    for opened, path in zip((answered, *following), (b"/busy", b"/0", b"/1"), strict=True):
        assert b" 200 " in receive_until(opened, path)


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="content_length_beside_transfer_encoding",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\n"
            b"CONTENT-LENGTH: 5\r\n\r\n0\r\n\r\n",
            id="transfer_encoding_beside_content_length",
        ),
        pytest.param(
            b"POST / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="transfer_encoding_in_http_1_0",
        ),
        pytest.param(b"GET / HTTP/1.1\nHost: x\n\n", id="bare_line_feeds"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: b\n\r\n", id="bare_line_feed_at_the_end"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", id="one_bare_line_feed"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
            id="folded_transfer_encoding",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            id="space_before_the_colon",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 9\r\n\r\n",
            id="two_content_lengths",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\n",
            id="bare_line_feeds_in_trailers",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n",
            id="bare_line_feeds_between_chunks",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
            id="large_head_in_one_segment",
        ),
    ],
)
def test_a_smuggled_request_is_refused_and_its_connection_closed(
    serving: Callable[..., Server], head: bytes
) -> None:
    server = serving(head_timeout_s=5.0)
    assert answers(server.open(head + SMUGGLED)) == [400]
    in_pieces = server.open()
    with contextlib.suppress(OSError):  # it may be closed before the last piece
        for n in range(0, min(len(head), 200)):
            in_pieces.sendall(head[n : n + 1])
        in_pieces.sendall(head[200:] + SMUGGLED)
    assert answers(in_pieces) in ([400], [])


def test_honest_heads_and_bodies_that_contain_line_feeds_are_read(
    serving: Callable[..., Server],
) -> None:
    server = serving()
    plain = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\na\nb\n\nc\r\n\r\n"
    chunked = (
        b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"4\r\n\n\n\n\n\r\n0\r\nTrailer: x\r\n\r\n"
    )
    assert answers(server.open(plain + chunked + SMUGGLED)) == [200, 200, 200]
    one_byte_at_a_time = server.open()
    for byte in plain + chunked + SMUGGLED:
        one_byte_at_a_time.sendall(bytes([byte]))
    assert answers(one_byte_at_a_time) == [200, 200, 200]
