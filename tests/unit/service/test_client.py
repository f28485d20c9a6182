"""``deepfake_client`` is what the API's description generates, whole and without a warning."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import deepfake_client

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
