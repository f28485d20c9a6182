"""Compare two workers on two cores with one worker on one core, round by round."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from deepfake_eval.bench import machine
from deepfake_eval.bench.load import Report, run_jobs
from deepfake_eval.bench.plan import Plan
from deepfake_eval.bench.rounds import Measure, Samples, alternate, ratio
from deepfake_eval.bench.scoring import seconds_of
from deepfake_eval.bench.service import Client, Service
from deepfake_models.bundle import Bundle

ONE, TWO = "1 worker, 1 core", "2 workers, 2 cores"
CORES = {ONE: 1, TWO: 2}


def compare(bundle: Bundle, folder: Path, plan: Plan, report: Report) -> dict[str, Any]:
    """Return the jobs a minute of both, and their ratio.

    Each worker is pinned to a core of its own. Both installations stay open, and take turns.
    """
    cores = sorted(os.sched_getaffinity(0))
    needed = max(CORES.values())
    if len(cores) < needed:
        return {"not_measured": f"this process may use {len(cores)} of {needed} cores"}
    path = folder / "scaling.mp4"
    plan.job_clip.write(path)
    video, numbers = path.read_bytes(), count(1)
    loads = [machine.load()]
    with ExitStack() as stack:
        contenders: dict[str, Measure] = {}
        for name, workers in CORES.items():
            root = folder / f"scaling-{workers}"
            running = Service.running(
                root, bundle.directory, workers=workers, worker_cores=cores[:workers]
            )
            client = stack.enter_context(closing(stack.enter_context(running).client()))
            if plan.rounds > 1:  # otherwise nobody compares the figures
                run_jobs(client, video, [next(numbers) for _ in range(workers)])
            contenders[name] = partial(_jobs_per_minute, client, video, plan.pinned_jobs, numbers)
        report(f"{plan.pinned_jobs} jobs, {ONE} and {TWO}")
        taken = alternate(contenders, plan.rounds)
    loads.append(machine.load())
    taken = {name: Samples(samples.values, unit="1/min") for name, samples in taken.items()}
    return {
        "jobs": plan.pinned_jobs,
        "jobs_per_minute": {name: samples.to_json() for name, samples in taken.items()},
        "ratio": ratio(taken[TWO], taken[ONE]).to_json(),
        "load": loads,
    }


def _jobs_per_minute(client: Client, video: bytes, jobs: int, numbers: count[int]) -> float:
    batch = [next(numbers) for _ in range(jobs)]
    return 60 * jobs / seconds_of(partial(run_jobs, client, video, batch))
