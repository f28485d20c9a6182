"""``deepfake_client`` is what the API's description generates, whole and without a warning."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import deepfake_client
from deepfake_client import AuthenticatedClient
from deepfake_client.api.videos import submit_video
from deepfake_client.models import VideoUpload
from deepfake_client.types import File

COMMITTED = Path(deepfake_client.__file__).parent
SCRIPT = COMMITTED.parent / "generate_client.py"


def modules(folder: Path) -> dict[str, str]:
    """Return the syntax trees of the modules: versions of ruff differ in how they lay them out."""
    return {
        str(path.relative_to(folder)): ast.dump(ast.parse(path.read_text(encoding="utf-8")))
        for path in folder.rglob("*.py")
    }


@pytest.mark.slow
def test_the_client_is_generated_from_the_description_without_a_warning(tmp_path: Path) -> None:
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "deepfake_client")],
        env={**os.environ, "PATH": tools}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    generated, committed = modules(tmp_path / "deepfake_client"), modules(COMMITTED)
    assert set(generated) == set(committed), "run `make client`"
    changed = [name for name, tree in generated.items() if tree != committed[name]]
    assert changed == [], "run `make client`"
    assert (COMMITTED / "py.typed").exists()


def test_a_file_that_contains_a_boundary_arrives_whole() -> None:
    hostile = (
        b'\r\n--+++\r\nContent-Disposition: form-data; name="note"\r\n\r\nforged\r\n--+++--\r\n'
    )
    received: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        received.append(request.headers["content-type"].encode() + b"\r\n\r\n" + request.read())
        return httpx.Response(204)

    client = AuthenticatedClient("http://service.test", "key")
    client = client.set_httpx_client(
        httpx.Client(base_url="http://service.test", transport=httpx.MockTransport(answer))
    )
    for _ in range(2):
        body = VideoUpload(file=File(io.BytesIO(hostile), "v.mp4"))
        submit_video.sync_detailed(client=client, body=body)
    boundaries = set()
    for request in received:
        head, _, content = request.partition(b"\r\n\r\n")
        boundary = head.partition(b"boundary=")[2]
        boundaries.add(boundary)
        assert boundary not in hostile
        assert content.count(b"--" + boundary) == 2
        assert hostile in content
    assert len(boundaries) == 2
