"""The service as a server process: its start, its stop, and what cannot be served."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from tests.support import footage, forking
from tests.support.servers import NO_TLS, Process, wait_until
from tests.support.small_bundles import small_bundle_dir

STARTS_WITHIN_S = 240
STOPS_WITHIN_S = 90

pytestmark = pytest.mark.server


class Server:
    """``deepfake serve`` as a process: a fork, or a new interpreter if it ``starts_anew``."""

    def __init__(
        self,
        folder: Path,
        *,
        starts_anew: bool = False,
        program: str = forking.MODULE,
        **environment: str,
    ) -> None:
        self.data_dir = folder / "var"
        self.elsewhere = [folder / "spool", folder / "home"]
        for outside in self.elsewhere:
            outside.mkdir(exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DEEPFAKE_", "XDG_"))}
        settings = {
            **kept,
            "DEEPFAKE_DATA_DIR": str(self.data_dir),
            "DEEPFAKE_PORT": "0",
            "DEEPFAKE_BUNDLE_DIR": str(small_bundle_dir()),
            "TMPDIR": str(folder / "spool"),
            "HOME": str(folder / "home"),
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            **environment,
        }
        log = Path(tempfile.mkstemp(suffix=".log", dir=folder)[1])
        with log.open("wb") as file:
            popen: subprocess.Popen[bytes] | forking.ForkedProcess
            if starts_anew:
                popen = subprocess.Popen(
                    [sys.executable, "-m", "deepfake_service", "serve"],
                    env=settings, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                    start_new_session=True,
                )  # fmt: skip
            else:
                popen = forking.start(["serve"], settings, (file, file), program=program)
        self.process = Process(popen, log)

    def written_elsewhere(self) -> list[Path]:
        """Return the files that the server wrote outside the data directory."""
        return [p for folder in self.elsewhere for p in folder.rglob("*")]

    @property
    def text(self) -> str:
        return self.process.log

    def address(self) -> str:
        """Wait until the server accepts requests and return its address."""
        address = self.process.wait_for_log(r"Serving on (http://\S+)")
        with httpx.Client(
            transport=httpx.HTTPTransport(verify=NO_TLS, retries=5), timeout=60
        ) as client:
            wait_until(lambda: client.get(f"{address}/readyz").status_code == 200)
        return address

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.popen.send_signal(number)
        return self.process.popen.wait(STOPS_WITHIN_S)

    def ended(self) -> int:
        """Return the exit code of a process that ends without being stopped."""
        return self.process.popen.wait(STARTS_WITHIN_S)

    def close(self) -> None:
        if self.process.alive:
            self.process.kill()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]


def with_shutdown_s(seconds: int, folder: Path) -> Server:
    """Start a server that gives running requests so many seconds when it stops."""
    return Server(
        folder,
        program="tests.support.programs.constants",
        TEST_CONSTANTS=json.dumps({"deepfake_service.cli.serve.SHUTDOWN_S": seconds}),
        DEEPFAKE_ADMIN_KEY="0123456789-abcdefghij",
    )


def in_progress(address: str) -> int:
    """Return how many requests a server works on, of which the one for the metrics is one; 0 if
    it refuses to say."""
    metrics = httpx.get(f"{address}/metrics", verify=NO_TLS, timeout=60).text
    match = re.search(r"in_progress (\d+)\.0$", metrics, re.MULTILINE)
    return int(match[1]) if match else 0


def refuses_connections(address: str) -> bool:
    """Return whether nobody listens at an address any more."""
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == errno.ECONNREFUSED


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    started: list[Server] = []
    yield started
    for server in started:
        server.close()


def test_a_server_from_its_first_start_to_its_end(servers: list[Server], tmp_path: Path) -> None:
    server = Server(tmp_path, starts_anew=True)
    servers.append(server)
    address = server.address()
    (off,) = re.findall("^Off, .*", server.text, re.MULTILINE)
    for setting in ("CAPTURE_LINKS=true", "LOOKS_FROM=KR"):
        assert f"DEEPFAKE_{setting}" in off
    key_file = server.data_dir / "admin-key"
    assert str(key_file) in server.text
    key = key_file.read_text().strip()
    assert key not in server.text
    picture = footage.picture(
        Image.fromarray(footage.astronaut()).resize((2700, 2700)), "PNG", compress_level=0
    )
    assert len(picture) > 20 * 1024 * 1024
    files = {"files": ("private-name.png", picture)}
    with httpx.Client(base_url=address, timeout=60) as client:
        for headers, status in (({}, 401), ({"Authorization": "Bearer wrong"}, 401)):
            answer = client.post("/v1/frames", files=files, headers=headers)
            assert answer.status_code == status
        client.headers["Authorization"] = f"Bearer {key}"
        answer = client.post("/v1/frames", files=files)
        assert answer.status_code == 200
        assert "server" not in answer.headers
        (frame,) = answer.json()["frames"]
        assert frame["name"] == "private-name.png"
        assert frame["score"] is not None
        assert client.post("/v1/frames", files={"file": b"x"}).status_code == 422
        metrics = client.get("/metrics").text
        assert 'route="/v1/frames"' in metrics
        assert "verdict=" not in metrics  # anybody who polls would learn each verdict
    assert server.written_elsewhere() == []
    written = {p.name for p in server.data_dir.iterdir()}
    # The last of these is written once the service has run for a minute.
    assert written - {"records.sqlite-shm", "records.sqlite-wal", "epoch-keys"} == {
        "admin-key", "blobs", "journal.json", "master-key", "records.sqlite",
    }  # fmt: skip
    assert not list((server.data_dir / "blobs").iterdir())
    assert server.stop() == 0
    events = server.events()
    assert {"request", "stopped"} <= {e["event"] for e in events}
    assert [e["status"] for e in events if e.get("route") == "/v1/frames"] == [401, 401, 200, 422]
    for secret in ("private-name", key, f"{frame['score']}", "Traceback"):
        assert secret not in server.text

    again = Server(tmp_path)
    servers.append(again)
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(f"{again.address()}/v1/frames", headers=headers, files={"files": b"x"})
    assert answer.status_code == 200
    assert f"the one generated earlier, in {key_file}" in again.text
    assert again.stop(signal.SIGINT) == 0


def test_a_stop_lets_a_running_request_finish(servers: list[Server], tmp_path: Path) -> None:
    server = with_shutdown_s(STOPS_WITHIN_S - 10, tmp_path)  # for a loaded machine
    servers.append(server)
    address = server.address()
    assert not (server.data_dir / "admin-key").exists()
    answers: list[httpx.Response] = []

    files = [
        ("files", (f"{i}.jpg", footage.picture(Image.fromarray(footage.astronaut()).rotate(i))))
        for i in range(3)
    ]
    headers = {"Authorization": "Bearer 0123456789-abcdefghij"}
    request = httpx.Request("POST", f"{address}/v1/frames", files=files, headers=headers)
    body = request.read()
    stopping = threading.Event()

    def uploaded() -> Iterator[bytes]:
        yield body[:-1000]
        assert stopping.wait(60)
        yield body[-1000:]

    def call() -> None:
        with httpx.Client(timeout=240) as client:
            answers.append(client.post(request.url, content=uploaded(), headers=request.headers))

    thread = threading.Thread(target=call)
    thread.start()
    wait_until(lambda: in_progress(address) == 2)
    server.process.popen.send_signal(signal.SIGTERM)
    wait_until(lambda: refuses_connections(address))
    stopping.set()
    assert server.process.popen.wait(STOPS_WITHIN_S) == 0
    thread.join(60)
    assert answers[0].status_code == 200
    assert [frame["score"] is not None for frame in answers[0].json()["frames"]] == [True] * 3


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"DEEPFAKE_PORT": "port"}, "DEEPFAKE_PORT"),
        ({"DEEPFAKE_ADMIN_KEY": "too-short"}, "DEEPFAKE_ADMIN_KEY"),
        ({"DEEPFAKE_BUNDLE_DIR": "/nonexistent"}, "/nonexistent: There is no folder"),
        ({"DEEPFAKE_DATA_DIR": "/dev/null/data"}, "DEEPFAKE_DATA_DIR (/dev/null/data): "),
        ({"DEEPFAKE_HOST": "host.invalid"}, "DEEPFAKE_HOST"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_line(
    servers: list[Server], tmp_path: Path, environment: dict[str, str], says: str
) -> None:
    server = Server(tmp_path, **environment)
    servers.append(server)
    assert server.ended() == 1
    assert says in server.text
    assert "Traceback" not in server.text
    assert "too-short" not in server.text


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"DEEPFAKE_BLOB_URL": "foo://bucket"}, "The URL in DEEPFAKE_BLOB_URL is invalid"),
        ({"DEEPFAKE_AUDIT_CHECKPOINTS": "foo://bucket"}, "A URL in DEEPFAKE_AUDIT_CHECKPOINTS"),
    ],
)
def test_what_keeps_the_application_from_starting_is_the_last_line(
    servers: list[Server], tmp_path: Path, environment: dict[str, str], says: str
) -> None:
    server = Server(tmp_path, **environment)
    servers.append(server)
    assert server.ended() == 1
    assert server.text.splitlines()[-1].startswith(f"error: {says}")
    assert "Serving on" not in server.text
    assert "Traceback" not in server.text


def test_a_port_that_is_taken_is_said(servers: list[Server], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Server(tmp_path, DEEPFAKE_PORT=str(port))
        servers.append(server)
        assert server.ended() == 1
    assert f"port {port}" in server.text
    assert "Traceback" not in server.text


HALVES = {
    "silent": b"",
    "half of a head": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-",
    "half of a second head": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /",
}


def with_eight_connections(folder: Path, **settings: str) -> Server:
    return Server(
        folder,
        program="tests.support.programs.constants",
        TEST_CONSTANTS=json.dumps({"deepfake_service.cli.serve.MAX_CONNECTIONS": 8}),
        **settings,
    )


@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES)
def test_r8_connections_without_a_request_keep_nobody_out(
    servers: list[Server], tmp_path: Path, sent: bytes
) -> None:
    server = with_eight_connections(tmp_path)
    servers.append(server)
    address = server.address()
    own = urlsplit(address)
    with contextlib.ExitStack() as opened:
        slow = []
        for _ in range(20):
            slow.append(opened.enter_context(socket.create_connection((own.hostname, own.port))))
            slow[-1].sendall(sent)
            assert httpx.get(f"{address}/help", verify=NO_TLS).status_code == 200
        slow[0].settimeout(60)
        while slow[0].recv(4096):  # until the server closes what has waited longest
            pass
    assert server.stop() == 0


FRAMINGS = {
    "Transfer-Encoding: chunked": True,
    "Content-Length: 5\r\nTransfer-Encoding: chunked": False,
    "transfer-encoding: chunked\r\ncontent-length: 60": False,
}
"""Headers that say where a body ends, and whether a second request may follow it."""


def test_a_request_with_two_lengths_is_the_last_of_its_connection(
    servers: list[Server], tmp_path: Path
) -> None:
    server = Server(tmp_path)
    servers.append(server)
    own = urlsplit(server.address())
    last = f"GET /readyz HTTP/1.1\r\nHost: {own.netloc}\r\nConnection: close\r\n\r\n"
    for host in (own.netloc, "elsewhere.example"):
        for framing, goes_on in FRAMINGS.items():
            first = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n{framing}\r\n\r\n0\r\n\r\n"
            with socket.create_connection((own.hostname, own.port)) as raw:
                raw.sendall((first + last).encode())
                answers = b"".join(iter(lambda raw=raw: raw.recv(4096), b"")).lower()
            assert answers.count(b"http/1.1 ") == 1 + goes_on, (framing, answers)
            assert answers.count(b"\r\nconnection: close\r\n") == 1
    assert server.stop() == 0


def test_requests_beyond_the_limit_are_refused_and_operators_are_answered(
    servers: list[Server], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    operators = f"http://127.0.0.1:{port}"
    server = with_eight_connections(tmp_path, DEEPFAKE_OPERATIONS_PORT=str(port))
    servers.append(server)
    address = server.address()
    assert httpx.get(f"{address}/metrics").status_code == 404
    assert httpx.get(f"{operators}/help").status_code == 404
    own = urlsplit(address)
    head = f"POST /sign-in HTTP/1.1\r\nHost: {own.netloc}\r\nContent-Length: 99\r\n\r\nkey="
    with contextlib.ExitStack() as opened:

        def refuses() -> bool:
            """Begin another request that does not end, and return whether a next one is refused."""
            slow = opened.enter_context(socket.create_connection((own.hostname, own.port)))
            slow.sendall(head.encode())
            return httpx.get(f"{address}/help", verify=NO_TLS).status_code == 503

        wait_until(refuses)
        for path in ("/healthz", "/readyz", "/metrics"):
            assert httpx.get(f"{operators}{path}").status_code == 200, path
    wait_until(lambda: httpx.get(f"{address}/help", verify=NO_TLS).status_code == 200)
    assert server.stop() == 0


def test_a_stop_that_cannot_wait_tells_the_client_to_come_back(
    servers: list[Server], tmp_path: Path
) -> None:
    key = "0123456789-abcdefghij"
    server = with_shutdown_s(1, tmp_path)
    servers.append(server)
    address = server.address()
    answers: list[httpx.Response] = []
    large = footage.picture(Image.fromarray(footage.astronaut()).resize((4000, 4000)))

    def call() -> None:
        files = [("files", (f"{i}.jpg", large)) for i in range(40)]
        headers = {"Authorization": f"Bearer {key}"}
        answers.append(
            httpx.post(f"{address}/v1/frames", files=files, headers=headers, timeout=240)
        )

    thread = threading.Thread(target=call)
    thread.start()
    wait_until(lambda: in_progress(address) == 2)
    assert server.stop() == 0
    thread.join(60)
    assert answers[0].status_code == 503
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert "Traceback" not in server.text
