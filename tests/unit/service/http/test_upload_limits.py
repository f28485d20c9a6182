"""What bounds an upload: its size, its time, the rate of its account, and the space on the disk."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import anyio
import pytest

from deepfake_service.platform.disk_space import DiskSpace
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import Code, Overloaded
from tests.support.jobs import VIDEO, blobs, headers, post_video
from tests.unit.service.conftest import Service, Starter

FORM = {"Content-Type": "multipart/form-data; boundary=b"}
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
"""Beginning of a form whose file has only begun."""


async def test_an_oversize_video_is_refused_while_it_arrives(start: Starter) -> None:
    async with start(max_video_bytes=100_000) as service:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            yield HEAD
            while sent < 50_000_000:
                sent += 10_000
                yield bytes(10_000)

        streamed = await service.client.post("/v1/videos", content=endless(), headers=FORM)
        assert streamed.status_code == 413
        assert (await post_video(service, bytes(200_000))).status_code == 413
        assert not blobs(service)


async def test_an_account_that_sends_too_much_is_told_when_to_come_back(start: Starter) -> None:
    async with start(submissions_per_account="2/minute") as service:
        for _ in range(2):
            assert (await post_video(service)).status_code in (200, 202)
        answer = await post_video(service)
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
    job = (await post_video(service)).json()
    kept = blobs(service)
    monkeypatch.setattr(DiskSpace, "free_bytes", lambda _: 2**30)
    answer = await post_video(service, b"another")
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
            assert problem["detail"] == "The body may have at most 1048576 bytes."


async def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent(
    service: Service,
) -> None:
    asked = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal asked
        asked += 1
        yield b" "

    for method, path, kind in (
        ("POST", "/v1/videos", "multipart/form-data; boundary=b"),
        ("POST", "/v1/captures", "multipart/form-data; boundary=b"),
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


async def test_a_body_that_does_not_come_is_not_waited_for(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.http.uploads.BODY_TIMEOUT_S", 0.2)
    monkeypatch.setattr("deepfake_service.http.middleware.BODY_TIMEOUT_S", 0.2)

    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await anyio.sleep(30)

    async with start() as service:
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
            raise Overloaded(code=Code.DISK_FULL)

    monkeypatch.setattr(DiskSpace, "require", nearly_full)
    sent = 0

    async def film() -> AsyncIterator[bytes]:
        nonlocal sent
        yield HEAD
        while sent < 200 * 1024 * 1024:
            sent += 1024 * 1024
            yield bytes(1024 * 1024)

    answer = await service.client.post("/v1/videos", content=film(), headers=FORM)
    assert answer.status_code == 503
    assert sent < 40 * 1024 * 1024
    assert not blobs(service)


async def test_a_video_that_trickles_in_is_ended(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.http.uploads.LONGEST_UPLOAD", timedelta(seconds=0.2))

    async def slow() -> AsyncIterator[bytes]:
        yield HEAD
        await anyio.sleep(30)
        yield b"never"

    async with start() as service:
        answer = await service.client.post("/v1/videos", content=slow(), headers=FORM)
        assert answer.status_code == 408
        assert answer.json()["type"].endswith(":upload_timeout")
        assert not blobs(service)
