"""What the README promises: clone, ``make serve``, score a picture and a clip, stop.

Installs the serving environment into a fresh clone, with the shipped model.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support import footage
from tests.support.servers import wait_until

pytestmark = [pytest.mark.install, pytest.mark.server, pytest.mark.shipped_model]

ROOT = Path(__file__).parents[2]
INSTALL_TIMEOUT_S = 900.0
"""Downloads of about 150 MB, over a slow line."""
STOP_TIMEOUT_S = 60.0
TRAINING_ONLY = {"torch", "torchvision", "timm", "facenet-pytorch", "opencv-python-headless"}


@dataclass
class Served:
    clone: Path
    url: str
    key: str
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the files that git tracks, as they are in the working tree."""
    for tool in ("git", "make", "curl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    target = tmp_path_factory.mktemp("clone") / "deepfake-service"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


@pytest.fixture(scope="module")
def served(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("log") / "stderr"
    environment = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("DEEPFAKE_", "VIRTUAL_ENV", "PYTHON", "MAKE", "MFLAGS"))
    }
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["make", "serve"],
            cwd=clone,
            # Most of what is installed is never imported: Python compiles the rest when it is. (The
            # variable of an option that says no takes the opposite: pip's documentation says so.)
            env={**environment, "DEEPFAKE_PORT": "0", "PIP_NO_COMPILE": "no"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:

        def serving() -> re.Match[str] | None:
            assert process.poll() is None, log.read_text()
            return re.search(r"Serving on (http://\S+)", log.read_text())

        url = wait_until(serving, log.read_text, within_s=INSTALL_TIMEOUT_S)[1]

        def ready() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"{url}/readyz").status_code == 200
            return False

        wait_until(ready, explain=log.read_text)
        key = (clone / "var" / "admin-key").read_text().strip()
        yield Served(clone, url, key, process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_readme_s_curl_line_scores_a_picture(served: Served, tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").write_bytes(footage.picture(footage.astronaut(), "JPEG"))
    readme = (served.clone / "README.md").read_text()
    command = re.search(r"^    (curl .*?@picture\.jpg)$", readme, re.MULTILINE | re.DOTALL)
    assert command, "the README has no curl line"
    line = command[1].replace("http://127.0.0.1:8000", served.url)
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=tmp_path,
        env={**os.environ, "KEY": served.key},
        capture_output=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    (frame,) = answer["frames"]
    assert frame["name"] == "picture.jpg"
    assert len(frame["faces"]) == 1
    assert 0.0 <= frame["score"] <= 1.0
    assert answer["model"]["terms"]


def test_the_readme_s_score_command_scores_a_clip(served: Served, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(footage.encode(footage.panning(16, 320, 256)))
    done = subprocess.run(
        [served.clone / ".venv-serve/bin/deepfake", "score", "clip.mp4", "--json", "--faces"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    result = json.loads(done.stdout)
    assert result["score"] is not None
    assert len(result["faces"]) >= 14


def test_the_serving_environment_holds_no_torch(served: Served) -> None:
    done = subprocess.run(
        [served.clone / ".venv-serve/bin/pip", "list", "--format", "json"],
        capture_output=True,
        check=True,
    )
    names = {p["name"].lower() for p in json.loads(done.stdout)}
    assert "onnxruntime" in names
    assert not names & TRAINING_ONLY


def test_sigterm_stops_everything_that_was_started(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    served.process.terminate()
    served.process.wait(STOP_TIMEOUT_S)
    wait_until(lambda: not _session(served.process.pid))
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect((host, int(port)))


def _session(leader: int) -> list[int]:
    """Return the ids of the processes in the session that ``leader`` started."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            members.append(int(stat.parent.name))
    return members
