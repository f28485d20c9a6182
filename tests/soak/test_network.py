"""A campaign of faults at random on an installation of several machines.

``SOAK_FAULTS`` and ``SOAK_SEED`` change it.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.machines import Cluster, Node, cluster, require_all_done, submit
from tests.support.servers import wait_until

pytestmark = [pytest.mark.postgres, pytest.mark.server]

FAULTS = int(os.environ.get("SOAK_FAULTS", "30"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
JOBS_EACH = 3
"""Jobs that are submitted before each fault."""
LONGEST_CUT_S = 40.0
"""Longer than it takes both ends of a connection to notice."""


class Faults:
    """Does one fault after the other, and heals what it broke."""

    def __init__(self, installation: Cluster, rng: random.Random) -> None:
        self._cluster = installation
        self._rng = rng
        self.done: Counter[str] = Counter()

    def one(self) -> None:
        """Do one at random."""
        fault = self._rng.choice(
            (self.cut, self.cut, self.kill, self.kill, self.postgres, self.errors, self.slowness)
        )
        self.done[fault.__name__] += 1
        fault()

    def cut(self) -> None:
        """Cut a worker off for a while."""
        machine = self._worker().machine
        assert machine is not None
        machine.cut_off()
        time.sleep(self._rng.uniform(1.0, LONGEST_CUT_S))
        machine.reconnect()

    def kill(self) -> None:
        """Kill a worker or a service, and start it again."""
        node = self._rng.choice([*self._cluster.workers, *self._cluster.services[1:]])
        node.running.kill()
        time.sleep(self._rng.uniform(0.0, 15.0))
        node.begin()
        node.wait_until_ready()

    def postgres(self) -> None:
        """Crash PostgreSQL, and start it after a while."""
        self._cluster.postgres.stop()
        time.sleep(self._rng.uniform(0.0, 10.0))
        self._cluster.postgres.start()

    def errors(self) -> None:
        """Let the store fail at random, or altogether."""
        self._cluster.faults_of_s3(share=self._rng.choice((0.2, 0.5, 1.0)))
        time.sleep(self._rng.uniform(1.0, 15.0))
        self._cluster.faults_of_s3()

    def slowness(self) -> None:
        """Let the store take seconds for each answer."""
        self._cluster.faults_of_s3(delay_s=self._rng.uniform(0.5, 3.0))
        time.sleep(self._rng.uniform(1.0, 15.0))
        self._cluster.faults_of_s3()

    def _worker(self) -> Node:
        return self._rng.choice(list(self._cluster.workers))


def test_no_job_is_lost_or_reported_twice_whatever_fails(tmp_path: Path) -> None:
    with cluster(tmp_path, services=2, workers=3) as installation:
        first = installation.services[0]
        faults = Faults(installation, random.Random(SEED))
        jobs: list[str] = []
        for number in range(FAULTS):
            latest = submit(installation, range(number * JOBS_EACH, (number + 1) * JOBS_EACH))
            jobs += latest
            wait_until(lambda j=latest[0]: first.job(j)["state"] != "queued", installation.log)
            faults.one()
        require_all_done(installation, jobs, within_s=30.0 * len(jobs))
        arrived = installation.receiver.arrived
        again = sum(arrived.values()) - len(arrived)
        figures = {
            "jobs": len(jobs),
            "seed": SEED,
            "faults": faults.done,
            "webhooks_sent_again": again,
        }
        sys.stderr.write(f"\n{json.dumps(figures)}\n")
        # Whoever sends a webhook and is cut off or killed before it could record that leaves it to
        # another. The id is the same, and so is what it says.
        assert again <= faults.done["cut"] + faults.done["kill"] + faults.done["postgres"]
