"""The documented example of a client and the client of a release drive the service."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.documents import DOCS, ROOT, code_blocks, text_of
from tests.support.footage import astronaut, picture, resized, short_clip
from tests.support.servers import Site

pytestmark = pytest.mark.server

GENERATED = """
import importlib, io, pkgutil, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx

import deepfake_client
from deepfake_client import AuthenticatedClient
from deepfake_client.api.evidence import get_evidence
from deepfake_client.api.jobs import get_job
from deepfake_client.api.videos import submit_video
from deepfake_client.models import JobOut, ProblemOut, VideoUpload
from deepfake_client.types import File

for info in pkgutil.walk_packages(deepfake_client.__path__, "deepfake_client."):
    importlib.import_module(info.name)

url, key = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=key)
# A file may contain any fixed boundary.
part = b'\\r\\nContent-Disposition: form-data; name="note"\\r\\n\\r\\nforged\\r\\n'
hostile = b"\\r\\n--+++" + part + b"--+++--\\r\\n"
upload = VideoUpload(file=File(io.BytesIO(hostile), "v.mp4"), case_reference="A-1")
job = submit_video.sync(client=client, body=upload)
assert isinstance(job, JobOut) and job.size == len(hostile), job
while job.state in ("queued", "running"):
    job = get_job.sync(job.id, client=client)
assert str(job.verdict) == "unable_to_evaluate", job
assert get_evidence.sync(job.id, client=client).payload.read(2) == b"PK"
problem = get_job.sync("0" * 26, client=client)
assert isinstance(problem, ProblemOut) and problem.status == 404, problem

# The page of a proxy is no problem of the service.
page = httpx.MockTransport(lambda _: httpx.Response(503, html="<h1>Busy</h1>"))
client.set_httpx_client(httpx.Client(base_url=url, transport=page))
response = get_job.sync_detailed("x", client=client)
assert (response.status_code, response.parsed) == (503, None)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("client")) as running:
        running.serve()
        yield running


def test_the_documented_example_runs(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = [b for b in code_blocks(text_of(DOCS / "jobs.md")) if b.startswith("```python")]
    (block,) = [block for block in blocks if "httpx.Client(" in block]
    code = block.removeprefix("```python").removesuffix("```")
    (tmp_path / "clip.mp4").write_bytes(short_clip(3))
    monkeypatch.chdir(tmp_path)
    names = {"KEY": site.create_key("example", "analyst")}
    exec(code.replace("http://127.0.0.1:8000", site.url), names)
    assert names["bundle"].startswith(b"PK")  # type: ignore[attr-defined]
    assert capsys.readouterr().out.split()[0] in (
        "inconclusive",
        "likely_manipulated",
        "no_manipulation_found",
    )


@pytest.mark.install
def test_the_generated_client_drives_the_service(site: Site, tmp_path: Path) -> None:
    python = tmp_path / "env" / "bin" / "python"
    # Without a pip of its own, and without compiling hundreds of modules that it does not import.
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-compile",
    ]
    tools = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    for command in (
        [sys.executable, "-m", "venv", "--without-pip", str(python.parents[1])],
        [*pip, "--require-hashes", "-r", str(ROOT / "deploy/constraints/release.txt")],
        [str(python), str(ROOT / "clients" / "generate.py"), str(tmp_path / "client")],
        [*pip, str(tmp_path / "client")],
        [str(python), "-c", GENERATED, site.url, site.create_key("generated", "analyst")],
    ):
        done = subprocess.run(
            command, env={**os.environ, "PATH": tools}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "WARNING" not in done.stdout + done.stderr


def test_the_ten_calls_get_the_documented_answers(site: Site, tmp_path: Path) -> None:
    """Each block of commands runs after the one before, and answers as the block below it says:
    with the same keys and types, and the same words where these are not of the moment."""
    blocks = code_blocks(text_of(DOCS / "ten-calls.md"))
    commands = [b.removeprefix("```sh").removesuffix("```") for b in blocks if b[3:5] == "sh"]
    documented = [json.loads(b[7:-3]) for b in blocks if b.startswith("```json")]
    assert len(documented) == 10
    (tmp_path / "clip.mp4").write_bytes(short_clip(3))
    (tmp_path / "page.png").write_bytes(picture(resized(astronaut(), 320, 640), "PNG"))
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\necho +++\n".join(commands)],
        cwd=tmp_path,
        env={
            **os.environ,
            "URL": site.url,
            "KEY": site.create_key("uploader", "pipeline", "system"),
            "PERSON_KEY": site.create_key("Kim Hana", "analyst"),
        },
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    answers = [json.loads(a) for a in ended.stdout.split("+++\n") if a.strip()]
    assert [shape(a) for a in answers] == [shape(d) for d in documented]
    assert (tmp_path / "notice.pdf").read_bytes()[:4] == b"%PDF"


def shape(answer: Any) -> Any:
    """Return the keys of ``answer`` and, for the rest, types; words of one kind as they are."""
    match answer:
        case dict():
            return {key: shape(value) for key, value in answer.items()}
        case list():
            return [shape(value) for value in answer]
        case str() if re.fullmatch(r"[a-z_]+", answer) and "likely" not in answer:
            return answer
        case _:
            return type(answer).__name__
