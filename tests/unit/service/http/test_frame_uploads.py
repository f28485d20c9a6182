"""Uploads of pictures: what bounds them, clients that leave, and what is freed with the answer."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import SimpleNamespace
from typing import Any

import pytest

from deepfake_service import api
from deepfake_service.platform.enums import Role
from tests.support.answers import check_problem
from tests.unit.service.conftest import Service, Starter


async def test_too_many_pictures(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepfake_service.api.frames.MAX_PICTURES", 2)
    async with start() as service:
        assert (await service.post(b"still 0 0", b"still 0 0")).status_code == 200
        body = check_problem(await service.post(*[b"still 0 0"] * 3), 413, "request_too_large")
    assert "2 pictures" in body["detail"]


async def test_a_picture_too_large_is_named(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.api.frames.MAX_PICTURE_BYTES", 1024)
    async with start() as service:
        assert (await service.post(b"still 0 0 " + b"x" * 1014)).status_code == 200
        answer = await service.post(b"still 0 0", b"still 0 0 " + b"x" * 1015)
        body = check_problem(answer, 413, "request_too_large")
        assert service.app.state.shared.memory.bytes_held == 0
    assert body["errors"] == [{"field": "files[1]", "detail": "more than 1024 bytes"}]


async def test_a_request_too_large_is_refused_though_it_was_not_declared(start: Starter) -> None:
    async def many() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield _multipart(b"x" * 100).removesuffix(b"--b--\r\n")

    async with start(max_buffered_bytes=2048) as service:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await service.client.post("/v1/frames", content=many(), headers=headers)
        body = check_problem(answer, 413, "request_too_large")
    assert "2048 bytes" in body["detail"]


async def test_beyond_the_requests_allowed_clients_are_told_to_come_back(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.http.admission.MAX_SCORING", 1)
    async with start() as service:
        first = asyncio.create_task(service.post(b"slow still 1 120"))
        await asyncio.to_thread(service.decoder.entered.acquire)
        answer = await service.post(b"still 1 120")
        check_problem(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        service.decoder.gate.set()
        assert (await first).status_code == 200
        assert (await service.post(b"still 1 120")).status_code == 200


async def test_uploads_together_never_hold_more_memory_than_allowed(start: Starter) -> None:
    async with start(max_buffered_bytes=4096) as service:
        first = asyncio.create_task(service.post(b"slow still 0 0 " + b"x" * 1900))
        await asyncio.to_thread(service.decoder.entered.acquire)
        check_problem(await service.post(b"x" * 1900, b"x" * 1000), 503, "overloaded")
        assert (await service.post(b"still 0 0 " + b"x" * 1000)).status_code == 200
        service.decoder.gate.set()
        assert (await first).status_code == 200
        assert service.app.state.shared.memory.bytes_held == 0
        assert service.app.state.shared.memory.requests == 0


async def test_pictures_of_all_requests_wait_for_each_other(start: Starter) -> None:
    async with start(jobs_at_once=1) as service:
        pictures = service.app.state.shared.engine.pictures
        calls = [asyncio.create_task(service.post(b"slow still 1 120")) for _ in range(4)]
        async with asyncio.timeout(20):
            while pictures.waiting() != 2:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        service.decoder.gate.set()
        answers = await asyncio.gather(*calls)
    assert [answer.status_code for answer in answers] == [200] * 4


class Connection:
    """An ASGI client that can close the connection."""

    def __init__(self, body: bytes, key: str) -> None:
        self.scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
            "scheme": "http", "path": "/v1/frames", "raw_path": b"/v1/frames", "query_string": b"",
            "root_path": "", "server": ("service", 80), "client": ("127.0.0.1", 1),
            "headers": [
                (b"content-type", b"multipart/form-data; boundary=b"),
                (b"authorization", f"Bearer {key}".encode()),
            ],
        }  # fmt: skip
        self.messages = [{"type": "http.request", "body": body, "more_body": False}]
        self.hung_up = asyncio.Event()
        self.told = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self.messages:
            return self.messages.pop()
        await self.hung_up.wait()
        self.told.set()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


def _multipart(*contents: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    return b"".join(head + c + b"\r\n" for c in contents) + b"--b--\r\n"


async def test_a_body_that_trickles_is_refused(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.http.uploads.GRACE_S", 0.2)
    monkeypatch.setattr("deepfake_service.http.middleware.UNKNOWN_SENDER_GRACE_S", 0.2)

    async def trickle(field: str) -> AsyncIterator[bytes]:
        head = f'Content-Disposition: form-data; name="{field}"; filename="a"'
        yield f"--b\r\n{head}\r\n\r\n".encode()
        for _ in range(1000):
            yield b"x"
            await asyncio.sleep(0.05)

    async with start() as service:
        key = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
        multipart = {**key, "Content-Type": "multipart/form-data; boundary=b"}
        for path, field, headers in (
            ("/v1/frames", "files", multipart),
            ("/v1/videos", "file", multipart),
            ("/sign-in", "x", key),
        ):
            async with asyncio.timeout(20):
                answer = await service.client.post(path, content=trickle(field), headers=headers)
            assert answer.status_code == 408, (path, answer.text)


async def test_work_that_a_client_no_longer_waits_for_is_dropped(start: Starter) -> None:
    async with start(jobs_at_once=1) as service:
        key = service.keys[Role.ADMIN]
        connection = Connection(_multipart(*[b"slow still 1 120"] * 10), key)
        call = service.app(connection.scope, connection.receive, connection.send)
        task = asyncio.create_task(call)
        await asyncio.to_thread(service.decoder.entered.acquire)
        connection.hung_up.set()
        await connection.told.wait()
        service.decoder.gate.set()  # what had begun, two pictures at most, is scored to its end
        async with asyncio.timeout(20):
            await task
        assert 1 <= service.decoder.opened == service.scorer.scored <= 2
        assert connection.sent[0]["status"] == 499
        assert service.app.state.shared.memory.requests == 0
        assert (await service.post(b"still 1 120")).status_code == 200


async def test_a_client_that_leaves_while_uploading(start: Starter) -> None:
    async with start() as service:
        connection = Connection(b"", service.keys[Role.ADMIN])
        connection.messages[0] = {"type": "http.request", "body": b"--b\r\n", "more_body": True}
        connection.hung_up.set()
        await service.app(connection.scope, connection.receive, connection.send)
        assert connection.sent[0]["status"] == 499
        assert service.app.state.shared.memory.requests == 0


async def test_a_large_request_does_not_hold_up_a_small_one(start: Starter) -> None:
    async with start(jobs_at_once=1) as service:
        large = asyncio.create_task(service.post(*[b"slow still 1 120"] * 40))
        await asyncio.to_thread(service.decoder.entered.acquire)
        small = asyncio.create_task(service.post(b"still 1 120"))
        pictures = service.app.state.shared.engine.pictures
        async with asyncio.timeout(60):
            while pictures.waiting() != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        service.decoder.gate.set()
        await small
        assert not large.done()
        assert service.decoder.opened < 10
        await large


async def test_uploads_never_touch_the_disk(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file was asked for")

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, forbidden)
    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", forbidden)
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setenv("TMPDIR", str(spool))
    monkeypatch.setattr(tempfile, "tempdir", None)
    answer = await service.post(b"still 1 120 " + b"x" * (5 * 1024 * 1024))
    assert answer.json()["frames"][0]["verdict"] == "likely_manipulated"
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize(
    ("contents", "status"),
    [
        ([b"still 1 120", b"noise"], 200),
        ([b"still 1 120", b"x" * 5000], 413),
        ([b"still 1 120", b"bug"], 500),
    ],
)
async def test_uploads_are_freed_with_the_answer(
    start: Starter, monkeypatch: pytest.MonkeyPatch, contents: list[bytes], status: int
) -> None:
    buffers: list[io.BytesIO] = []

    class Watched(io.BytesIO):
        def __init__(self) -> None:
            super().__init__()
            buffers.append(self)

    monkeypatch.setattr("deepfake_service.http.uploads.io", SimpleNamespace(BytesIO=Watched))
    monkeypatch.setattr("deepfake_service.api.frames.MAX_PICTURE_BYTES", 4096)
    async with start() as service:
        assert (await service.post(*contents)).status_code == status
    assert len(buffers) == 2
    assert all(b.closed for b in buffers)


def test_only_uploads_bound_their_bodies_themselves() -> None:
    modules = [import_module(m.name) for m in iter_modules(api.__path__, f"{api.__name__}.")]
    routes = [route for module in modules for route in module.router.routes]
    assert len(routes) > 40
    assert {r.path for r in routes if getattr(r.endpoint, "streams_body", False)} == {
        "/v1/videos", "/v1/frames", "/v1/verify", "/v1/cases/{case_id}/occurrences",
        "/v1/captures", "/v1/uploads/{token}",
        "/v1/cases/{case_id}/occurrences/{occurrence_id}/looks",
    }  # fmt: skip
