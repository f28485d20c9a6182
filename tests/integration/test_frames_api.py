"""The service in this process and as a server process, with decoder processes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import matplotlib.cbook
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image
from skimage import data as samples

from deepfake_service.app import create_app
from deepfake_service.db.enums import Role
from deepfake_service.http.connections import NEW_S
from deepfake_service.security.accounts import Accounts
from deepfake_service.security.records import open_database
from deepfake_service.settings import Settings
from tests.support import forkkit, mediakit
from tests.support.bundlekit import small_bundle_dir
from tests.support.servekit import NO_TLS, Process, wait_until

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
STARTS_WITHIN_S = 240
STOPS_WITHIN_S = 90

pytestmark = pytest.mark.server


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def astronaut() -> Image.Image:
    return Image.fromarray(samples.astronaut())


def hopper() -> Image.Image:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return Image.open(file).convert("RGB")


def animation(kind: str) -> bytes:
    frames = [astronaut().rotate(2 * i) for i in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    folder = tmp_path_factory.mktemp("data")
    settings = Settings(data_dir=folder, bundle_dir=small_bundle_dir())
    database = open_database(settings)
    accounts = Accounts(database)
    accounts.create("pipeline", "system", Role.PIPELINE)
    key = accounts.create_key("pipeline").text
    app = create_app(settings, database=database)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://service",
            headers={"Authorization": f"Bearer {key}"},
            timeout=120,
        ) as running,
    ):
        yield running


async def post(client: httpx.AsyncClient, *contents: bytes) -> dict[str, Any]:
    files = [("files", (f"{i}.bin", c)) for i, c in enumerate(contents)]
    response = await client.post("/v1/frames", files=files)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.asyncio(loop_scope="module")
class TestPictures:
    async def test_faces_are_found_and_scored(self, client: httpx.AsyncClient) -> None:
        body = await post(client, encoded(astronaut()), encoded(hopper(), "PNG"))
        for frame in body["frames"]:
            (face,) = frame["faces"]
            assert 0 <= frame["score"] <= 1
            assert frame["score"] == face["score"]
            assert face["confidence"] > 0.9
            assert face["quality"]["face_px"] > 48
        x0, y0, x1, y1 = body["frames"][0]["faces"][0]["box"]
        assert (x0 + x1) / 2 == pytest.approx(223, abs=12)
        assert (y0 + y1) / 2 == pytest.approx(115, abs=15)
        assert set(body["model"]) == {"bundle", "version", "sha256", "terms"}

    async def test_a_score_does_not_depend_on_company(self, client: httpx.AsyncClient) -> None:
        pictures = [encoded(astronaut().rotate(a)) for a in (0, 3, 6)] + [encoded(hopper())]
        alone = [(await post(client, p))["frames"][0]["score"] for p in pictures]
        together = [f["score"] for f in (await post(client, *pictures))["frames"]]
        crowd = await asyncio.gather(*(post(client, p) for p in pictures))
        assert together == pytest.approx(alone, abs=2e-4)
        assert [c["frames"][0]["score"] for c in crowd] == pytest.approx(alone, abs=2e-4)

    async def test_hostile_input_is_answered_and_spoils_nothing(
        self, client: httpx.AsyncClient
    ) -> None:
        face = encoded(astronaut())
        noise = np.random.default_rng(1).integers(0, 255, (300, 300, 3), dtype=np.uint8)
        bad = {
            "empty": (b"", {"undecodable"}),
            "text": (b"this is no picture\n" * 50, {"not_a_picture"}),
            "cut short": (face[: len(face) // 3], {"undecodable"}),
            "30000 x 30000": (mediakit.huge_png(30_000), {"too_large"}),
            "1 x 1": (encoded(Image.new("RGB", (1, 1)), "PNG"), {"no_face"}),
            "noise": (encoded(Image.fromarray(noise), "PNG"), {"no_face"}),
            "gif": (animation("GIF"), {"not_a_picture"}),
            "webp": (animation("WEBP"), {"not_a_picture"}),
        }
        contents = [c for content, _ in bad.values() for c in (content, face)]
        frames = (await post(client, *contents))["frames"]
        scores = {f["score"] for f in frames[1::2]}
        assert len(scores) == 1
        assert None not in scores
        for (name, (_, codes)), frame in zip(bad.items(), frames[::2], strict=True):
            assert frame["score"] is None, name
            assert {r["code"] for r in frame["reasons"]} == codes, name
            expected = "not_applicable" if codes == {"no_face"} else "unable_to_evaluate"
            assert frame["verdict"] == expected, name

    @pytest.mark.data
    @pytest.mark.skipif(not SHARED.is_dir(), reason="the research data set is absent")
    async def test_every_robustness_file_is_answered(self, client: httpx.AsyncClient) -> None:
        paths = sorted(p for p in (SHARED / "robustness").rglob("*") if p.is_file())
        assert paths
        frames = (await post(client, *(p.read_bytes() for p in paths[:64])))["frames"]
        assert len(frames) == len(paths[:64])
        for path, frame in zip(paths, frames, strict=False):
            judged = frame["score"] is not None
            assert judged or frame["reasons"], path.name


class Server:
    """``deepfake serve`` as a process: a fork, or a new interpreter if it ``starts_anew``."""

    def __init__(self, folder: Path, *, starts_anew: bool = False, **environment: str) -> None:
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
            popen: subprocess.Popen[bytes] | forkkit.ForkedProcess
            if starts_anew:
                popen = subprocess.Popen(
                    [sys.executable, "-m", "deepfake_service", "serve"],
                    env=settings, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                    start_new_session=True,
                )  # fmt: skip
            else:
                popen = forkkit.start(["serve"], settings, (file, file))
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
    key_file = server.data_dir / "admin-key"
    assert str(key_file) in server.text
    key = key_file.read_text().strip()
    assert key not in server.text
    picture = encoded(astronaut().resize((2700, 2700)), "PNG", compress_level=0)
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
        "admin-key", "blobs", "journal.jsonl", "master-key", "records-sealed", "records.sqlite",
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
    wait = {"DEEPFAKE_SHUTDOWN_TIMEOUT_S": str(STOPS_WITHIN_S - 10)}  # for a loaded machine
    server = Server(tmp_path, DEEPFAKE_ADMIN_KEY="0123456789-abcdefghij", **wait)
    servers.append(server)
    address = server.address()
    assert not (server.data_dir / "admin-key").exists()
    answers: list[httpx.Response] = []

    files = [("files", (f"{i}.jpg", encoded(astronaut().rotate(i)))) for i in range(3)]
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
        ({"DEEPFAKE_BUNDLE_DIR": "/nonexistent"}, "/nonexistent: bundle.json"),
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
        (
            {"DEEPFAKE_CONTENT_CREDENTIAL_ANCHORS": "/nonexistent"},
            "The file of DEEPFAKE_CONTENT_CREDENTIAL_ANCHORS cannot be read",
        ),
    ],
)
def test_what_keeps_the_application_from_starting_is_the_last_line(
    servers: list[Server], tmp_path: Path, environment: dict[str, str], says: str
) -> None:
    server = Server(tmp_path, **environment)
    servers.append(server)
    assert server.ended() == 1
    assert server.text.splitlines()[-1].startswith(f"error: {says}")


def test_a_port_that_is_taken_is_said(servers: list[Server], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Server(tmp_path, DEEPFAKE_PORT=str(port))
        servers.append(server)
        assert server.ended() == 1
    assert f"port {port}" in server.text
    assert "Traceback" not in server.text


def test_connections_beyond_the_limit_are_refused(servers: list[Server], tmp_path: Path) -> None:
    key = "0123456789-abcdefghij"
    limits = {"DEEPFAKE_MAX_CONNECTIONS": "2", "DEEPFAKE_MIN_UPLOAD_RATE": "0"}
    server = Server(tmp_path, DEEPFAKE_ADMIN_KEY=key, **limits)
    servers.append(server)
    address = server.address()
    port = int(address.rpartition(":")[2])
    head = (
        f"POST /v1/frames HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 99\r\n\r\n"
    )
    with contextlib.ExitStack() as opened:
        for _ in range(50):  # idle ones give way
            opened.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert httpx.get(f"{address}/help", verify=NO_TLS).status_code == 200
        time.sleep(2 * NEW_S)  # for so long the last of them is spared
        for count in (2, 3):
            busy: list[socket.socket] = []

            def occupied(count: int = count, busy: list[socket.socket] = busy) -> bool:
                # On a loaded machine, one may give way before its request is read: send it again.
                if not busy or select.select([busy[-1]], [], [], 0)[0]:
                    busy.append(opened.enter_context(socket.create_connection(("127.0.0.1", port))))
                    busy[-1].sendall(head.encode())
                return in_progress(address) == count

            wait_until(occupied)
        assert httpx.get(f"{address}/help", verify=NO_TLS).status_code == 503
        assert httpx.get(f"{address}/healthz").status_code == 200
    wait_until(lambda: httpx.get(f"{address}/help", verify=NO_TLS).status_code == 200)


def test_a_stop_that_cannot_wait_tells_the_client_to_come_back(
    servers: list[Server], tmp_path: Path
) -> None:
    key = "0123456789-abcdefghij"
    server = Server(tmp_path, DEEPFAKE_ADMIN_KEY=key, DEEPFAKE_SHUTDOWN_TIMEOUT_S="1")
    servers.append(server)
    address = server.address()
    answers: list[httpx.Response] = []
    large = encoded(astronaut().resize((4000, 4000)))

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
