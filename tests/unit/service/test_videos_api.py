"""What ``/v1/videos``, ``/v1/jobs`` and ``/v1/cases`` accept, refuse, store and delete."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx
import pyrage
import pytest
from sqlalchemy import select

from deepfake_service.casework.due import GRACE
from deepfake_service.casework.orphans import COMMITTED_WITHIN, ORPHANED_AFTER
from deepfake_service.db import (
    AuditEntry,
    Case,
    Delivery,
    Job,
    KnownHashes,
    Media,
    Notice,
    new_id,
)
from deepfake_service.db.enums import JobState, Role
from deepfake_service.errors import NotReady
from deepfake_service.http.dependencies import AppState
from deepfake_service.security.audit_log import verify
from deepfake_service.storage import seal_json
from tests.support import evidencekit as kit
from tests.support.jobkit import blobs, examined, headers, post_video
from tests.support.watching import files_containing

# ``conftest.Service``; conftest modules cannot be imported.
Service = Any
Starter = Callable[..., AbstractAsyncContextManager[Service]]

VIDEO = b"still 1 120 " + bytes(range(256)) * 300


async def submit(service: Service, video: bytes = VIDEO, **fields: str) -> httpx.Response:
    headers = (
        {"Idempotency-Key": fields.pop("idempotency_key")} if "idempotency_key" in fields else {}
    )
    return await service.client.post(
        "/v1/videos", files={"file": ("secret-name.mp4", video)}, data=fields, headers=headers
    )


def sweep(service: Service) -> None:
    service.app.state.shared.services.sweeps.sweep()
    service.app.state.shared.services.orphans.delete()


async def test_a_video_is_sealed_and_queued(service: Service) -> None:
    answer = await submit(
        service, case_reference="R-1", platform="X", captured_at="2026-01-02T03:04:05+09:00"
    )
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["size"], job["result"]) == ("queued", len(VIDEO), None)
    (blob,) = blobs(service)
    assert VIDEO[:64] not in blob.read_bytes()
    case = (await service.client.get(f"/v1/cases/{job['case_id']}")).json()
    (seen,) = case["occurrences"]
    assert (seen["platform"], seen["captured_at"]) == ("X", "2026-01-01T18:04:05+00:00")
    assert case["case_reference"] == "R-1"


async def test_a_raw_body_is_taken_too(service: Service) -> None:
    answer = await service.client.post(
        "/v1/videos?priority=live&source_url=https://example.org/1",
        content=VIDEO,
        headers={"Content-Type": "video/mp4"},
    )
    assert answer.status_code == 202
    again = await submit(service)
    assert again.status_code == 200
    assert again.json()["id"] == answer.json()["id"]
    assert len(blobs(service)) == 1


@pytest.mark.parametrize(
    "media_type",
    ["Video/MP4", "VIDEO/mp4; codecs=avc1", "Application/Octet-Stream"],
)
async def test_the_case_of_a_media_type_does_not_matter(service: Service, media_type: str) -> None:
    answer = await service.client.post(
        "/v1/videos", content=VIDEO, headers={"Content-Type": media_type}
    )
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"frames": "0"}, "frames"),
        ({"frames": "many"}, "frames"),
        ({"frames": "9" * 5000}, "frames"),
        ({"priority": "urgent"}, "priority"),
        ({"retention": "for ever"}, "retention"),
        ({"captured_at": "yesterday"}, "captured_at"),
        ({"captured_at": "2026-01-02T03:04:05"}, "captured_at"),
        ({"source_url": "javascript:alert(1)"}, "source_url"),
        ({"source_url": "https://"}, "source_url"),
        ({"callback_url": "ftp://example.org"}, "callback_url"),
        ({"case_reference": "x" * 201}, "case_reference"),
        ({"case_reference": "a\u202eb"}, "case_reference"),
        ({"platform": "x" * 9000}, "platform"),
        ({"unknown": "1"}, "unknown"),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_named_and_nothing_is_kept(
    service: Service, fields: dict[str, str], named: str
) -> None:
    answer = await submit(service, **fields)
    assert answer.status_code == 422
    assert [e["field"] for e in answer.json()["errors"]] == [named]
    assert not blobs(service)
    assert (await service.client.get("/v1/jobs")).json()["jobs"] == []


async def test_bodies_that_are_none_are_refused(service: Service) -> None:
    post = service.client.post
    none = await post("/v1/videos", files={"priority": (None, "live")})
    assert none.json()["errors"][0]["field"] == "file"
    text = await post("/v1/videos", files={"file": (None, "text")})
    assert text.status_code == 422
    two = await post("/v1/videos", files=[("file", ("a", VIDEO)), ("file", ("b", VIDEO))])
    assert two.status_code == 422
    for kind in ("text/html", "application/json"):
        refused = await post("/v1/videos", content=b"x", headers={"Content-Type": kind})
        assert refused.status_code == 415
    zipped = {"Content-Type": "video/mp4", "Content-Encoding": "gzip"}
    assert (await post("/v1/videos", content=b"x", headers=zipped)).status_code == 415
    torn = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'
    broken = {"Content-Type": "multipart/form-data; boundary=b"}
    assert (await post("/v1/videos", content=torn, headers=broken)).status_code == 400
    assert not blobs(service)


async def test_an_empty_file_is_refused(service: Service) -> None:
    raw = {"content": b"", "headers": {"Content-Type": "video/mp4"}}
    for sent in (raw, {"files": {"file": ("secret-name.mp4", b"")}}):
        answer = await service.client.post("/v1/videos", **sent)
        assert answer.status_code == 422
        (problem,) = answer.json()["errors"]
        assert (problem["field"], "empty" in problem["detail"]) == ("file", True)
    assert not blobs(service)
    assert (await service.client.get("/v1/jobs")).json()["jobs"] == []


async def test_an_oversize_video_is_refused_while_it_arrives(start: Starter) -> None:
    async with start(max_video_bytes=100_000) as service:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while sent < 50_000_000:
                sent += 10_000
                yield bytes(10_000)

        raw = await service.client.post(
            "/v1/videos", content=endless(), headers={"Content-Type": "video/mp4"}
        )
        assert raw.status_code == 413
        assert (await submit(service, bytes(200_000))).status_code == 413
        assert not blobs(service)


async def test_equal_content_gives_the_job_that_there_is_and_keeps_a_new_url(
    service: Service,
) -> None:
    first = (await submit(service, source_url="https://example.org/1")).json()
    same = await submit(service, source_url="https://example.org/1")
    other = await submit(service, source_url="https://example.org/2")
    assert (same.status_code, other.status_code) == (200, 200)
    assert same.json()["id"] == other.json()["id"] == first["id"]
    case = (await service.client.get(f"/v1/cases/{first['case_id']}")).json()
    assert [o["source_url"] for o in case["occurrences"]] == [
        "https://example.org/1", "https://example.org/2",
    ]  # fmt: skip
    assert len(blobs(service)) == 1
    differently = await submit(service, frames="16")
    assert differently.status_code == 202
    theirs = await service.client.post(
        "/v1/videos", files={"file": ("v", VIDEO)}, headers=headers(service, Role.ANALYST)
    )
    assert theirs.status_code == 202


async def test_cases_of_one_reference_are_one_but_not_across_accounts(service: Service) -> None:
    first = (await submit(service, b"a" * 99, case_reference="R-1")).json()
    second = (await submit(service, b"b" * 99, case_reference="R-1")).json()
    third = (await submit(service, b"c" * 99)).json()
    assert first["case_id"] == second["case_id"] != third["case_id"]
    theirs = await service.client.post(
        "/v1/videos", files={"file": ("v", b"d" * 99)}, data={"case_reference": "R-1"},
        headers=headers(service, Role.ANALYST),
    )  # fmt: skip
    assert theirs.json()["case_id"] != first["case_id"]


async def test_an_idempotency_key_makes_a_retry_safe_and_is_of_one_request(
    service: Service,
) -> None:
    first = await submit(service, idempotency_key="k-1", frames="8")
    again = await submit(service, idempotency_key="k-1", frames="8")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["id"] == first.json()["id"]
    other = await submit(service, b"other" * 50, idempotency_key="k-1", frames="8")
    assert other.status_code == 409
    assert other.json()["type"].endswith(":idempotency_conflict")
    for change in ({"platform": "P"}, {"source_url": "https://example.org/2"}):
        changed = await submit(service, idempotency_key="k-1", frames="8", **change)
        assert changed.status_code == 409
    assert len(blobs(service)) == 1


async def test_a_repeated_request_does_not_return_a_job_that_is_being_deleted(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (await submit(service, idempotency_key="k-1", case_reference="A")).json()
    retention = service.app.state.shared.services.retention
    with monkeypatch.context() as killed:
        killed.setattr(retention, "delete_job", lambda _: None)  # the process stops here
        retention.cancel(service.accounts.authenticate(service.keys[Role.PIPELINE]), first["id"])
    again = await submit(service, idempotency_key="k-1", case_reference="A")
    assert (again.status_code, again.json()["state"]) == (202, "queued")
    assert again.json()["id"] != first["id"]
    service.app.state.shared.services.sweeps.sweep()
    once_more = await submit(service, idempotency_key="k-1", case_reference="A")
    assert (once_more.status_code, once_more.json()["id"]) == (200, again.json()["id"])


async def test_who_may_see_a_job_is_told_that_it_may_not_delete_it(service: Service) -> None:
    job = (await submit(service, case_reference="A")).json()
    analyst = headers(service, Role.ANALYST)
    for address in (f"/v1/jobs/{job['id']}", f"/v1/cases/{job['case_id']}"):
        refused = await service.client.delete(address, headers=analyst)
        assert refused.status_code == 403
        assert "may delete it" in refused.json()["detail"]
        assert (await service.client.get(address)).status_code == 200


async def test_pages_of_jobs_follow_each_other(service: Service) -> None:
    ids = [(await submit(service, bytes([n]) * 99)).json()["id"] for n in range(5)]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await service.client.get(
            f"/v1/jobs?limit=2&cursor={cursor}" if cursor else "/v1/jobs?limit=2"
        )
        seen += [j["id"] for j in page.json()["jobs"]]
        cursor = page.json()["next"]
    assert seen == ids[::-1]
    none = await service.client.get("/v1/jobs?state=succeeded")
    assert none.json() == {"jobs": [], "next": None, "altered": []}
    for wrong in ("cursor=nonsense", "cursor=bm90fG9uZQ==", "limit=0", "state=lost"):
        assert (await service.client.get(f"/v1/jobs?{wrong}")).status_code == 422


async def test_roles_see_what_they_may(service: Service) -> None:
    job = (await submit(service)).json()
    path = f"/v1/jobs/{job['id']}"
    for role, status in ((Role.ANALYST, 200), (Role.ADMIN, 200), (Role.AUDITOR, 403)):
        answer = await service.client.get(path, headers=headers(service, role))
        assert answer.status_code == status, role
    assert (
        await service.client.get(path, headers={"Authorization": "Bearer x"})
    ).status_code == 401
    audit = await service.client.get("/v1/audit", headers=headers(service, Role.AUDITOR))
    assert audit.status_code == 200
    actions = [e["action"] for e in audit.json()["entries"]]
    assert "media.submitted" in actions
    assert "secret-name" not in audit.text
    for role in (Role.PIPELINE, Role.ANALYST):
        answer = await service.client.get("/v1/audit", headers=headers(service, role))
        assert answer.status_code == 403


async def test_a_case_is_deleted_with_its_last_job_if_that_is_asked_for(service: Service) -> None:
    one = (await submit(service, b"a" * 99, case_reference="R-1")).json()
    two = (await submit(service, b"b" * 99, case_reference="R-1")).json()
    assert (await service.client.delete(f"/v1/jobs/{one['id']}?case=delete")).status_code == 204
    assert (await service.client.get(f"/v1/jobs/{one['id']}")).status_code == 404
    assert (await service.client.get(f"/v1/jobs/{two['id']}")).status_code == 200
    assert len(blobs(service)) == 1
    assert (await service.client.delete(f"/v1/jobs/{two['id']}?case=shred")).status_code == 422
    assert (await service.client.delete(f"/v1/jobs/{two['id']}?case=delete")).status_code == 204
    assert (await service.client.get(f"/v1/cases/{two['case_id']}")).status_code == 404
    assert not blobs(service)
    with service.database.read() as session:
        assert not session.scalars(select(Case)).all()
        verify(session)


async def test_a_shredded_cases_key_is_in_no_file(service: Service) -> None:
    job = (await submit(service)).json()
    with service.database.read() as session:
        wrapped = session.get_one(Case, job["case_id"]).wrapped_key
    assert wrapped
    if service.database.engine.dialect.name != "sqlite":
        pytest.skip("where PostgreSQL keeps what was deleted is its administrator's concern")
    folder = service.app.state.shared.settings.data_dir
    service.database.purge_deleted()
    assert files_containing(folder, wrapped)
    assert (await service.client.delete(f"/v1/cases/{job['case_id']}")).status_code == 204
    assert not files_containing(folder, wrapped)


async def test_the_last_job_of_a_case_takes_its_keys_with_it_and_leaves_the_case(
    service: Service,
) -> None:
    job = (await submit(service, case_reference="R-1", source_url="https://example.org/1")).json()
    shot = {"screenshot": ("s.png", b"\x89PNG\r\n\x1a\n" + bytes(100))}
    path = f"/v1/cases/{job['case_id']}"
    assert (await service.client.post(f"{path}/occurrences", files=shot)).status_code == 201
    with service.database.read() as session:
        keys = [
            session.get_one(Case, job["case_id"]).wrapped_key,
            session.get_one(Media, job["media_id"]).wrapped_key,
        ]
    assert (await service.client.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    assert not blobs(service)
    case = (await service.client.get(path)).json()
    assert (case["case_reference"], case["jobs"], case["occurrences"]) == ("R-1", [], [])
    if service.database.engine.dialect.name == "sqlite":
        folder = service.app.state.shared.settings.data_dir
        assert not [key for key in keys if key and files_containing(folder, key)]
    with service.database.read() as session:
        verify(session)
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.number)).all()
    deletion = [(e.action, e.subject) for e in entries]
    assert ("job.deleted", job["id"]) in deletion
    assert ("case.emptied", job["case_id"]) in deletion
    assert "case.shredded" not in dict(deletion)
    # The case is as good as new.
    again = (await submit(service, case_reference="R-1")).json()
    assert (again["case_id"], again["id"] != job["id"]) == (job["case_id"], True)
    assert (await service.client.get(path)).json()["case_reference"] == "R-1"


def end(service: Service, job_id: str, expires_at: datetime) -> None:
    """End a job as a worker would, with media that expire at ``expires_at``."""
    with service.database.write() as session:
        job = session.get_one(Job, job_id)
        job.state = JobState.SUCCEEDED
        session.get_one(Media, job.media_id).expires_at = expires_at


async def test_media_expire_unless_a_legal_hold_keeps_them(service: Service) -> None:
    job = (await submit(service)).json()
    now = datetime.now(UTC)
    end(service, job["id"], now + timedelta(days=1))
    sweep(service)
    assert len(blobs(service)) == 1
    hold = f"/v1/cases/{job['case_id']}/hold"
    analyst = {"headers": headers(service, Role.ANALYST)}
    assert (await service.client.put(hold)).status_code == 403
    assert (await service.client.put(hold, **analyst)).status_code == 204
    for path in (f"/v1/jobs/{job['id']}", f"/v1/cases/{job['case_id']}"):
        refused = await service.client.delete(path)
        assert refused.status_code == 409
        assert refused.json()["type"].endswith(":case_held")
    service.clock.advance(timedelta(days=1, seconds=1))
    sweep(service)
    assert len(blobs(service)) == 1
    assert (await service.client.delete(hold, **analyst)).status_code == 204
    sweep(service)
    assert not blobs(service)
    kept = (await service.client.get(f"/v1/jobs/{job['id']}")).json()
    assert (kept["media_kept"], kept["state"]) == (False, "succeeded")
    with service.database.read() as session:
        actions = [e.action for e in session.scalars(select(AuditEntry))]
    assert {"hold.set", "hold.lifted", "media.expired"} <= set(actions)


async def test_a_job_that_nobody_examines_expires_with_its_media(service: Service) -> None:
    job = (await submit(service)).json()
    path = f"/v1/jobs/{job['id']}"
    for days, state, kept in ((6, "queued", True), (2, "expired", False)):
        service.clock.advance(timedelta(days=days))
        sweep(service)
        found = (await service.client.get(path)).json()
        assert (found["state"], found["media_kept"]) == (state, kept)
    assert not blobs(service)
    again = (await submit(service)).json()
    assert (again["state"], again["id"] != job["id"]) == ("queued", True)


async def test_every_job_that_ends_is_counted_by_its_state(service: Service) -> None:
    async def counted() -> dict[str, float]:
        text = (await service.client.get("/metrics")).text
        found = re.findall(r'^deepfake_jobs_total\{state="(\w+)"\} (\S+)', text, re.MULTILINE)
        return {state: float(number) for state, number in found}

    await examined(service, kit.video(), case_reference="A")  # by no worker of this process
    copied = await post_video(service, kit.video(), case_reference="B")
    assert copied.json()["state"] == "succeeded"
    assert await counted() == {"succeeded": 1}
    job = (await submit(service)).json()
    await submit(service, VIDEO + b"2")
    assert (await service.client.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    assert (await service.client.delete(f"/v1/jobs/{copied.json()['id']}")).status_code == 204
    assert await counted() == {"succeeded": 1, "cancelled": 1}
    for days in (6, 2):
        service.clock.advance(timedelta(days=days))
        sweep(service)
    assert await counted() == {"succeeded": 1, "cancelled": 1, "expired": 1}


async def test_media_go_some_time_after_the_review(service: Service) -> None:
    job = (await submit(service)).json()
    now = service.clock()
    end(service, job["id"], now + timedelta(days=6))
    with service.database.write() as session:
        session.get_one(Case, job["case_id"]).reviewed_at = now
    for hours, kept in ((0, 1), (23, 1), (2, 0)):
        service.clock.advance(timedelta(hours=hours))
        sweep(service)
        assert len(blobs(service)) == kept


async def test_what_no_record_names_is_swept_once_it_is_old(
    service: Service,
) -> None:
    await submit(service)
    services = service.app.state.shared.services
    job = (await service.client.get("/v1/jobs")).json()["jobs"][0]
    for name in ("media/orphan", "work/gone/part-0", f"work/{job['id']}/part-0"):
        services.retention._vault.blobs.put_bytes(name, b"sealed")
    sweep(service)
    assert len(blobs(service)) == 4
    service.clock.advance(ORPHANED_AFTER + timedelta(seconds=5))
    sweep(service)
    left = {p.relative_to(p.parents[1]).as_posix() for p in blobs(service)}
    assert len(left) == 2
    assert f"{job['id']}/part-0" in left


async def test_orphans_are_looked_for_some_at_a_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.casework.orphans.BLOBS_PER_QUERY", 2)
    job = (await submit(service)).json()
    services = service.app.state.shared.services
    store, at_a_time, read = services.retention._vault.blobs, 0, 0
    for number in range(7):
        store.put_bytes(f"media/orphan-{number}", b"sealed")
    listed = store.older_than

    def counted(prefix: str, moment: datetime) -> Iterator[str]:
        nonlocal at_a_time, read
        for name in listed(prefix, moment):
            at_a_time, read = max(at_a_time, read + 1), read + 1
            yield name

    def forgotten(name: str) -> None:
        nonlocal read
        read = 0
        delete(name)

    delete = store.delete
    monkeypatch.setattr(store, "older_than", counted)
    monkeypatch.setattr(store, "delete", forgotten)
    service.clock.advance(ORPHANED_AFTER + timedelta(seconds=5))
    services.orphans.delete()
    assert [p.name for p in blobs(service)] == [job["media_id"]]
    assert at_a_time <= 3


async def test_an_upload_is_no_orphan_as_long_as_it_may_take(start: Starter) -> None:
    longest = timedelta(hours=24)
    async with start(video_upload_timeout_s=longest.total_seconds()) as service:
        services = service.app.state.shared.services
        # Object stores date a blob by the beginning of its upload, whose row follows its end.
        services.retention._vault.blobs.put_bytes("media/being-uploaded", b"sealed")
        for pause, left in ((longest, 1), (COMMITTED_WITHIN + timedelta(seconds=5), 0)):
            service.clock.advance(pause)
            services.orphans.delete()
            assert len(blobs(service)) == left


async def test_an_original_is_exported_to_its_recipient_alone(service: Service) -> None:
    job = (await submit(service)).json()
    case = (await service.client.get(f"/v1/cases/{job['case_id']}")).json()
    path = f"/v1/cases/{case['id']}/media/{case['occurrences'][0]['media_id']}/export"
    authority = pyrage.x25519.Identity.generate()
    wanted = {"recipient": str(authority.to_public())}
    assert (await service.client.post(path, json=wanted)).status_code == 403
    service.client.headers.update(headers(service, Role.ANALYST))
    answer = await service.client.post(path, json=wanted)
    assert answer.status_code == 200
    assert pyrage.decrypt(answer.content, [authority]) == VIDEO
    assert not list((service.app.state.shared.settings.data_dir / "exports").glob("*"))
    wrong = await service.client.post(path, json={"recipient": "age1nonsense"})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["field"] == "recipient"
    end(service, job["id"], datetime.now(UTC) - timedelta(seconds=1))
    sweep(service)
    service.clock.advance(GRACE)
    sweep(service)
    gone = await service.client.post(path, json={"recipient": str(authority.to_public())})
    assert gone.status_code == 404


async def test_an_account_that_sends_too_much_is_told_when_to_come_back(start: Starter) -> None:
    async with start(submissions_per_account="2/minute") as service:
        for _ in range(2):
            assert (await submit(service)).status_code in (200, 202)
        answer = await submit(service)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        other = await service.client.post(
            "/v1/videos", files={"file": ("v", VIDEO)}, headers=headers(service, Role.ANALYST)
        )
        assert other.status_code == 202


async def test_a_nearly_full_disk_stops_submissions_and_nothing_else(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/readyz failed as well, so that a balancer took reads and deletions from everybody."""
    assert (await service.client.get("/readyz")).json()["accepts_submissions"] is True
    job = (await submit(service)).json()
    kept = blobs(service)
    monkeypatch.setattr(AppState, "free_bytes", lambda _: 2**30)
    answer = await submit(service, b"another")
    assert answer.status_code == 503
    assert "nearly full" in answer.json()["detail"]
    assert blobs(service) == kept
    ready = await service.client.get("/readyz")
    assert (ready.status_code, ready.json()["accepts_submissions"]) == (200, False)
    text = (await service.client.get("/metrics")).text
    (free,) = re.findall(r"^deepfake_disk_free_bytes (\S+)$", text, re.MULTILINE)
    assert 0 < float(free) < 10**18
    assert (await service.client.get(f"/v1/jobs/{job['id']}")).status_code == 200
    deleted = await service.client.delete(f"/v1/cases/{job['case_id']}")
    assert deleted.status_code in (200, 204)


