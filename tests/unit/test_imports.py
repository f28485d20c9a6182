"""Every module of models, eval and service is imported without torch, which only training needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import importlib, pkgutil, sys

class Blocker:
    blocked = {"torch", "torchvision", "timm", "facenet_pytorch"}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.blocked:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
count = 0
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for info in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(info.name)
        count += 1
print(count)
"""


def test_models_eval_and_service_import_without_torch() -> None:
    rooms = ["deepfake_models", "deepfake_eval", "deepfake_service"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *rooms], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40


@pytest.mark.parametrize("name", ["torch", "timm"])
def test_the_blocker_blocks(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("package = ", f"import {name}; package = "), "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "is blocked" in done.stderr
