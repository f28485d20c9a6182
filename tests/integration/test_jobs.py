"""Jobs of the real service, in processes that are killed."""

from __future__ import annotations

import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook

from deepfake_service.db import Job, Media
from tests.support.mediakit import clip
from tests.support.servekit import ADMIN_KEY, Site, campaign, database, finished


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = Site(tmp_path)
    yield opened
    opened.close()


def test_a_video_from_submission_to_shredding(site: Site) -> None:
    service = site.serve()
    marker = b"known-bytes-of-the-media-0123456789"
    video = clip(marker=marker)
    job = site.submit(video, case_reference="R-1", source_url="https://example.org/1")
    assert job["state"] in ("queued", "running")
    done = site.wait(job["id"])
    assert done["state"] == "succeeded"
    assert done["verdict"] == done["result"]["verdict"]
    assert done["progress"]["done"] == done["progress"]["total"]
    again = site.submit(video, source_url="https://example.org/2")
    assert again["id"] == job["id"]
    brief = site.submit(video, retention="zero")
    assert brief["id"] != job["id"]
    dropped = site.wait(brief["id"])
    assert (dropped["state"], dropped["media_kept"]) == ("succeeded", False)
    with site.client as client:
        assert client.delete(f"/v1/cases/{brief['case_id']}").status_code == 204
    with site.client as client:
        case = client.get(f"/v1/cases/{job['case_id']}").json()
        assert [o["source_url"][-1] for o in case["occurrences"]] == ["1", "2"]
        assert case["case_reference"] == "R-1"
        assert not site.files_with(marker)
        assert not site.files_with(b"example.org")
        assert not site.files_with(b'R-1"')
        assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
        assert client.get(f"/v1/jobs/{job['id']}").status_code == 404
        assert client.get(f"/v1/cases/{job['case_id']}").status_code == 404
    assert service.stop() == 0
    with database(site).read() as session:
        assert not session.scalars(select(Job)).all()
        assert not session.scalars(select(Media)).all()
    blobs = [p for p in (site.root / "var" / "blobs").rglob("*") if p.is_file()]
    assert not blobs
    log = "".join(p.log.read_text() for p in site.processes)
    for secret in ("example.org", "R-1", "v.mp4", ADMIN_KEY):
        assert secret not in log


def test_a_killed_service_goes_on_where_it_was_and_ends_each_job_once(site: Site) -> None:
    videos = [clip(seed) for seed in range(3)]
    service = site.serve()
    calm = [site.wait(site.submit(v)["id"])["result"] for v in videos[:1]]
    jobs = [site.submit(v, priority="low", frames="30") for v in videos]
    site.wait(jobs[0]["id"], "running", "succeeded")
    service.kill()
    site.serve()
    ended = [site.wait(j["id"]) for j in jobs]
    assert [e["state"] for e in ended] == ["succeeded"] * 3
    undisturbed = Site(site.root / "calm")
    try:
        undisturbed.serve()
        for video, disturbed in zip(videos, ended, strict=True):
            job = undisturbed.wait(undisturbed.submit(video, frames="30")["id"])
            assert job["result"]["verdict"] == disturbed["result"]["verdict"]
            assert job["result"]["score"] == disturbed["result"]["score"]
    finally:
        undisturbed.close()
    assert calm[0]["verdict"]
    assert sorted(finished(site)) == sorted({*finished(site)})


def test_a_worker_that_died_for_good_is_noticed_and_its_jobs_taken_over(site: Site) -> None:
    site.serve("--no-worker")
    job = site.submit(clip(1, frames=60))
    time.sleep(1.0)
    assert site.job(job["id"])["state"] == "queued"
    doomed = site.worker()
    site.wait(job["id"], "running", "succeeded")
    doomed.kill()
    site.worker()
    assert site.wait(job["id"])["state"] == "succeeded"
    assert finished(site) == [job["id"]]


def test_kills_at_random_moments(site: Site) -> None:
    """The short form of the campaign in ``make soak``."""
    campaign(site, jobs=4, kills=4, seed=20261125)


def test_a_poisonous_video_fails_after_bounded_attempts_and_holds_up_nobody(tmp_path: Path) -> None:
    site = Site(tmp_path, {"DEEPFAKE_MAX_ATTEMPTS": "1"})
    try:
        service = site.serve()
        poison = site.submit(clip(2, frames=60))
        site.wait(poison["id"], "running")
        service.kill()
        site.serve()
        other = site.submit(clip(3))
        assert site.wait(other["id"])["state"] == "succeeded"
        failed = site.wait(poison["id"])
        assert (failed["state"], failed["failure"]) == ("failed", "too_many_attempts")
        assert failed["result"] is None
    finally:
        site.close()


