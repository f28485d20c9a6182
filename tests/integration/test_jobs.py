"""Jobs of the real service, whose processes are killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import delete, select, update

from deepfake_service.accounts.accounts import Accounts
from deepfake_service.platform.db import Job, Key, Media, Protection
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import NotAuthenticated
from tests.support.footage import short_clip
from tests.support.programs import held_jobs
from tests.support.servers import ADMIN_KEY, Site, wait_until

pytestmark = pytest.mark.server


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Yield a site of the test's own, for tests that kill, stop or restart the service."""
    with Site(tmp_path, program=held_jobs.__name__) as private:
        yield private


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a running service that is soon idle between jobs, for tests that submit and read."""
    settings = {"TEST_CONSTANTS": '{"deepfake_service.examination.runner.IDLE_S": 0.5}'}
    root = tmp_path_factory.mktemp("running")
    with Site(root, settings, program=held_jobs.__name__) as shared:
        shared.serve()
        yield shared


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a running service without a worker, for tests that leave nothing in it."""
    with Site(tmp_path_factory.mktemp("empty")) as shared:
        shared.serve("--no-worker")
        yield shared


def test_a_video_from_submission_to_shredding(site: Site) -> None:
    service = site.serve()
    marker = b"known-bytes-of-the-media-0123456789"
    video = short_clip(marker=marker)
    first = {"case_reference": "R-1", "frames": "8"}
    job = site.submit(video, source_url="https://example.org/1", **first)
    assert job["state"] in ("queued", "running")
    done = site.wait(job["id"])
    assert done["state"] == "succeeded"
    assert done["verdict"] == done["result"]["verdict"]
    assert done["progress"]["done"] == done["progress"]["total"]
    again = site.submit(video, source_url="https://example.org/2", **first)
    assert again["id"] == job["id"]
    frames = str(done["result"]["media"]["frames"])
    closer = site.wait(site.submit(video, case_reference="R-1", frames=frames)["id"])
    assert closer["case_id"] == job["case_id"]
    sampled = [j["result"]["frames"]["sampled"] for j in (done, closer)]
    assert sampled[0] < sampled[1] == done["result"]["media"]["frames"]
    brief = site.submit(video, retention="zero")
    assert brief["id"] != job["id"]
    assert site.wait(brief["id"])["state"] == "succeeded"
    # The next step of the job deletes its media.
    wait_until(lambda: not site.job(brief["id"])["media_kept"])
    with site.client as client:
        assert client.delete(f"/v1/cases/{brief['case_id']}").status_code == 204
    with site.client as client:
        case = client.get(f"/v1/cases/{job['case_id']}").json()
        assert [(o["source_url"] or "-")[-1] for o in case["occurrences"]] == ["1", "2", "-"]
        assert case["case_reference"] == "R-1"
        assert not site.files_containing(marker)
        assert not site.files_containing(b"example.org")
        assert not site.files_containing(b'R-1"')
        for examination in (closer, job):
            assert client.delete(f"/v1/jobs/{examination['id']}").status_code == 204
        assert client.get(f"/v1/jobs/{job['id']}").status_code == 404
        assert client.get(f"/v1/cases/{job['case_id']}").json()["jobs"] == []
        assert client.delete(f"/v1/cases/{job['case_id']}").status_code == 204
    # Evidence that was being made meanwhile takes its file away itself, when it has been made.
    wait_until(lambda: not site.blobs(), within_s=600.0)
    assert service.stop() == 0
    with site.database() as database, database.read() as session:
        assert not session.scalars(select(Job)).all()
        assert not session.scalars(select(Media)).all()
    assert not site.blobs()
    log = "".join(process.log for process in site.processes)
    for secret in ("example.org", "R-1", "v.mp4", ADMIN_KEY):
        assert secret not in log
    assert ("running_as_root" in log) == ("The service runs as root" in log) == (os.geteuid() == 0)


