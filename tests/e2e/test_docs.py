"""Every command in the how-to pages runs, on files of the names that the pages use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mediakit
from deepfake_models.bundle import default_bundle_dir

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"^ {4}((?:deepfake|deepfake-eval|python) .+(?:\n {6,}.+)*)$", re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    """(page, command) of every page in docs/; a command may go on over indented lines."""
    return [
        (page.name, re.sub(r"\s*\\\n\s+", " ", found))
        for page in sorted((ROOT / "docs").glob("*.md"))
        for found in COMMAND.findall(page.read_text(encoding="utf-8"))
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("docs")
    (root / "clip.mp4").write_bytes(mediakit.encode(mediakit.panning(20, 320, 256)))
    shutil.copytree(default_bundle_dir(), root / "my-bundle")
    for label, portrait in (("real", mediakit.astronaut()), ("fake", mediakit.grace_hopper())):
        (root / "my-data" / label).mkdir(parents=True)
        for number in range(3):
            shade = (portrait * (1 - 0.1 * number)).astype("uint8")
            data = mediakit.picture(shade, "JPEG")
            (root / "my-data" / label / f"{number}.jpg").write_bytes(data)
    return root


def test_the_pages_hold_commands() -> None:
    assert commands()


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_runs(page: str, command: str, folder: Path) -> None:
    tools = Path(sys.executable).parent
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{page}: {command}\n{done.stdout}\n{done.stderr}"
