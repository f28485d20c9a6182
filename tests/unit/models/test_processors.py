"""Test how many cores are used under limits of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepfake_models import machine


@pytest.fixture(autouse=True)
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the process eight cores and a group ``slice/unit`` in a folder."""
    own = tmp_path / "own"
    own.write_text("1:name=systemd:/elsewhere\n0::/slice/unit\n")
    (tmp_path / "slice" / "unit").mkdir(parents=True)
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_CGROUP", own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    return tmp_path


def test_without_a_quota_every_core_counts(groups: Path) -> None:
    assert machine.usable_cores() == 8
    (groups / "slice" / "unit" / "cpu.max").write_text("max 100000\n")
    assert machine.usable_cores() == 8
    (groups / "own").unlink()
    assert machine.usable_cores() == 8


@pytest.mark.parametrize(
    ("quota", "cores"), [("250000 100000", 3), ("20000 100000", 1), ("9900000 100000", 8)]
)
@pytest.mark.parametrize("group", ["", "slice", "slice/unit"])
def test_a_quota_of_any_group_above_counts_and_is_rounded_up(
    groups: Path, group: str, quota: str, cores: int
) -> None:
    (groups / group / "cpu.max").write_text(quota)
    assert machine.usable_cores() == cores
