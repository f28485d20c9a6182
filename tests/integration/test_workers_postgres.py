"""Several workers on one PostgreSQL: turns of accounts, limits, versions and model bundles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deepfake_models.bundle.bundle import load_bundle
from tests.support import databases
from tests.support.footage import short_clip
from tests.support.programs import held_jobs, next_workflow
from tests.support.servers import Site, wait_until
from tests.support.small_bundles import small_bundle_dir, two_square_bundle_dir

pytestmark = [pytest.mark.postgres, pytest.mark.server]

OTHER_BUNDLE = {"DEEPFAKE_BUNDLE_DIR": str(two_square_bundle_dir())}


@pytest.fixture
def database_url(postgres: databases.Server) -> str:
    return postgres.new_database()


@pytest.fixture
def site(tmp_path: Path, database_url: str) -> Iterator[Site]:
    settings = {"DEEPFAKE_DATABASE_URL": database_url}
    with Site(tmp_path, settings, program=held_jobs.__name__) as private:
        yield private


def submit_as(site: Site, key: str, video: bytes, **fields: str) -> str:
    with site.client_of(key) as client:
        answer = client.post("/v1/videos", files={"file": ("v.mp4", video)}, data=fields)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


def test_accounts_take_turns_at_two_workers(site: Site, database_url: str) -> None:
    site.serve("--no-worker")
    keys = {name: site.create_key(name, "pipeline", "system") for name in ("many", "few")}
    many = [submit_as(site, keys["many"], short_clip(n)) for n in range(5)]
    few = [submit_as(site, keys["few"], short_clip(n)) for n in range(2)]
    urgent = site.submit(short_clip(9), priority="live")["id"]
    owner = dict.fromkeys(many, "many") | dict.fromkeys(few, "few") | {urgent: "urgent"}
    site.hold()  # until both workers are seen to have as many jobs as they may
    # The worker that starts last must not impose its limit on the other.
    site.worker(DEEPFAKE_JOBS_AT_ONCE="3")
    site.worker(DEEPFAKE_JOBS_AT_ONCE="1")
    most_of_worker: Counter[str] = Counter()

    def ended() -> bool:
        running = connection.execute(
            "SELECT workflow_uuid, executor_id FROM dbos.workflow_status "
            "JOIN jobs ON id = workflow_uuid WHERE status = 'PENDING' AND state = 'running'"
        ).fetchall()
        unfinished = connection.execute(
            "SELECT 1 FROM jobs WHERE state IN ('queued', 'running')"
        ).fetchall()
        for name, count in Counter(executor for _, executor in running).items():
            most_of_worker[name] = max(most_of_worker[name], count)
        if site.holds and len(running) == 4:
            site.release()
        return not unfinished

    with psycopg.connect(database_url, autocommit=True) as connection:
        wait_until(ended, lambda: site.processes[-1].log[-3000:])
    jobs = {job_id: site.job(job_id) for job_id in owner}
    assert all(job["state"] == "succeeded" for job in jobs.values()), jobs
    order = [owner[j] for j in sorted(owner, key=lambda j: str(jobs[j]["started_at"]))]
    assert "urgent" in order[:3]
    assert order.index("few") <= 3
    assert order[:6].count("few") == 2, order
    assert sorted(most_of_worker.values()) == [1, 3]


def test_a_job_is_examined_by_its_own_model_and_version_while_there_is_one(site: Site) -> None:
    site.serve("--no-worker")
    own, other = (load_bundle(d()).sha256 for d in (small_bundle_dir, two_square_bundle_dir))
    first, newer = site.worker(), site.worker(next_workflow.__name__)
    job = begun(site, seed=1)
    assert site.metric("deepfake_workers_alive") == 2
    first.kill()
    site.release()
    stranger = site.worker(**OTHER_BUNDLE)
    awaited: dict[str, Any] = wait_until(
        lambda: (now := site.job(job))["progress"]["stage"] == "awaiting_model" and now,
        explain=lambda: newer.log + stranger.log,
    )
    assert awaited["state"] == "queued"
    wait_until(lambda: site.metric("deepfake_jobs_without_worker") == 1)
    again = site.worker()
    done = site.wait(job)
    assert (done["state"], done["bundle_sha256"]) == ("succeeded", own)
    for process in (newer, stranger):
        assert job not in process.log
        assert process.alive

    # No worker with its model comes back, and the settings say not to wait for one.
    job = begun(site, seed=2)
    for process in (again, newer, stranger):
        process.kill()
    site.release()
    site.worker(
        **OTHER_BUNDLE, TEST_CONSTANTS='{"deepfake_service.examination.workers.TAKE_OVER_S": 0}'
    )
    done = site.wait(job)
    assert (done["state"], done["bundle_sha256"]) == ("succeeded", other)
    with site.client as client:
        evidence = client.get(f"/v1/jobs/{job}/evidence").content
        verified = client.post("/v1/verify", content=evidence).json()
        assert verified["result"] == "verified", verified
        entries = client.get("/v1/audit", params={"subject": job}).json()["entries"]
    assert [e["detail"] for e in entries if e["action"] == "job.reassigned"] == [other]


def begun(site: Site, seed: int) -> str:
    """Submit a video, and return the job once a chunk of it has been examined, and is held."""
    site.hold()
    job: str = site.submit(short_clip(seed), frames="12")["id"]
    site.wait_until_begun(job)
    return job
