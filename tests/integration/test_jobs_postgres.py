"""Several workers on one PostgreSQL, which can become unavailable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from deepfake_service.platform.db import AuditEntry, migrations
from tests.support import databases
from tests.support.footage import short_clip
from tests.support.programs import held_jobs
from tests.support.servers import ADMIN_KEY, Site, wait_until

VERSIONS = Path(migrations.__file__).parent / "versions"
pytestmark = [pytest.mark.postgres, pytest.mark.server]


@pytest.fixture
def site(tmp_path: Path, postgres: databases.Server) -> Iterator[Site]:
    settings = {"DEEPFAKE_DATABASE_URL": postgres.new_database()}
    with Site(tmp_path, settings, program=held_jobs.__name__) as private:
        yield private


def test_the_tables_can_be_migrated_before_anything_starts(
    tmp_path: Path, postgres: databases.Server
) -> None:
    newest = max(path.name for path in VERSIONS.glob("[0-9]*.py"))[:4]
    with Site(tmp_path, {"DEEPFAKE_DATABASE_URL": postgres.empty_database()}) as site:
        for _ in range(2):
            assert site.command("migrate").strip() == f"The database is at version {newest}."
        with site.database() as database, database.read() as session:
            keys = [e.subject for e in session.scalars(select(AuditEntry)) if "key" in e.action]
        assert keys == ["environment"]
        site.serve("--no-worker")
        with site.client as client:
            assert client.get("/v1/jobs").status_code == 200


def test_one_of_two_workers_is_killed_and_the_other_takes_over(site: Site) -> None:
    site.serve("--no-worker")
    doomed, survivor = site.worker(), site.worker()
    site.hold()
    jobs = [site.submit(short_clip(n))["id"] for n in range(4)]
    site.wait_until_begun(jobs[0])
    doomed.kill()
    site.release()
    for job_id in jobs:
        assert site.wait(job_id)["state"] == "succeeded"
    assert survivor.alive
    assert sorted(site.finished_jobs()) == sorted(jobs)


def test_a_database_that_goes_away_and_comes_back(site: Site, postgres: databases.Server) -> None:
    service = site.serve()
    site.hold()
    before = site.submit(short_clip(1))["id"]
    site.wait_until_begun(before)
    postgres.stop()
    site.release()
    try:
        with site.client as client:
            assert client.get("/readyz").status_code == 503
            refused = client.post("/v1/videos", files={"file": ("v.mp4", short_clip(2))})
            assert refused.status_code == 503
            assert client.get("/healthz").status_code == 200
        # The worker has met the outage too, not the routes alone.
        wait_until(lambda: "database_unavailable" in service.log, explain=lambda: service.log)
    finally:
        postgres.start()
    assert service.alive
    after = site.submit(short_clip(2))["id"]
    for job_id in (before, after):
        assert site.wait(job_id)["state"] == "succeeded"


def test_evidence_reviews_and_pages_on_postgresql(site: Site) -> None:
    site.serve()
    job = site.wait(site.submit(short_clip(5), case_reference="R-9")["id"])
    assert job["state"] == "succeeded"
    with site.client as client:
        first = client.get(f"/v1/jobs/{job['id']}/evidence").content
        review = {"decision": "confirmed", "reason": "seen"}
        path = f"/v1/jobs/{job['id']}/reviews"
        assert client.post(path, json=review).json()["finding"] == "confirmed"
        assert client.post("/v1/verify", content=first).json()["result"] == "superseded"
        assert client.put(f"/v1/cases/{job['case_id']}/minor").status_code == 204
        assert client.get(f"/v1/jobs/{job['id']}/faces/1.png").status_code == 403
        assert client.get(f"/v1/jobs/{job['id']}/evidence").status_code == 200
        assert client.delete(f"/v1/cases/{job['case_id']}/minor").status_code == 204
        editions = client.get(f"/v1/jobs/{job['id']}/evidence/editions").json()["editions"]
        assert [e["edition"] for e in editions] == [4, 3, 2, 1]
        assert client.get("/v1/notices/overdue").json()["notices"] == []
    with site.browser() as pages:
        assert pages.post("/sign-in", data={"key": ADMIN_KEY}).status_code == 303
        query = {"reference": "R-9", "finding": "confirmed", "days": "1", "reviewer": "me"}
        shown = re.findall(r'href="/items/(\w+)"', pages.get("/", params=query).text)
        assert set(shown) == {job["id"]}
        assert pages.get(f"/items/{job['id']}").status_code == 200