def test_an_upload_that_is_cut_half_way_leaves_nothing(site: Site) -> None:
    site.serve("--no-worker")
    address = urlsplit(site.url)
    video = clip()
    head = (
        "POST /v1/videos HTTP/1.1\r\nHost: x\r\nContent-Type: video/mp4\r\n"
        f"Authorization: Bearer {ADMIN_KEY}\r\nContent-Length: {len(video)}\r\n\r\n"
    )
    with socket.create_connection((str(address.hostname), int(address.port or 0))) as raw:
        raw.sendall(head.encode() + video[: len(video) // 2])
        time.sleep(0.5)
    deadline = time.monotonic() + 30
    while _blobs(site) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _blobs(site)
    with site.client as client:
        assert client.get("/v1/jobs").json()["jobs"] == []


def _blobs(site: Site) -> list[Path]:
    return [p for p in (site.root / "var" / "blobs").rglob("*") if p.is_file()]


def test_events_tell_of_progress_until_the_end(site: Site) -> None:
    site.serve()
    job = site.submit(clip(4))
    seen = []
    with site.client as client, client.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        seen += [line for line in events.iter_lines() if line.startswith("data: ")]
    assert len(seen) >= 2
    assert '"state": "succeeded"' in seen[-1]
    assert '"result"' not in seen[-1]


def test_a_webhook_tells_of_the_end_once_and_verifies(tmp_path: Path) -> None:
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(204 if len(got) > 1 else 500)  # the first attempt fails
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    receiver = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{receiver.server_port}/hook"
    site = Site(tmp_path, {"DEEPFAKE_CALLBACKS_TO_PRIVATE_ADDRESSES": "true"})
    try:
        site.serve()
        job = site.submit(clip(6), callback_url=url)
        with site.client as client:
            secret = client.get("/v1/webhook-secret").json()["secret"]
        deadline = time.monotonic() + 120
        while len(got) < 2:
            assert time.monotonic() < deadline, site.processes[0].log.read_text()
            time.sleep(0.1)
        time.sleep(2.0)
        assert len(got) == 2
        assert got[0][0]["webhook-id"] == got[1][0]["webhook-id"]
        for headers, body in got:
            told = Webhook(secret).verify(body, headers)
            assert told["type"] == "job.succeeded"
            assert told["data"]["id"] == job["id"]
            assert "score" not in body.decode()
        assert url not in site.processes[0].log.read_text()
        assert not site.files_with(url.encode())
    finally:
        site.close()
        receiver.shutdown()
        receiver.server_close()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://localhost/"]
)
def test_callbacks_to_this_machine_are_refused_and_nothing_is_kept(site: Site, url: str) -> None:
    site.serve("--no-worker")
    with site.client as client:
        answer = client.post(
            "/v1/videos", files={"file": ("v.mp4", clip(7))}, data={"callback_url": url}
        )
        assert answer.status_code == 422
        assert answer.json()["type"].endswith(":callback_refused")
        assert client.get("/v1/jobs").json()["jobs"] == []
    assert not _blobs(site)


def test_a_backup_taken_while_it_runs_is_restored(site: Site) -> None:
    site.serve()
    done = site.wait(site.submit(clip(8), case_reference="R-8")["id"])
    out = site.root / "backup"
    under_way = site.submit(clip(11))["id"]
    site.command("backup", str(out))
    assert not (out / "master-key").exists()
    site.wait(site.submit(clip(9))["id"])
    site.close()
    restored = Site(site.root / "restored")
    shutil.copytree(out, restored.root / "var")
    shutil.copy(site.root / "var" / "master-key", restored.root / "var")
    try:
        restored.serve()
        assert restored.job(done["id"])["result"] == done["result"]
        with restored.client as client:
            case = client.get(f"/v1/cases/{done['case_id']}").json()
            assert case["case_reference"] == "R-8"
            assert len(client.get("/v1/jobs").json()["jobs"]) == 2
        # Of its steps the backup has nothing: it begins anew, whatever was done of it.
        assert restored.wait(under_way)["state"] == "succeeded"
        assert restored.wait(restored.submit(clip(9))["id"])["state"] == "succeeded"
    finally:
        restored.close()


def test_the_client_shows_a_verdict(site: Site, tmp_path: Path) -> None:
    site.serve()
    (tmp_path / "v.mp4").write_bytes(clip(10))
    told = site.command("submit", str(tmp_path / "v.mp4"), "--url", site.url, "--key", ADMIN_KEY,
                        "--wait")  # fmt: skip
    assert re.search(r"^job \w+: succeeded\n\w", told)
    refused = site.command("submit", str(tmp_path / "v.mp4"), "--url", site.url, "--key", "wrong",
                           expected=1)  # fmt: skip
    assert "The service rejected the request: A valid key is needed" in refused
    nobody = site.command("submit", str(tmp_path / "v.mp4"), "--url", "http://127.0.0.1:9",
                          "--key", "k", expected=1)  # fmt: skip
    assert "cannot be reached" in nobody


def test_another_accounts_job_is_not_there(site: Site) -> None:
    site.serve("--no-worker")
    job = site.submit(clip(5))
    key = site.command("accounts", "create", "other", "--role", "pipeline")
    headers = {"Authorization": f"Bearer {key.splitlines()[0]}"}
    with httpx.Client(base_url=site.url, headers=headers) as other:
        for method, path in (
            ("GET", f"/v1/jobs/{job['id']}"),
            ("GET", f"/v1/jobs/{job['id']}/events"),
            ("DELETE", f"/v1/jobs/{job['id']}"),
            ("GET", f"/v1/cases/{job['case_id']}"),
            ("DELETE", f"/v1/cases/{job['case_id']}"),
            ("GET", "/v1/jobs/nothing"),
        ):
            answer = other.request(method, path)
            assert answer.status_code == 404, (method, path)
            assert answer.json()["type"].endswith(":not_found")
        assert other.get("/v1/jobs").json()["jobs"] == []
        assert other.put(f"/v1/cases/{job['case_id']}/hold").status_code == 403
