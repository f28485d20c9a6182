"""Two services and three workers on machines of their own: what a cut, a crash and a slow store do.

``tests/soak/test_network.py`` does the same for longer, with faults at random.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.machines import cluster, require_all_done, submit
from tests.support.programs import held_jobs, short_leases
from tests.support.servers import wait_until

pytestmark = [pytest.mark.postgres, pytest.mark.server]

JOBS = 6
FRAMES = 3 * held_jobs.CHUNK_FRAMES


def test_jobs_survive_a_cut_a_crash_a_restarted_database_and_a_faulty_store(
    tmp_path: Path,
) -> None:
    program = held_jobs.__name__
    with cluster(tmp_path, services=2, workers=3, program=program) as installation:
        cut_off, killed, survivor = installation.workers
        for node in installation.workers:
            node.hold()
        jobs = submit(installation, range(JOBS), FRAMES)
        first = installation.services[0]
        wait_until(
            lambda: sum(first.job(j)["state"] == "running" for j in jobs) == 3,
            explain=installation.log,
        )
        assert cut_off.machine is not None
        cut_off.machine.cut_off()
        killed.running.kill()
        for node in installation.workers:
            node.release()
        installation.faults_of_s3(share=0.3, delay_s=0.1)
        cut_at = time.monotonic()
        installation.restart_postgres()
        # Taken over although one of them still runs, and believes that it goes on.
        wait_until(
            lambda: survivor.running.log.count("job_taken_over") >= 2, explain=installation.log
        )
        assert time.monotonic() - cut_at >= short_leases.LEASE_S / 2
        installation.faults_of_s3()
        cut_off.machine.reconnect()
        require_all_done(installation, jobs)
        assert cut_off.running.alive
        assert survivor.running.alive
        assert set(installation.receiver.arrived.values()) == {1}
