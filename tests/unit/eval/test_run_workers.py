"""Runs in worker processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deepfake_eval.evaluate.run import run
from deepfake_eval.options import RunOptions
from deepfake_eval.reporting.report import PREDICTIONS


@pytest.mark.slow
def test_worker_processes_give_the_same_results(
    bundle: Path, media: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    options = RunOptions(draws=5, workers=2)
    run(bundle, [f"csv,title=made:{media}"], tmp_path, options)
    one = pd.read_parquet(done[0] / PREDICTIONS)
    pd.testing.assert_frame_equal(one, pd.read_parquet(tmp_path / PREDICTIONS), rtol=1e-4)
