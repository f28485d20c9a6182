"""A Dask cluster of worker processes on this machine."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cluster(workers: int, threads: int = 1) -> Iterator[str]:
    """Start a scheduler and ``workers`` processes of ``threads``; yield the scheduler's address."""
    from distributed import LocalCluster

    with (
        warnings.catch_warnings(action="ignore"),  # of Dask, on its way up and down
        LocalCluster(
            n_workers=workers, threads_per_worker=threads, processes=True, dashboard_address=None
        ) as running,
    ):
        yield running.scheduler_address
