"""What modules import: only training needs torch, a start needs little, and no test is imported."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from deepfake_service.cli.app import MODULES, CommandsOnDemand, app

PROGRAM = """
import importlib, pkgutil, sys
for started in sys.argv[1:3]:
    importlib.import_module(started)
    print(*sys.modules)
for name in sys.argv[3:]:
    package = importlib.import_module(name)
    for info in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(info.name)
print(*sys.modules)
"""
OF_TRAINING = {"torch", "torchvision", "timm", "facenet_pytorch"}
SIGNING = {"pyhanko", "aiohttp", "boto3", "botocore", "securesystemslib.signer"}
"""What only signing and verifying need. Its import would take a sixth of a start."""


def test_a_start_needs_little_and_only_training_needs_torch() -> None:
    """One interpreter imports what serves, then what computes features, then all other rooms.

    There are many processes that compute features, and torch would be most of their start.
    """
    starts = ["deepfake_service.cli.serve", "deepfake_training.train.feature_workers"]
    rooms = ["deepfake_models", "deepfake_eval", "deepfake_service"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *starts, *rooms], capture_output=True, text=True, check=True
    )
    serving, computing, imported = (set(line.split()) for line in done.stdout.splitlines())
    assert "fastapi" in serving
    assert not serving & SIGNING
    assert "deepfake_models.bundle.session" in computing
    assert len([name for name in imported if name.startswith("deepfake_")]) > 40
    for modules in (serving, computing, imported):
        assert not modules & OF_TRAINING


def test_commands_that_are_imported_on_demand_exist_and_are_listed() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, CommandsOnDemand)
    context = group.make_context("deepfake", ["--help"], resilient_parsing=True)
    names = group.list_commands(context)
    assert names == [name for commands in MODULES.values() for name in commands]
    for module, commands in MODULES.items():
        imported = importlib.import_module(f"deepfake_service.cli.{module}").commands
        assert set(typer.main.get_group(imported).commands) == set(commands)
    for name in names:
        command = group.get_command(context, name)
        assert command.name == name
        assert command.help or command.callback
    assert group.get_command(context, "none") is None


def test_a_mistyped_command_is_told_what_it_may_stand_for() -> None:
    for typed, meant in (("serv", "serve"), ("accountz", "accounts")):
        assert f"Did you mean '{meant}'?" in CliRunner().invoke(app, [typed]).output


def modules_in(code: str) -> set[str]:
    """Return the modules that ``code`` imports, with the names taken from them."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module or ''}.{alias.name}" for alias in node.names}
    return names


def test_no_test_is_imported() -> None:
    root = Path(__file__).parents[1]
    tests = {path.stem for path in root.rglob("test_*.py")}
    assert len(tests) > 100
    found = [
        f"{path.relative_to(root)} imports {name}: move what they share to tests/support"
        for path, code in ((p, p.read_text(encoding="utf-8")) for p in sorted(root.rglob("*.py")))
        # Parsing is slow, and few files so much as mention another one.
        if tests.intersection(re.findall(r"\btest_\w+", code))
        for name in sorted(modules_in(code))
        if tests.intersection(name.split("."))
    ]
    assert found == []


@pytest.mark.parametrize("room", ["service/deepfake_service", "training/deepfake_training"])
def test_strangers_files_are_decoded_in_confined_processes(room: str) -> None:
    modules = list((Path(__file__).parents[2] / room).rglob("*.py"))
    assert len(modules) > 20
    for path in modules:
        code = path.read_text(encoding="utf-8")
        names = modules_in(code) if "InProcessDecoder" in code else set()
        assert not [n for n in names if n.endswith(".InProcessDecoder")], path
