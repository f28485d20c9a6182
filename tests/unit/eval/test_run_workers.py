"""Runs in worker processes and on a cluster."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deepfake_eval.evaluate.run import RunOptions, run
from deepfake_eval.inference import cluster
from deepfake_eval.inference.cluster import ClusterError
from deepfake_eval.inference.runner import Job, ScoringOptions, _Setting, _work_on_cluster
from deepfake_eval.reporting.report import PREDICTIONS
from deepfake_models.bundle.bundle import load_bundle
from tests.support import evaluation
from tests.support.evaluation import DRAWS


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a cluster of two workers."""
    with evaluation.cluster(workers=2) as address:
        yield address


@pytest.mark.slow
def test_worker_processes_give_the_same_results(
    bundle: Path, media: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    options = RunOptions(draws=5, workers=2)
    run(bundle, [f"csv,title=made:{media}"], tmp_path, options)
    one = pd.read_parquet(done[0] / PREDICTIONS)
    pd.testing.assert_frame_equal(one, pd.read_parquet(tmp_path / PREDICTIONS), rtol=1e-4)


@pytest.mark.slow
def test_workers_of_a_cluster_give_the_same_results(
    bundle: Path,
    media: Path,
    done: tuple[Path, dict[str, Any]],
    scheduler: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = RunOptions(draws=DRAWS, scheduler=scheduler)
    metrics = run(bundle, [f"csv,title=made:{media}"], tmp_path / "out", options)
    mixed = cluster.versions() | {"numpy": "1.0"}
    monkeypatch.setattr(cluster, "versions", lambda: mixed)
    with pytest.raises(ClusterError, match=r"numpy .* and this machine 1\.0"):
        run(bundle, [f"csv,title=made:{media}"], tmp_path / "again", options)
    one = pd.read_parquet(done[0] / PREDICTIONS)
    pd.testing.assert_frame_equal(one, pd.read_parquet(tmp_path / "out" / PREDICTIONS), rtol=1e-4)
    assert metrics["levels"] == done[1]["levels"]


@pytest.mark.slow
def test_an_error_about_a_file_of_a_task_is_not_one_of_the_connection(scheduler: str) -> None:
    assert list(cluster.map_on_workers(scheduler, len, ["two"])) == [3]
    with pytest.raises(FileNotFoundError, match="/nowhere"):
        list(cluster.map_on_workers(scheduler, os.listdir, ["/nowhere"]))


def test_a_process_of_a_cluster_works_for_one_bundle_after_another(
    bundle: Path, media: Path, tmp_path: Path
) -> None:
    evaluation.tiny_bundle(tmp_path / "other", gain=0.0)
    options = ScoringOptions(frames=2)
    one, other = (
        _Setting(folder, load_bundle(folder).sha256, options, tuple(cluster.versions().items()))
        for folder in (bundle, tmp_path / "other")
    )
    job = Job("key", media / "real" / "clip.mp4")
    first, second, again = (_work_on_cluster((setting, job)) for setting in (one, other, one))
    assert first == again != second


def test_a_cluster_that_cannot_be_reached_is_named(
    bundle: Path, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    options = RunOptions(draws=5, scheduler=f"tcp://127.0.0.1:{port}")
    with pytest.raises(ClusterError, match=f"No Dask scheduler responds at .*{port}"):
        run(bundle, [f"csv,title=made:{media}"], tmp_path, options)
