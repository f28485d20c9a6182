"""The queueing model against published values and against a simulation of the queue."""

from __future__ import annotations

import math

import numpy as np
import pytest
from typer.testing import CliRunner

from deepfake_eval import cli
from deepfake_eval.bench.capacity import DAY_S, Queue, Work, simulated_waits, workers_needed


def test_erlang_c_has_its_published_values() -> None:
    # One server: the utilisation. Ten servers at 8 erlangs: .409, as in tables of Erlang C.
    assert Queue(Work(DAY_S, 0.7, peak=1.0), 1).waiting_share == pytest.approx(0.7)
    assert Queue(Work(DAY_S, 8.0, peak=1.0), 10).waiting_share == pytest.approx(0.409, abs=0.0005)


def test_one_server_waits_as_long_as_pollaczek_and_khinchine_say() -> None:
    for variation in (0.0, 1.0, 2.0):
        queue = Queue(Work(DAY_S, 0.8, variation, peak=1.0), 1)
        expected = 0.8 * 0.8 * (1 + variation**2) / 2 / (1 - 0.8)
        assert queue.mean_wait_s == pytest.approx(expected)


@pytest.mark.parametrize(("workers", "variation"), [(2, 0.5), (2, 1.0), (8, 0.5), (8, 1.5)])
def test_waits_are_those_of_a_simulated_queue(workers: int, variation: float) -> None:
    rng = np.random.default_rng(workers)
    jobs, mean = 200_000, 5.0
    work = Work(0.8 * workers / mean * DAY_S, mean, variation, peak=1.0)
    shape = 1 / variation**2
    simulated = simulated_waits(
        np.cumsum(rng.exponential(1 / work.rate, jobs)).tolist(),
        rng.gamma(shape, mean / shape, jobs).tolist(),
        workers,
    )
    waits = np.array(simulated[jobs // 10 :])
    queue = Queue(work, workers)
    assert queue.utilisation == pytest.approx(0.8)
    assert queue.mean_wait_s == pytest.approx(waits.mean(), rel=0.12)
    assert queue.late_share(10.0) == pytest.approx((waits > 10.0).mean(), abs=0.03)


@pytest.mark.parametrize("per_day", [10, 1_000, 100_000, 10_000_000])
def test_the_fewest_workers_suffice_and_one_less_does_not(per_day: int) -> None:
    work = Work(per_day, 7.0)
    queue = workers_needed(work, 60.0, 0.01)
    assert queue.late_share(60.0) <= 0.01
    if queue.workers > 1:
        assert Queue(work, queue.workers - 1).late_share(60.0) > 0.01


def test_workers_that_cannot_keep_up_never_catch_up() -> None:
    queue = Queue(Work(DAY_S, 2.0, peak=1.0), 2)
    assert queue.mean_wait_s == math.inf
    assert queue.late_share(1e6) == 1.0


def test_impossible_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        workers_needed(Work(0, 1.0), 60.0, 0.01)
    with pytest.raises(ValueError, match="below 1"):
        workers_needed(Work(10, 1.0), 60.0, 1.0)


def test_the_command_prints_a_line_for_each_number_of_videos() -> None:
    words = ["capacity", "1000", "100000", "--seconds", "7", "--transactions", "40"]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    # One worker is .24 erlangs busy: 24% have to wait, and e^(-60 * .76 / 7) of these 60 seconds.
    head, first, second = done.output.splitlines()
    assert head.split()[0] == "videos/day"
    assert "workers" in head
    assert first.split()[:3] == ["1,000", "0.0347/s", "1"]
    assert second.split()[:3] == ["100,000", "3.47/s", "25"]
    assert second.split()[-1] == "139/s"
