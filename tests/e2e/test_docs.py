"""Run every command in the how-to pages, on files with the names that the pages use."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake_models.bundle.bundle import default_bundle_dir
from deepfake_service.audit.journal import open_journal
from deepfake_service.audit.records import open_database
from deepfake_service.platform.settings import Settings
from tests.support import footage, forking, small_bundles

ROOT = Path(__file__).parents[2]
_TOOLS = r"(?:\w+=\S+ )?(?:deepfake|deepfake-eval|python)"
COMMAND = re.compile(rf"^ {{4}}({_TOOLS} .+(?:\n {{6,}}.+)*)$", re.MULTILINE)
FENCED = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IN_FENCE = re.compile(rf"^({_TOOLS} (?:[^\n\\]|\\\n)+)$", re.MULTILINE)
ASSIGNMENT = re.compile(r"\w+=")
SHELL = frozenset("|&;<>()$`*?[]{}~#!")
"""Characters that mean something to the shell."""

TESTED_ELSEWHERE = ("verify-by-hand.md", "evaluation.md", "tutorial.md", "captures.md")
"""See ``test_verify_by_hand``, the unit test ``test_docs_commands``, and for captured pages
``integration/test_captures``."""


def commands() -> list[tuple[str, str]]:
    """Return (page, command) for each page in docs/, in order; commands may span several lines."""
    pairs = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        if page.name in TESTED_ELSEWHERE:
            continue
        text = page.read_text(encoding="utf-8")
        written = COMMAND.findall(text)
        written += [c for block in FENCED.findall(text) for c in IN_FENCE.findall(block)]
        pairs += [(page.name, re.sub(r"\s*\\\n\s+", " ", command)) for command in written]
    return pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("docs")
    (root / "clip.mp4").write_bytes(footage.encode(footage.panning(6, 320, 256)))
    for name in ("bundle", "other", "sbi"):
        shutil.copytree(small_bundles.small_bundle_dir(), root / name)
    shutil.copytree(default_bundle_dir(), root / "my-bundle")
    for label, portrait in (("real", footage.astronaut()), ("fake", footage.grace_hopper())):
        for data_set in ("media", "my-data"):
            (root / data_set / label).mkdir(parents=True)
            for number in range(3):
                shade = (portrait * (1 - 0.1 * number)).astype("uint8")
                data = footage.picture(shade, "JPEG")
                (root / data_set / label / f"{number}.jpg").write_bytes(data)
    # The pages on operation assume that the service has been started before.
    settings = Settings(data_dir=root / "var")
    with contextlib.closing(open_database(settings)) as database:
        open_journal(settings, database).write()
    (root / "new").mkdir()  # where the backup is restored, to which the master key was put before
    shutil.copy(root / "var" / "master-key", root / "new")
    return root


def test_the_pages_contain_commands() -> None:
    pages = {page for page, _ in commands()}
    assert {"incidents.md", "model-bundle.md", "operations.md"} <= pages


def test_every_test_that_the_threat_model_names_exists() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+/test_\w+\.py)`", text))
    assert len(named) > 30
    assert [path for path in sorted(named) if not (ROOT / "tests" / path).is_file()] == []


# One command scores with the shipped bundle; the others use it nowhere.
@pytest.mark.shipped_model
@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_runs(page: str, command: str, folder: Path) -> None:
    environment = {
        **os.environ,
        "DEEPFAKE_DATA_DIR": str(folder / "var"),
        "DEEPFAKE_BUNDLE_DIR": str(folder / "bundle"),
    }
    words = shlex.split(command)
    assigned = list(itertools.takewhile(ASSIGNMENT.match, words))
    program, *arguments = words[len(assigned) :]
    if program == "deepfake" and not set(command) & SHELL:
        environment |= dict(word.split("=", 1) for word in assigned)
        done = forking.run(arguments, environment, folder)
    else:
        tools = Path(sys.executable).parent
        environment["PATH"] = f"{tools}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, f"{page}: {command}\n{done.stdout}\n{done.stderr}"
