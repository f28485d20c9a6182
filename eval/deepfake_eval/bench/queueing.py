"""Compare the waits of jobs that arrive at random with those of the queueing model."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_eval.bench import machine
from deepfake_eval.bench.capacity import DAY_S, Queue, Work, simulated_waits
from deepfake_eval.bench.load import Report, finish, submit
from deepfake_eval.bench.plan import Plan
from deepfake_eval.bench.service import Client, Service
from deepfake_models.bundle import Bundle

WORKERS = 2
UTILISATION = 0.7
SEED = 0
_PROBES = 4


@dataclass(frozen=True, slots=True)
class Times:
    """When a job was submitted, began and ended, in seconds since the epoch."""

    created: float
    started: float
    finished: float

    @classmethod
    def of(cls, client: Client, job_id: str) -> Times:
        job = client.get(f"/v1/jobs/{job_id}").json()
        moments = (job[name] for name in ("created_at", "started_at", "finished_at"))
        return cls(*(datetime.fromisoformat(moment).timestamp() for moment in moments))

    @property
    def wait_s(self) -> float:
        return self.started - self.created

    @property
    def service_s(self) -> float:
        return self.finished - self.started


def check(bundle: Bundle, folder: Path, plan: Plan, report: Report) -> dict[str, Any]:
    """Let jobs arrive at random at two workers, each on a core of its own and with one job at a
    time, so that they are busy ``UTILISATION`` of the time; return their waits and the model's.

    A worker that is free asks for the next job now and then. How long that takes is measured with
    jobs that find nobody in front of them; the model counts it as part of each job.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < WORKERS:
        return {"not_measured": f"this process may use {len(cores)} of {WORKERS} cores"}
    path = folder / "queueing.mp4"
    plan.job_clip.write(path)
    video = path.read_bytes()
    before = machine.load()
    running = Service.running(
        folder / "queueing",
        bundle.directory,
        workers=WORKERS,
        worker_cores=cores[:WORKERS],
        settings={"JOBS_AT_ONCE": "1"},
    )
    with running as service, closing(service.client()) as client:
        finish(client, [submit(client, video, number) for number in range(WORKERS)])
        alone = [_alone(client, video, WORKERS + number) for number in range(_PROBES)]
        pickup_s = statistics.mean(times.wait_s for times in alone)
        expected_s = statistics.mean(times.service_s for times in alone) + pickup_s
        report(f"{plan.queued_jobs} jobs at random, {WORKERS} workers")
        jobs = _arrive(client, video, plan.queued_jobs, UTILISATION * WORKERS / expected_s)
        finish(client, jobs)
        times = [Times.of(client, job) for job in jobs]
    return {"load": [before, machine.load()], **compared(times, pickup_s)}


def _alone(client: Client, video: bytes, number: int) -> Times:
    job = submit(client, video, number)
    finish(client, [job])
    return Times.of(client, job)


def _arrive(client: Client, video: bytes, jobs: int, rate: float) -> list[str]:
    """Submit ``jobs`` jobs at ``rate`` a second, with exponentially distributed pauses."""
    pauses = np.random.default_rng(SEED).exponential(1 / rate, jobs)
    moment, submitted = time.monotonic(), []
    for number, pause in enumerate(pauses.tolist()):
        moment += pause
        time.sleep(max(0.0, moment - time.monotonic()))
        submitted.append(submit(client, video, 1000 + number))
    return submitted


def compared(times: Sequence[Times], pickup_s: float) -> dict[str, Any]:
    """Return measured waits, those of a simulated queue with the same jobs, and the model's."""
    taken = [job.service_s + pickup_s for job in times]
    mean_s = statistics.mean(taken)
    rate = (len(times) - 1) / (times[-1].created - times[0].created)
    variation = statistics.pstdev(taken) / mean_s
    queue = Queue(Work(rate * DAY_S, mean_s, variation, peak=1.0), WORKERS)
    return {
        "jobs": len(times),
        "workers": WORKERS,
        "utilisation": queue.utilisation,
        "service_s": mean_s - pickup_s,
        "variation": variation,
        "pickup_s": pickup_s,
        "mean_wait_s": {
            "measured": statistics.mean(job.wait_s for job in times),
            "simulated": pickup_s
            + statistics.mean(simulated_waits([job.created for job in times], taken, WORKERS)),
            "model": pickup_s + queue.mean_wait_s,
        },
    }