def test_a_killed_service_resumes_its_jobs_and_ends_each_once(site: Site, running: Site) -> None:
    videos = [short_clip(seed) for seed in range(2)]
    service = site.serve()
    first = site.wait(site.submit(videos[0])["id"])["result"]
    site.hold()
    jobs = [site.submit(v, priority="low", frames="10") for v in videos]
    site.wait_until_begun(jobs[0]["id"])
    service.kill()
    site.release()
    site.serve()
    resumed = [site.wait(j["id"]) for j in jobs]
    assert [job["state"] for job in resumed] == ["succeeded"] * 2
    for video, disturbed in zip(videos, resumed, strict=True):
        undisturbed = running.wait(running.submit(video, frames="10")["id"])
        assert undisturbed["result"]["verdict"] == disturbed["result"]["verdict"]
        assert undisturbed["result"]["score"] == disturbed["result"]["score"]
    assert first["verdict"]
    finished = site.finished_jobs()
    assert sorted(finished) == sorted(set(finished))


def test_a_video_that_kills_its_worker_fails_and_delays_no_other(tmp_path: Path) -> None:
    settings = {"TEST_CONSTANTS": '{"deepfake_service.examination.steps.MAX_ATTEMPTS": 1}'}
    with Site(tmp_path, settings, program=held_jobs.__name__) as site:
        service = site.serve()
        site.hold()
        poison = site.submit(short_clip(2))
        site.wait_until_begun(poison["id"])
        service.kill()
        site.release()
        site.serve()
        other = site.submit(short_clip(3))
        assert site.wait(other["id"])["state"] == "succeeded"
        failed = site.wait(poison["id"])
        assert (failed["state"], failed["failure"]) == ("failed", "too_many_attempts")
        assert failed["result"] is None