async def test_metrics_tell_of_the_queue(service: Service) -> None:
    await submit(service)
    text = (await service.client.get("/metrics")).text
    assert 'deepfake_jobs_waiting{priority="batch"} 1.0' in text
    assert any(
        line.startswith("deepfake_oldest_job_seconds ") and float(line.split()[1]) >= 0
        for line in text.splitlines()
    )


async def test_without_a_database_requests_are_told_to_come_back(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def lost(*_: Any, **__: Any) -> None:
        raise OperationalError("secret", {}, Exception("secret"))

    with monkeypatch.context() as gone:
        gone.setattr("deepfake_service.db.database.Session", lost)
        answer = await submit(service)
        assert answer.status_code == 503
        assert answer.json()["type"].endswith(":database_unavailable")
        assert "secret" not in answer.text
        assert (await service.client.get("/healthz")).status_code == 200
        metrics = await service.client.get("/metrics")
        assert metrics.status_code == 200
        assert "deepfake_webhooks_due NaN" in metrics.text
        assert "deepfake_clock_trusted NaN" in metrics.text
        assert "deepfake_records_altered 0.0" in metrics.text
    assert (await submit(service)).status_code == 202


async def test_pictures_of_a_case_are_kept_as_jobs_and_others_are_not(service: Service) -> None:
    plain = await service.post(b"still 1 120")
    assert plain.json()["frames"][0]["job_id"] is None
    assert not blobs(service)
    files = [("files", (f"{n}.jpg", f"still 1 {120 + n}".encode())) for n in range(2)]
    fields = {"case_reference": "R-1", "source_url": "https://example.org/1"}
    answer = await service.client.post("/v1/frames", files=files, data=fields)
    assert answer.status_code == 200
    ids = [f["job_id"] for f in answer.json()["frames"]]
    assert len(set(ids)) == 2
    assert all(f["verdict"] for f in answer.json()["frames"])
    jobs = [(await service.client.get(f"/v1/jobs/{i}")).json() for i in ids]
    assert [j["kind"] for j in jobs] == ["frame", "frame"]
    assert jobs[0]["case_id"] == jobs[1]["case_id"]
    case = (await service.client.get(f"/v1/cases/{jobs[0]['case_id']}")).json()
    assert [o["source_url"] for o in case["occurrences"]] == ["https://example.org/1"] * 2
    lost = await service.client.post(
        "/v1/frames", files=files, data={"source_url": "https://example.org/1"}
    )
    assert lost.status_code == 422
    assert lost.json()["errors"][0]["field"] == "case_reference"


PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


async def test_a_case_is_opened_once_and_listed(service: Service) -> None:
    post = service.client.post
    first = await post("/v1/cases", json={"case_reference": "R-1"})
    again = await post("/v1/cases", json={"case_reference": "R-1"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert (await submit(service, case_reference="R-1")).json()["case_id"] == first.json()["id"]
    await post("/v1/cases", json={})
    page = (await service.client.get("/v1/cases?limit=1")).json()
    assert [c["case_reference"] for c in page["cases"]] == [None]
    rest = (await service.client.get("/v1/cases", params={"cursor": page["next"]})).json()
    assert [c["case_reference"] for c in rest["cases"]] == ["R-1"]
    assert rest["next"] is None
    for wrong in ({"case_reference": "x" * 201}, {"case_reference": "a\x00"}, {"other": 1}):
        assert (await post("/v1/cases", json=wrong)).status_code == 422


async def test_occurrences_are_added_with_a_screenshot(service: Service) -> None:
    job = (await submit(service, source_url="https://example.org/1")).json()
    path = f"/v1/cases/{job['case_id']}/occurrences"
    added = await service.client.post(
        path,
        data={"source_url": "https://example.org/2", "tool": "crawler 3"},
        files={"screenshot": ("s.png", PNG)},
    )
    assert added.status_code == 201
    first, second = (await service.client.get(f"/v1/cases/{job['case_id']}")).json()["occurrences"]
    assert added.json() == second
    assert (first["screenshot"], second["screenshot"]) == (False, True)
    assert second["tool"] == "crawler 3"
    shot = await service.client.get(f"{path}/{second['id']}/screenshot")
    assert shot.content == PNG
    assert shot.headers["content-type"] == "image/png"
    assert shot.headers["content-disposition"].startswith("attachment")
    assert not files_containing(service.app.state.shared.settings.data_dir, PNG)
    assert (await service.client.get(f"{path}/{first['id']}/screenshot")).status_code == 404
    theirs = {"headers": headers(service, Role.AUDITOR)}
    assert (
        await service.client.get(f"{path}/{second['id']}/screenshot", **theirs)
    ).status_code == 403
    for fields, files in (
        ({}, {"screenshot": ("s.html", b"<script>")}),
        ({"media_id": "another"}, {"screenshot": ("s.png", PNG)}),
        ({"frames": "3"}, {"screenshot": ("s.png", PNG)}),
    ):
        refused = await service.client.post(path, data=fields, files=files)
        assert refused.status_code == 422
    assert (await service.client.delete(f"/v1/cases/{job['case_id']}")).status_code == 204
    assert not blobs(service)


async def test_others_cases_are_read_by_analysts_and_deleted_by_administrators_alone(
    service: Service,
) -> None:
    job = (await submit(service)).json()
    for path in (f"/v1/jobs/{job['id']}", f"/v1/cases/{job['case_id']}"):
        answer = await service.client.delete(path, headers=headers(service, Role.ANALYST))
        assert answer.status_code == 403
    path = f"/v1/cases/{job['case_id']}"
    assert (await service.client.delete(path, headers=headers(service, Role.ADMIN))).is_success


async def test_a_deletion_that_was_interrupted_is_finished_by_the_sweep(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = (await submit(service, b"a" * 99, case_reference="R-1")).json()
    two = (await submit(service, b"b" * 99, case_reference="R-1")).json()
    retention = service.app.state.shared.services.retention
    for name, job in (("delete_job", one), ("finish_shredding", two)):
        with monkeypatch.context() as killed:
            killed.setattr(
                retention.__class__, name, lambda *_: (_ for _ in ()).throw(RuntimeError)
            )
            caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
            with pytest.raises(RuntimeError):
                retention.cancel(caller, job["id"], with_case=True)
        sweep(service)
        assert (await service.client.get(f"/v1/jobs/{job['id']}")).status_code == 404
    assert not blobs(service)
    with service.database.read() as session:
        assert not session.scalars(select(Case)).all()


async def test_a_field_given_twice_is_refused(service: Service) -> None:
    parts = [("file", ("v", VIDEO)), ("platform", (None, "a")), ("platform", (None, "b"))]
    answer = await service.client.post("/v1/videos", files=parts)
    assert answer.json()["errors"] == [{"field": "platform", "detail": "sent twice; send it once"}]
    early = await submit(service, captured_at="0001-01-01T00:00:00+01:00")
    assert early.json()["errors"][0]["field"] == "captured_at"
    assert not blobs(service)


async def test_a_body_is_bounded_before_anybody_asks_who_it_is_from(service: Service) -> None:
    sent = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(400):
            sent += 64 * 1024
            yield b" " * (64 * 1024)

    for method, path in (
        ("POST", "/v1/cases"), ("POST", "/v1/jobs/x/reviews"), ("POST", "/v1/cases/x/notices"),
        ("PATCH", "/v1/notices/x"), ("POST", "/sign-in"),
    ):  # fmt: skip
        sent = 0
        nobody = {"Authorization": "", "Content-Type": "application/json"}
        answer = await service.client.request(method, path, content=flood(), headers=nobody)
        assert answer.status_code == 413, path
        assert sent <= 2 * 1024 * 1024
        if path.startswith("/v1/"):
            problem = answer.json()
            assert problem["type"] == "urn:deepfake-service:problem:request_too_large"
            assert problem["title"] == "Request too large"
            assert problem["detail"] == "A request may have at most 1048576 bytes."


async def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(
    service: Service,
) -> None:
    asked = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal asked
        asked += 1
        yield b" "

    for method, path, kind in (
        ("POST", "/v1/videos", "video/mp4"),
        ("POST", "/v1/videos", "multipart/form-data; boundary=b"),
        ("POST", "/v1/frames", "multipart/form-data; boundary=b"),
        ("POST", "/v1/verify", "application/zip"),
        ("POST", "/v1/cases", "application/json"),
        ("PATCH", "/v1/notices/x", "application/json"),
        ("POST", "/sign-in", "application/x-www-form-urlencoded"),
    ):
        headers = {"Content-Type": kind, "Content-Length": str(5 * 1024**3)}
        answer = await service.client.request(method, path, content=body(), headers=headers)
        assert (path, answer.status_code) == (path, 413)
        assert asked == 0, path
        if path.startswith("/v1/"):
            assert answer.json()["type"] == "urn:deepfake-service:problem:request_too_large"
            assert re.search(r"may have at most \d+ bytes\.$", answer.json()["detail"])
        else:
            assert answer.headers["content-type"].startswith("text/html")
    assert not blobs(service)


async def test_a_body_that_does_not_come_is_not_waited_for(start: Starter) -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await anyio.sleep(30)

    async with start(upload_timeout_s=0.2) as service:
        for path in ("/v1/cases", "/v1/verify"):
            kind = {"Content-Type": "application/json"}
            answer = await service.client.post(path, content=stuck(), headers=kind)
            assert answer.status_code == 408, path
            assert answer.json()["type"] == "urn:deepfake-service:problem:upload_timeout"
            assert "did not arrive within 0.2 seconds" in answer.json()["detail"]


async def test_what_a_disk_does_not_hold_is_not_taken_to_its_end(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def nearly_full(self: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise NotReady("The disk of the data directory is nearly full.")

    monkeypatch.setattr(AppState, "check_space", nearly_full)
    sent = 0

    async def film() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 200 * 1024 * 1024:
            sent += 1024 * 1024
            yield bytes(1024 * 1024)

    kind = {"Content-Type": "video/mp4"}
    answer = await service.client.post("/v1/videos", content=film(), headers=kind)
    assert answer.status_code == 503
    assert sent < 40 * 1024 * 1024
    assert not blobs(service)


@pytest.mark.parametrize(
    "frames", ["0", "2001", "00001", "000000001" + "0" * 5000, "9" * 5000, "-1", "1.5", "٣"]
)
async def test_a_number_of_frames_that_is_none_is_named(service: Service, frames: str) -> None:
    answer = await submit(service, frames=frames)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "frames"


async def test_a_cursor_from_before_time_is_refused(service: Service) -> None:
    for at in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        cursor = base64.urlsafe_b64encode(f"{at}|x".encode()).decode()
        answer = await service.client.get("/v1/jobs", params={"cursor": cursor})
        assert answer.status_code == 422


async def test_hashes_go_with_the_item_that_they_are_of(service: Service) -> None:
    job = (await submit(service, case_reference="R")).json()
    other = (await submit(service, VIDEO + b"2", case_reference="R")).json()
    now = datetime.now(UTC)
    with service.database.write() as session:
        for one in (job, other):
            session.add(
                KnownHashes(
                    id=new_id(),
                    case_id=one["case_id"],
                    job_id=one["id"],
                    sealed=b"x",
                    created_at=now,
                    expires_at=now + timedelta(days=9),
                )
            )
    assert (await service.client.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    with service.database.read() as session:
        ids = [other["id"], job["id"]]
        left = session.scalars(select(KnownHashes.job_id).where(KnownHashes.job_id.in_(ids))).all()
    assert left == [other["id"]]


@pytest.mark.parametrize("with_case", [True, False])
async def test_both_items_of_a_case_deleted_at_once_leave_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch, with_case: bool
) -> None:
    job = (await submit(service, case_reference="R")).json()
    other = (await submit(service, VIDEO + b"2", case_reference="R")).json()
    retention = service.app.state.shared.services.retention
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    real = retention.delete_job

    def meanwhile(job_id: str) -> None:
        monkeypatch.setattr(retention, "delete_job", real)
        # Before the rows of this one are gone.
        retention.cancel(caller, other["id"], with_case=with_case)
        real(job_id)

    monkeypatch.setattr(retention, "delete_job", meanwhile)
    retention.cancel(caller, job["id"], with_case=with_case)
    with service.database.read() as session:
        assert (session.get(Case, job["case_id"]) is None) is with_case
        assert not session.scalars(select(Job)).all()
        emptied = session.scalars(select(AuditEntry).where(AuditEntry.action == "case.emptied"))
        assert len(emptied.all()) == (0 if with_case else 1)
    assert not blobs(service)


async def test_the_same_bytes_in_a_case_with_notices_mark_them(service: Service) -> None:
    first = (await submit(service, VIDEO + b"3", case_reference="A")).json()
    analyst = headers(service, Role.ANALYST)
    second = await service.client.post(
        "/v1/videos", files={"file": ("v", VIDEO)}, data={"case_reference": "B"}, headers=analyst
    )
    services = service.app.state.shared.services
    with service.database.write() as session:
        case = session.get_one(Case, first["case_id"])
        notice = Notice(
            id=(notice_id := new_id()),
            case_id=case.id,
            account_id=case.account_id,
            kind="eu-dsa-16",
            language="en",
            state="drafted",
            created_at=datetime.now(UTC),
        )
        key = services.queries._vault.case_key(case)
        seal_json(key, notice, {"receipt": None, "basis": []})
        session.add(notice)
    caller = service.accounts.authenticate(service.keys[Role.ANALYST])
    services.reviews.flag_minor(caller, second.json()["case_id"], enabled=True)
    with service.database.read() as session:
        assert session.get_one(Notice, notice_id).withdraw_at is None
    await submit(service, VIDEO, case_reference="A")
    with service.database.read() as session:
        assert session.get_one(Case, first["case_id"]).minor_at is not None
        assert session.get_one(Notice, notice_id).withdraw_at is not None


@pytest.mark.parametrize(
    ("url", "sentence", "detail"),
    [
        (
            "https://hooks.example:25/",
            "The callback URL must use port 443 or 80.",
            "must use port 443 or 80",
        ),
        (
            "https://10.0.0.1/",
            "The host of the callback URL must resolve to public addresses only.",
            "its host must resolve to public addresses only",
        ),
    ],
)
async def test_a_callback_that_is_refused_is_named_in_a_sentence(
    service: Service, url: str, sentence: str, detail: str
) -> None:
    answer = await submit(service, callback_url=url)
    problem = answer.json()
    assert (answer.status_code, problem["detail"]) == (422, sentence)
    assert problem["type"] == "urn:deepfake-service:problem:callback_refused"
    assert problem["errors"] == [{"field": "callback_url", "detail": detail}]
    assert not blobs(service)


async def test_a_retry_is_told_of_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepfake_service.jobs.webhooks.check", lambda *_, **__: None)

    async def told(url: str) -> int:
        job = await submit(service, idempotency_key="k" * 20, callback_url=url)
        with service.database.read() as session:
            found = session.scalars(select(Delivery).where(Delivery.job_id == job.json()["id"]))
            return len(found.all())

    assert await told("https://example.org/hook") == 1
    assert await told("https://example.org/hook") == 1


STORED_RESULT = {
    "media": {
        "kind": "video",
        "width": 640,
        "height": 480,
        "duration_s": 4.133,
        "frames": 122,
        "rotation": 0,
    },
    "verdict": "likely_manipulated",
    "score": 0.9741,
    "log_likelihood_ratio": 1.5751,
    "reasons": [{"code": "failed_frames", "detail": "1 of 32 frames could not be decoded"}],
    "tracks": [
        {
            "track": 0,
            "verdict": "likely_manipulated",
            "score": 0.9741,
            "log_likelihood_ratio": 1.5751,
            "first_s": 0.0,
            "last_s": 4.1,
            "faces": 32,
            "judged": 31,
            "moments": [{"start_s": 0.1, "end_s": 0.9, "peak_s": 0.5, "peak_score": 0.9941}],
            "reasons": [],
        }
    ],
    "frames": {"sampled": 32, "with_face": 32, "failed": 1, "longest_gap_s": 0.133},
    "faces": [
        {
            "time_s": 0.5,
            "track": 0,
            "box": [233.0, 94.3, 418.4, 352.7],
            "confidence": 0.9999,
            "score": None,
            "log_likelihood_ratio": None,
            "verdict": "unable_to_evaluate",
            "quality": {
                "face_px": 185.4,
                "sharpness": 16.76,
                "blockiness": 1.151,
                "exposure": 0.306,
            },
            "reasons": [{"code": "face_too_blurred", "detail": "too blurred"}],
        }
    ],
}
"""A job's result as version 0.1.0 stored it."""


async def _job_with_result(service: Service, result: dict[str, Any]) -> dict[str, Any]:
    job_id = (await submit(service)).json()["id"]
    vault = service.app.state.shared.services.queries._vault
    with service.database.write() as session:
        job = session.get_one(Job, job_id)
        case = session.get_one(Case, job.case_id)
        seal_json(vault.case_key(case), job, result)
        job.state, job.verdict = JobState.SUCCEEDED, result["verdict"]
    answer = await service.client.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["result"]
    return found


async def test_a_result_is_published_as_it_was_stored(service: Service) -> None:
    assert await _job_with_result(service, STORED_RESULT) == STORED_RESULT


async def test_a_stored_result_without_newer_fields_is_published(service: Service) -> None:
    result = await _job_with_result(service, {"verdict": "not_applicable", "retired": 1})
    assert result == {
        "media": None,
        "verdict": "not_applicable",
        "score": None,
        "log_likelihood_ratio": None,
        "reasons": [],
        "tracks": [],
        "frames": {"sampled": 0, "with_face": 0, "failed": 0, "longest_gap_s": 0.0},
        "faces": [],
    }


async def test_a_leaning_and_kinds_are_published(service: Service) -> None:
    leaning = copy.deepcopy(STORED_RESULT)
    shown = {"leaning": "towards_manipulated", "kinds": {"swap": 0.7, "reenactment": 0.3}}
    leaning |= shown
    leaning["tracks"][0] |= shown
    leaning["faces"][0]["leaning"] = "neither"
    assert await _job_with_result(service, leaning) == leaning
    schemas = service.app.openapi()["components"]["schemas"]
    for name in ("ResultOut", "TrackOut", "FrameOut", "TrackedFaceOut", "JobBase"):
        assert "never proves" in schemas[name]["properties"]["leaning"]["description"]


async def test_a_result_of_a_newer_version_is_published(service: Service) -> None:
    newer = copy.deepcopy(STORED_RESULT)
    newer["faces"][0]["more"] = newer["faces"][0]["quality"]["more"] = newer["frames"]["more"] = 1
    newer["faces"][0]["reasons"] = [{"code": "of_tomorrow", "detail": "new", "more": 1}]
    result = await _job_with_result(service, newer)
    assert result["faces"][0]["reasons"] == [{"code": "of_tomorrow", "detail": "new"}]
    assert "more" not in result["faces"][0]


def test_openapi_describes_the_result(service: Service) -> None:
    schemas = service.app.openapi()["components"]["schemas"]
    result = schemas["JobOut"]["properties"]["result"]
    assert {"$ref": "#/components/schemas/ResultOut"} in result["anyOf"]
    assert set(schemas["ResultOut"]["required"]) == set(STORED_RESULT)


async def test_every_wrong_field_is_named(service: Service) -> None:
    answer = await submit(service, frames="0", priority="urgent", captured_at="yesterday")
    assert answer.status_code == 422
    assert {e["field"] for e in answer.json()["errors"]} == {"frames", "priority", "captured_at"}
    long_key = await submit(service, idempotency_key="k" * 256)
    assert [e["field"] for e in long_key.json()["errors"]] == ["Idempotency-Key"]
    assert not blobs(service)


@pytest.mark.parametrize("content_type", ["video/mp4", "multipart/form-data; boundary=b"])
async def test_a_video_that_trickles_in_is_ended(start: Starter, content_type: str) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        await anyio.sleep(30)
        yield b"never"

    async with start(video_upload_timeout_s=0.2) as service:
        headers = {"Content-Type": content_type}
        answer = await service.client.post("/v1/videos", content=slow(), headers=headers)
        assert answer.status_code == 408
        assert answer.json()["type"].endswith(":upload_timeout")
        assert not blobs(service)
