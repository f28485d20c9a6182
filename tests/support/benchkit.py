"""Run ``deepfake-eval bench --quick`` with the small bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from deepfake_eval import cli
from tests.support.bundlekit import small_bundle_dir


def quick_bench(out: Path, sections: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Measure ``sections``; return the content of ``bench.json`` and what the command prints."""
    done = CliRunner().invoke(
        cli.app,
        ["bench", "--quick", "--out", str(out), "--bundle", str(small_bundle_dir()),
         "--baseline-python", str(out / "absent"), "--only", ",".join(sections)],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    results: dict[str, Any] = json.loads((out / "bench.json").read_text())
    return results, done.output
