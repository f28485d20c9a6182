"""Build the wheel, and score with it outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deepfake_models.bundle.bundle import MANIFEST, default_bundle_dir
from tests.support import footage

pytestmark = pytest.mark.shipped_model

ROOT = Path(__file__).parents[2]
MAX_WHEEL_BYTES = 80 * 1024**2
"""Package indexes accept files of up to 100 MB."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_contains_the_packages_and_the_bundle(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    listed = json.loads((default_bundle_dir() / MANIFEST).read_text())["files"]
    for name in (MANIFEST, *listed):
        assert f"deepfake_models/bundles/default/{name}" in names
    tops = {n.split("/")[0] for n in names if not n.split("/")[0].endswith(".dist-info")}
    assert tops == {
        "deepfake_models", "deepfake_eval", "deepfake_training", "deepfake_service",
    }  # fmt: skip
    for package in tops:
        assert f"{package}/py.typed" in names
    assert wheel.stat().st_size < MAX_WHEEL_BYTES


def test_the_wheel_scores_a_picture(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (tmp_path / "portrait.jpg").write_bytes(footage.picture(footage.astronaut(), "JPEG"))
    done = subprocess.run(
        [sys.executable, "-m", "deepfake_service", "score", "portrait.jpg", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["score"] is not None
    imported = subprocess.run(
        [sys.executable, "-c", "import deepfake_models as m; print(m.__file__)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert imported.stdout.strip().startswith(str(site))
