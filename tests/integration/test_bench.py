"""Test ``deepfake-eval bench`` as a whole: a quick run against the real service."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from deepfake_eval import cli
from deepfake_eval.bench.run import SECTIONS
from tests.support import benchkit

pytestmark = pytest.mark.server

SEVERAL_WORKERS = ("scaling", "queueing")
"""Start many processes; tests/soak measures them."""


def test_a_quick_bench_measures_every_section_and_writes_tables_and_a_plot(tmp_path: Path) -> None:
    sections = [name for name in SECTIONS if name not in SEVERAL_WORKERS]
    results, output = benchkit.quick_bench(tmp_path, sections)
    assert set(sections) <= set(results)
    assert all(row["seconds"]["floor"]["median"] > 0 for row in results["videos"]["cases"])
    assert "without the sandbox" in results["videos"]["cases"][0]["seconds"]
    assert len(results["videos"]["not_measured"]) == 2
    assert [row["faces_found"] for row in results["pictures"]["single"]] == [1, 4]
    assert [row["clients"] for row in results["pictures"]["levels"]] == [1, 2]
    statuses = {(row["kind"], row["status"]) for row in results["mixed"]["sent"]}
    assert ("broken picture", 200) in statuses
    assert sum(row["count"] for row in results["mixed"]["sent"]) == 20
    assert results["mixed"]["memory"]["now_mb"] > 0
    assert results["jobs"][0]["jobs_per_minute"] > 0
    assert [row["faces_found"] for row in results["memory"]] == [2, 2]
    assert results["machine"]["cores"] >= 1
    text = (tmp_path / "bench.md").read_text()
    assert "its figures mean nothing" in text
    assert text in output
    assert (tmp_path / "bench.svg").read_text().count("<svg") == 1


def test_an_unknown_section_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["bench", "--out", str(tmp_path), "--only", "speed"])
    assert done.exit_code == 1
    assert "no section is named speed" in str(done.exception)
    assert not list(tmp_path.iterdir())
