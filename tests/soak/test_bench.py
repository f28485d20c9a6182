"""The sections of ``deepfake-eval bench`` that start many processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepfake_eval.bench.scaling import ONE, TWO
from tests.support import benchkit


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_workers_on_cores_of_their_own_are_compared_with_one_and_with_the_model(
    tmp_path: Path,
) -> None:
    results, output = benchkit.quick_bench(tmp_path, ["scaling", "queueing"])
    assert results["scaling"]["ratio"]["median"] > 0
    assert set(results["scaling"]["jobs_per_minute"]) == {ONE, TWO}
    assert results["queueing"]["jobs"] == 4
    assert all(wait > 0 for wait in results["queueing"]["mean_wait_s"].values())
    assert "## Waits in the queue" in output