def test_an_upload_that_is_cut_half_way_leaves_nothing(empty: Site) -> None:
    address = urlsplit(empty.url)
    video = short_clip()
    head = (
        f"POST /v1/videos HTTP/1.1\r\nHost: {address.netloc}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n"
        f"Authorization: Bearer {ADMIN_KEY}\r\nContent-Length: {len(video)}\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )
    log = empty.processes[0]
    with socket.create_connection((str(address.hostname), int(address.port or 0))) as raw:
        raw.sendall(head.encode() + video[: len(video) // 2])
        # The request for the metrics is in progress itself.
        wait_until(lambda: empty.metric("deepfake_http_requests_in_progress") == 2)
    wait_until(lambda: '"route": "/v1/videos"' in log.log, explain=lambda: log.log)
    wait_until(lambda: not empty.blobs())
    with empty.client as client:
        assert client.get("/v1/jobs").json()["jobs"] == []


def test_a_folder_is_submitted_once_with_its_fields_and_prints_each_verdict(
    running: Site, tmp_path: Path
) -> None:
    folder = tmp_path / "media"
    (folder / "more").mkdir(parents=True)
    (folder / "more" / "한글.mp4").write_bytes(short_clip(11))
    (folder / "broken.mp4").write_bytes(b"not a video")
    words = ("submit", str(folder), "--case-reference", "M-1", "--captured-at")
    words += ("2026-01-31T12:00:00+09:00", "--json", "--url", running.url, "--key", ADMIN_KEY)
    lines = [json.loads(line) for line in running.command(*words).splitlines()]
    ended = {line["file"]: line["job"] for line in lines}
    assert ended["broken.mp4"]["verdict"] == "unable_to_evaluate"
    assert ended["more/한글.mp4"]["state"] == "succeeded"
    with running.client as client:
        case = client.get(f"/v1/cases/{ended['broken.mp4']['case_id']}").json()
    assert case["case_reference"] == "M-1"
    assert {o["captured_at"] for o in case["occurrences"]} == {"2026-01-31T03:00:00+00:00"}
    (folder / "broken.mp4").write_bytes(b"another one")
    again = [json.loads(line) for line in running.command(*words).splitlines()]
    jobs = {line["file"]: line["job"]["id"] for line in again}
    assert jobs["more/한글.mp4"] == ended["more/한글.mp4"]["id"]
    assert jobs["broken.mp4"] != ended["broken.mp4"]["id"]


def test_events_report_progress_until_the_end(running: Site) -> None:
    running.hold()
    job = running.submit(short_clip(4))
    seen = []
    with (
        running.client as client,
        client.stream("GET", f"/v1/jobs/{job['id']}/events") as events,
    ):
        assert events.headers["content-type"].startswith("text/event-stream")
        for line in events.iter_lines():
            if line.startswith("data: "):
                if not seen:
                    running.release()
                seen.append(line)
    assert len(seen) >= 2
    last = json.loads(seen[-1].removeprefix("data: "))
    assert last["state"] == "succeeded"
    assert "result" not in last


def test_who_follows_a_job_does_not_hold_up_a_restart(site: Site) -> None:
    """The service used to wait for its streams for half a minute, in which nobody reached it."""
    service = site.serve()
    site.hold()
    job = site.submit(short_clip(9))
    seen = []
    with (
        site.client as client,
        client.stream("GET", f"/v1/jobs/{job['id']}/events") as events,
    ):
        for line in events.iter_lines():
            if line.startswith("event: "):
                if not seen:
                    service.popen.send_signal(signal.SIGTERM)
                seen.append(line)
    assert seen[-1] == "event: stopping"
    assert "Exception in ASGI application" not in service.log


def test_a_backup_of_a_running_service_is_restored(site: Site) -> None:
    site.serve()
    done = site.wait(site.submit(short_clip(8), case_reference="R-8")["id"])
    backup = site.root / "backup"
    site.hold()
    unfinished = site.submit(short_clip(11))["id"]
    site.command("backup", str(backup))
    site.release()
    assert not (backup / "master-key").exists()
    site.wait(site.submit(short_clip(9))["id"])
    site.close()
    with Site(site.root / "restored") as restored:
        (restored.root / "var").mkdir(parents=True)
        shutil.copy(site.root / "var" / "master-key", restored.root / "var")
        journal = site.root / "var" / "journal.json"
        restored.command("restore", str(backup), "--journal", str(journal))
        restored.serve()
        assert restored.job(done["id"])["result"] == done["result"]
        with restored.client as client:
            case = client.get(f"/v1/cases/{done['case_id']}").json()
            assert case["case_reference"] == "R-8"
            assert len(client.get("/v1/jobs").json()["jobs"]) == 2
        # The backup contains none of its steps, so it starts from the beginning.
        assert restored.wait(unfinished)["state"] == "succeeded"
        assert restored.wait(restored.submit(short_clip(9))["id"])["state"] == "succeeded"


def test_a_key_that_is_put_back_while_a_worker_runs_is_revoked_again(running: Site) -> None:
    journal, keys = running.root / "var" / "journal.json", Key.__table__
    with running.database() as database:
        accounts = Accounts(database)
        accounts.create("put back", "system", Role.PIPELINE)
        key = accounts.create_key("put back")
        with database.read() as session:
            mac = session.scalar(select(keys.c.mac).where(keys.c.id == key.id))
        accounts.revoke(key.id)
        wait_until(lambda: key.id in journal.read_text())
        with database.engine.begin() as rows:  # as an older database has them
            rows.execute(update(keys).where(keys.c.id == key.id).values(revoked_at=None, mac=mac))
            rows.execute(delete(Protection).where(Protection.subject == key.id))

        def is_revoked() -> bool:
            with contextlib.suppress(NotAuthenticated):
                accounts.authenticate(key.text)
                return False
            return True

        wait_until(is_revoked)
    assert "database_was_older" in running.processes[0].log
    assert key.id in journal.read_text()


def test_the_client_shows_a_verdict(running: Site, tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(short_clip(10))
    output = running.command(
        "submit", str(video), "--url", running.url, "--key", ADMIN_KEY, "--wait"
    )
    assert re.search(r"^job \w+: succeeded\n\w", output)
    output = running.command(
        "submit", str(video), "--url", running.url, "--key", "wrong", expected=1
    )
    assert "rejected the request: The key is not valid" in output
    output = running.command(
        "submit", str(video), "--url", "http://127.0.0.1:9", "--key", "k", expected=1
    )
    assert "cannot be reached" in output


def test_a_worker_exports_what_it_reads_from_database_and_disk(site: Site) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    site.worker(DEEPFAKE_OPERATIONS_PORT=str(port))
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    values = dict(re.findall(r"^(deepfake_\w+) (\S+)$", text, re.MULTILINE))
    assert values["deepfake_database_intact"] == "1.0"
    assert values["deepfake_records_altered"] == "0.0"
    assert float(values["deepfake_disk_free_bytes"]) > 0.0
