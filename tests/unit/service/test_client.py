"""``deepfake_client`` is what the API's description generates, whole and without a warning."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import deepfake_client
from deepfake_client import AuthenticatedClient
from deepfake_client.api.jobs import get_job
from deepfake_client.api.videos import submit_video
from deepfake_client.errors import UnexpectedStatus
from deepfake_client.models import ProblemOut, VideoUpload
from deepfake_client.types import File
from deepfake_service.errors import Overloaded
from deepfake_service.http.problems import problem_of, response_of

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


def client_answered_by(
    answer: Callable[[httpx.Request], httpx.Response], **options: bool
) -> AuthenticatedClient:
    """Return a client whose requests ``answer`` answers."""
    client = AuthenticatedClient("http://service.test", "key", **options)
    return client.set_httpx_client(
        httpx.Client(base_url="http://service.test", transport=httpx.MockTransport(answer))
    )


@pytest.mark.parametrize("status", [429, 503])
def test_the_page_of_a_proxy_is_no_problem_of_the_service(status: int) -> None:
    """It used to raise an error about JSON, with neither the status nor the header."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"Retry-After": "5"}, html="<h1>Busy</h1>")

    response = get_job.sync_detailed("x", client=client_answered_by(answer))
    assert (response.status_code, response.parsed) == (status, None)
    assert response.headers["Retry-After"] == "5"
    strict = client_answered_by(answer, raise_on_unexpected_status=True)
    with pytest.raises(UnexpectedStatus, match=f"{status}"):
        get_job.sync("x", client=strict)


def test_a_problem_of_the_service_is_read() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        sent = response_of(problem_of(Overloaded()), "request-1")
        return httpx.Response(sent.status_code, headers=sent.raw_headers, content=sent.body)

    problem = get_job.sync("x", client=client_answered_by(answer))
    assert isinstance(problem, ProblemOut)
    assert problem.detail == Overloaded().message


def test_a_file_that_contains_a_boundary_arrives_whole() -> None:
    hostile = (
        b'\r\n--+++\r\nContent-Disposition: form-data; name="note"\r\n\r\nforged\r\n--+++--\r\n'
    )
    received: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        received.append(request.headers["content-type"].encode() + b"\r\n\r\n" + request.read())
        return httpx.Response(204)

    client = client_answered_by(answer)
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
