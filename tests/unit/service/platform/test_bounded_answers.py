"""Servers that answer the service or the command line with more, or more slowly, than asked."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import BinaryIO

import pytest

from deepfake_service.evidence.bundle import trust_store
from deepfake_service.evidence.bundle.documents import Failed
from deepfake_service.evidence.bundle.trust_store import read_list
from deepfake_service.platform import timestamps
from deepfake_service.platform.outbound import AnswerLimits, UnusableAnswer, fetch_bounded
from deepfake_service.platform.timestamps import TimestampFailed
from tests.support.loopback import serving

LIMITS = AnswerLimits(max_bytes=1000, pause_s=10.0, deadline_s=10.0)
BOMB = gzip.compress(gzip.compress(bytes(64 * 1024 * 1024)))
Answer = Callable[[BinaryIO, threading.Event], object]
"""Writes an answer until the event says that the test has ended."""


class Server:
    """A server whose answers to all requests ``answer`` writes."""

    def __init__(self, answer: Answer) -> None:
        self.encodings: list[str | None] = []
        self.ended = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.encodings.append(self.headers["Accept-Encoding"])
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with contextlib.suppress(OSError):
                    answer(self.wfile, server.ended)
                self.close_connection = True

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._serving = contextlib.ExitStack()
        self._serving.enter_context(serving(self._server))

    def stop(self) -> None:
        self.ended.set()
        self._serving.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def whole(content: bytes, head: bytes = b"") -> Answer:
    """Return what answers ``content`` at once."""
    return lambda out, _: out.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + content)


def dripping(start: bytes, piece: bytes) -> Answer:
    """Return what writes ``piece`` again and again, each well before a pause would be too long."""

    def answer(out: BinaryIO, ended: threading.Event) -> None:
        out.write(start)
        while not ended.wait(0.02):
            out.write(piece)

    return answer


def test_an_answer_is_returned_whole_up_to_its_limit(
    serve: Callable[[Answer], Server],
) -> None:
    server = serve(whole(b"x" * 1000, b"Content-Encoding: identity\r\n"))
    assert fetch_bounded(server.url, LIMITS) == b"x" * 1000
    with pytest.raises(UnusableAnswer, match="too large"):
        fetch_bounded(serve(whole(b"x" * 1001)).url, LIMITS)
    with pytest.raises(UnusableAnswer, match="does not answer"):
        fetch_bounded("http://127.0.0.1:1/", LIMITS)
    with pytest.raises(UnusableAnswer, match="does not answer"):
        fetch_bounded("http://127.0.0.1:port/", LIMITS)


def test_a_compressed_answer_is_never_expanded(serve: Callable[[Answer], Server]) -> None:
    """A few hundred bytes took 400 MiB before the size of the answer was looked at."""
    server = serve(whole(BOMB, b"Content-Encoding: gzip, gzip\r\n"))
    tracemalloc.start()
    try:
        with pytest.raises(TimestampFailed, match="compressed its answer"):
            timestamps.request(timestamps.poster(server.url), b"x")
        with pytest.raises(Failed, match="compressed its answer"):
            read_list(server.url)
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert server.encodings == ["identity", "identity"]


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X-Slow: x\r\n", id="head"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"x", id="body"),
    ],
)
def test_an_answer_that_drips_is_left_at_its_deadline(
    serve: Callable[[Answer], Server],
    monkeypatch: pytest.MonkeyPatch,
    start: bytes,
    piece: bytes,
) -> None:
    server = serve(dripping(start, piece))
    monkeypatch.setattr(timestamps, "DEADLINE_S", 0.3)
    monkeypatch.setattr(trust_store, "DEADLINE_S", 0.3)
    with pytest.raises(TimestampFailed, match="too slowly"):
        timestamps.request(timestamps.poster(server.url), b"x")
    with pytest.raises(Failed, match="too slowly"):
        read_list(server.url)


def test_a_name_that_is_looked_up_slowly_does_not_put_off_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The end of the look-up was waited for, which may take half a minute."""
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def look_up(*_: object, **__: object) -> None:
        begun.set()
        go_on.wait(20.0)
        ended.set()
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        with pytest.raises(UnusableAnswer, match="too slowly"):
            fetch_bounded("http://example.org/", replace(LIMITS, deadline_s=1.0))
        assert begun.wait(20.0)
        assert not ended.is_set()
    finally:
        go_on.set()
