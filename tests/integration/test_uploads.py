"""Large uploads to the real service: it is killed, and connections break."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from rich.progress import Progress

from deepfake_service.cli import submitter as cli_submitter
from deepfake_service.cli.submitter import Submitter
from deepfake_service.examination.uploads import PART_BYTES
from tests.support.footage import short_clip
from tests.support.servers import ADMIN_KEY, Site

pytestmark = pytest.mark.server

TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture(scope="module")
def video() -> bytes:
    """A clip that is larger than some parts. Readers skip a ``free`` box, whatever it contains."""
    return short_clip(1, random.Random(1).randbytes(5 * PART_BYTES + 12_345))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as private:
        yield private


class Breaking:
    """Passes connections on to a service, and breaks each after some bytes of its client.

    ``after`` is how many; ``None``: never.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = (str(parts.hostname), int(parts.port or 0))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.after: int | None = None
        self.passed = 0
        """Bytes that clients sent."""
        self.broken = 0
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                service = socket.create_connection(self._to)
                threading.Thread(target=self._pass, args=(client, service), daemon=True).start()
                threading.Thread(target=self._pass, args=(service, client), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        from_client, passed = source.getsockname()[1] == self._listener.getsockname()[1], 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
                if not from_client:
                    continue
                self.passed += len(data)
                passed += len(data)
                if self.after is not None and passed > self.after:
                    self.broken += 1
                    break
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()  # a sender would otherwise not be told


def test_a_killed_service_goes_on_where_it_was(site: Site, video: bytes) -> None:
    service = site.serve()
    with site.client as client:
        begun = client.post("/v1/uploads", headers={**TUS, "Upload-Length": str(len(video))})
        address = begun.headers["location"]

        def until_killed() -> Iterator[bytes]:
            for at in range(0, len(video), 100_000):
                if at > 3 * PART_BYTES:
                    service.kill()
                yield video[at : at + 100_000]

        kind = {**TUS, "Content-Type": "application/offset+octet-stream"}
        with pytest.raises(httpx.HTTPError):
            client.patch(address, content=until_killed(), headers={**kind, "Upload-Offset": "0"})
    assert not site.files_containing(video[PART_BYTES // 2 :][:64])
    site.serve()
    with site.client as client:
        offset = int(client.head(address, headers=TUS).headers["upload-offset"])
        assert offset % PART_BYTES == 0
        assert offset >= PART_BYTES
        sent = {**kind, "Upload-Offset": str(offset)}
        assert client.patch(address, content=video[offset:], headers=sent).status_code == 204
        job = client.post(f"{address}/job", json={}).json()
    assert job["sha256"] == hashlib.sha256(video).hexdigest()
    assert site.wait(job["id"])["state"] == "succeeded"
    site.delete_orphans()  # the part that was being written when the service was killed
    assert not [p for p in site.blobs() if "uploads" in p.parts]


def test_the_command_sends_each_byte_once_over_broken_connections(
    site: Site, video: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_submitter, "RESUMED_FROM_BYTES", PART_BYTES)
    monkeypatch.setattr(cli_submitter, "RETRY_S", 1.0)
    site.serve()
    path = tmp_path / "secret-name.mp4"
    path.write_bytes(video)
    with contextlib.closing(Breaking(site.url)) as line:
        line.after = 2 * PART_BYTES + 5_000
        with Submitter(line.url, ADMIN_KEY) as submitter:
            submit = partial(submitter.submit, path, {"case_reference": "R-1"})
            job = submitter.patiently(partial(submit, Progress(disable=True)))
        assert line.broken == 2
        assert job.model_dump()["sha256"] == hashlib.sha256(video).hexdigest()
        # What was on its way when a connection broke is sent again.
        assert line.passed < len(video) + line.broken * (PART_BYTES + 100_000)
