"""Test ``deepfake-eval bench`` as a whole: a quick run against the real service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deepfake_eval.bench.run import SECTIONS
from deepfake_eval.cli import app as cli
from tests.support.small_bundles import small_bundle_dir

pytestmark = pytest.mark.server


def test_a_quick_bench_measures_every_section_and_writes_tables(tmp_path: Path) -> None:
    results, output = _quick_bench(tmp_path)
    assert set(SECTIONS) <= set(results)
    assert all(row["seconds"]["this scorer"]["median"] > 0 for row in results["videos"]["cases"])
    assert "without the sandbox" in results["videos"]["cases"][0]["seconds"]
    assert len(results["videos"]["not_measured"]) == 1
    assert [row["faces_found"] for row in results["pictures"]["single"]] == [1, 4]
    assert [row["clients"] for row in results["pictures"]["levels"]] == [1, 2]
    assert results["pictures"]["memory_mb"] > 0
    assert results["pictures"]["start_s"] > 0
    assert results["machine"]["cores"] >= 1
    text = (tmp_path / "bench.md").read_text()
    assert "its figures mean nothing" in text
    assert text in output


def test_an_unknown_section_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["bench", "--out", str(tmp_path), "--only", "speed"])
    assert done.exit_code == 1
    assert "No section is named speed" in str(done.exception)
    assert not list(tmp_path.iterdir())


def _quick_bench(out: Path) -> tuple[dict[str, Any], str]:
    """Return the content of ``bench.json`` and what the command prints."""
    done = CliRunner().invoke(
        cli.app,
        ["bench", "--quick", "--out", str(out), "--bundle", str(small_bundle_dir()),
         "--baseline-python", str(out / "absent")],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    results: dict[str, Any] = json.loads((out / "bench.json").read_text())
    return results, done.output
