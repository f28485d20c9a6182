"""The responses of the app, with a small scorer in place of the model."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from deepfake_models.results import VerdictCode
from deepfake_service import api
from deepfake_service.app import create_app
from deepfake_service.db.enums import Role
from deepfake_service.errors import DecryptionFailed
from deepfake_service.http.connections import KNOWN_SENDER
from deepfake_service.observability import logs
from deepfake_service.settings import Settings

# ``conftest.Service``; conftest modules cannot be imported.
Service = Any
Starter = Callable[..., AbstractAsyncContextManager[Service]]
MODEL = {"bundle": "small", "version": "1", "sha256": "0" * 64, "terms": "tests-only"}
PROBLEM = ["type", "title", "status", "detail", "instance"]


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def check_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer has the shape of every error, and return its body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    body: dict[str, Any] = response.json()
    assert [k for k in body if k != "errors"] == PROBLEM
    assert body["type"] == f"urn:deepfake-service:problem:{code}"
    assert body["status"] == status
    assert body["instance"] == response.headers["x-request-id"]
    assert body["title"]
    assert body["detail"]
    assert ("errors" not in body) or all(list(e) == ["field", "detail"] for e in body["errors"])
    return body


async def test_pictures_are_answered_in_order_and_in_the_published_form(service: Service) -> None:
    contents = [b"still 1 120", b"still 0 0", b"still 2 80"]
    response = await service.post(*contents)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    body = response.json()
    assert list(body) == ["frames", "model"]
    assert body["model"] == MODEL
    assert [f["name"] for f in body["frames"]] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [f["sha256"] for f in body["frames"]] == [
        hashlib.sha256(c).hexdigest() for c in contents
    ]
    first, second, third = body["frames"]
    assert list(first) == [
        "name", "sha256", "verdict", "score", "log_likelihood_ratio", "reasons", "faces", "job_id"
    ]  # fmt: skip
    assert first["verdict"] == "likely_manipulated"
    assert first["score"] == pytest.approx(0.8808, abs=1e-4)
    assert first["log_likelihood_ratio"] == pytest.approx(0.8686, abs=1e-4)
    assert first["faces"] == [
        {
            "box": [0.0, 0.0, 50.0, 60.0],
            "confidence": 0.99,
            "score": first["score"],
            "log_likelihood_ratio": first["log_likelihood_ratio"],
            "verdict": "likely_manipulated",
            "quality": {"face_px": 50.0, "sharpness": 1.0, "blockiness": 1.0, "exposure": 0.5},
            "reasons": [],
        }
    ]
    assert second["verdict"] == "not_applicable"
    assert second["score"] is None
    assert second["log_likelihood_ratio"] is None
    assert second["reasons"][0]["code"] == "no_face"
    assert second["faces"] == []
    assert third["verdict"] == "no_manipulation_found"
    assert len(third["faces"]) == 2


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"", "undecodable"),
        (b"noise", "undecodable"),
        (b"torn", "undecodable"),
        (b"moving", "not_a_picture"),
    ],
)
async def test_one_bad_picture_spoils_no_other(service: Service, bad: bytes, code: str) -> None:
    body = (await service.post(b"still 1 120", bad, b"still 1 80")).json()
    assert [f["verdict"] for f in body["frames"]] == [
        "likely_manipulated", "unable_to_evaluate", "no_manipulation_found"
    ]  # fmt: skip
    middle = body["frames"][1]
    assert middle["score"] is None
    assert [r["code"] for r in middle["reasons"]] == [code]
    assert middle["reasons"][0]["detail"]


async def test_concurrent_requests_are_classified_together(start: Starter) -> None:
    async with start(batch_max_delay_ms=200, decode_workers=8) as service:
        calls = [service.post(f"still 1 {90 + i}".encode()) for i in range(8)]
        answers = await asyncio.gather(*calls)
        assert max(service.scorer.batches) > 1
    scores = [a.json()["frames"][0]["score"] for a in answers]
    assert scores == sorted(scores)
    assert len(set(scores)) == 8


async def test_names_are_cleaned(service: Service) -> None:
    files = {"files": ("C:\\x\\\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe", b"still 0 0")}
    response = await service.client.post("/v1/frames", files=files)
    assert response.json()["frames"][0]["name"] == "gpj.exe"


# -- errors ---------------------------------------------------------------------------------------


def _one(name: str = "files") -> dict[str, Any]:
    return {name: ("a.jpg", b"still 0 0")}


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (("GET", "/nowhere", {}), 404, "not_found"),
        (("GET", "/v1/frames/", {}), 404, "not_found"),
        (("GET", "/redoc", {}), 404, "not_found"),
        (("GET", "/v1/frames", {}), 405, "method_not_allowed"),
        (("DELETE", "/healthz", {}), 405, "method_not_allowed"),
        (("POST", "/v1/frames", {}), 415, "unsupported_content_type"),
        (("POST", "/v1/frames", {"json": {"files": []}}), 415, "unsupported_content_type"),
        (("POST", "/v1/frames", {"data": {"files": "x"}}), 415, "unsupported_content_type"),
        (
            ("POST", "/v1/frames", {"files": _one(), "headers": {"Content-Encoding": "gzip"}}),
            415,
            "unsupported_content_type",
        ),
        (
            (
                "POST",
                "/v1/frames",
                {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
            ),
            400,
            "malformed_request",
        ),
        (
            (
                "POST",
                "/v1/frames",
                {"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
            ),
            400,
            "malformed_request",
        ),
    ],
)
async def test_every_error_has_one_shape(
    service: Service, call: tuple[str, str, dict[str, Any]], status: int, code: str
) -> None:
    method, path, options = call
    check_problem(await service.client.request(method, path, **options), status, code)


async def test_a_405_names_the_methods(service: Service) -> None:
    assert (await service.client.get("/v1/frames")).headers["allow"] == "POST"


async def test_a_wrong_field_is_named_and_so_is_the_right_one(service: Service) -> None:
    response = await service.client.post("/v1/frames", files=_one("file"))
    body = check_problem(response, 422, "invalid_request")
    assert body["errors"][0]["field"] == "file"
    assert '"files"' in body["detail"]


async def test_text_in_place_of_a_file_is_explained(service: Service) -> None:
    response = await service.client.post("/v1/frames", files={"files": (None, b"photo.jpg")})
    body = check_problem(response, 422, "invalid_request")
    assert "-F files=@" in body["detail"]


async def test_no_file_at_all(service: Service) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = await service.client.post("/v1/frames", content=b"--b--\r\n", headers=headers)
    check_problem(response, 422, "invalid_request")


async def test_too_many_pictures(start: Starter) -> None:
    async with start(max_frames_per_request=2) as service:
        assert (await service.post(b"still 0 0", b"still 0 0")).status_code == 200
        body = check_problem(await service.post(*[b"still 0 0"] * 3), 413, "request_too_large")
    assert "2 pictures" in body["detail"]


async def test_a_picture_too_large_is_named(start: Starter) -> None:
    async with start(max_picture_bytes=1024) as service:
        assert (await service.post(b"still 0 0 " + b"x" * 1014)).status_code == 200
        answer = await service.post(b"still 0 0", b"still 0 0 " + b"x" * 1015)
        body = check_problem(answer, 413, "request_too_large")
        assert service.app.state.shared.admission.bytes_held == 0
    assert body["errors"] == [{"field": "files[1]", "detail": "more than 1024 bytes"}]


@pytest.mark.parametrize("declared", [True, False])
async def test_a_request_too_large_is_refused_declared_or_not(
    start: Starter, declared: bool
) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    async with start(max_picture_bytes=1024, max_request_bytes=2048) as service:
        if declared:
            answer = await service.post(b"x" * 3000)
        else:
            head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'

            async def many() -> AsyncIterator[bytes]:
                for _ in range(20):
                    yield head + b"x" * 100 + b"\r\n"

            headers = {"Content-Type": "multipart/form-data; boundary=b"}
            answer = await service.client.post("/v1/frames", content=many(), headers=headers)
        body = check_problem(answer, 413, "request_too_large")
    assert "2048 bytes" in body["detail"]


async def test_an_upload_that_trickles_in_is_ended(start: Starter) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"--b\r\n"
        await asyncio.sleep(30)
        yield b"never"

    async with start(upload_timeout_s=0.1) as service:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await service.client.post("/v1/frames", content=slow(), headers=headers)
        check_problem(answer, 408, "upload_timeout")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer nonsense", "Basic YTpi", "Bearer " + "x" * 5000]
)
async def test_without_a_valid_key_nobody_is_heard(service: Service, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(service.app), base_url="http://service"
    ) as client:
        answer = await client.post("/v1/frames", files=_one(), headers=headers)
    check_problem(answer, 401, "not_authenticated")
    sent = header is not None and header.startswith("Bearer ")
    expected = 'Bearer error="invalid_token"' if sent else "Bearer"
    assert answer.headers["www-authenticate"] == expected
    assert ("mistyped, expired or revoked" in answer.json()["detail"]) is sent
    assert answer.headers["cache-control"] == "no-store"
    assert service.decoder.opened == 0


@pytest.mark.parametrize("role", list(Role))
async def test_roles(service: Service, role: Role) -> None:
    headers = {"Authorization": f"Bearer {service.keys[role]}"}
    answer = await service.post(b"still 0 0", headers=headers)
    if role is Role.AUDITOR:
        check_problem(answer, 403, "forbidden")
    else:
        assert answer.status_code == 200


async def test_a_revoked_key_stops_working(service: Service) -> None:
    service.accounts.revoke(service.keys[Role.PIPELINE].split("_")[1])
    check_problem(await service.post(b"still 0 0"), 401, "not_authenticated")


async def test_no_answer_tells_why_a_key_is_not_valid(service: Service) -> None:
    for name in ("revoked", "expired", "disabled"):
        service.accounts.create(name, "system", Role.PIPELINE)
    made = {name: service.accounts.create_key(name) for name in ("revoked", "disabled")}
    end = service.clock() + timedelta(hours=1)
    made["expired"] = service.accounts.create_key("expired", expires_at=end)
    service.accounts.revoke(made["revoked"].id)
    service.accounts.disable("disabled")
    service.clock.advance(timedelta(hours=2))
    texts = {"wrong": "dfk_" + "0" * 12 + "_" + "A" * 43, **{n: k.text for n, k in made.items()}}
    told = set()
    for text in texts.values():
        headers = {"Authorization": f"Bearer {text}"}
        answer = await service.client.get("/v1/jobs", headers=headers)
        body = {k: v for k, v in answer.json().items() if k != "instance"}
        told.add((answer.status_code, str(body), answer.headers["www-authenticate"]))
    assert len(told) == 1


async def test_a_crop_that_cannot_be_classified_fails_its_request_only(
    service: Service, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    good, bad = await asyncio.gather(service.post(b"still 1 120"), service.post(b"still 1 13"))
    assert good.json()["frames"][0]["verdict"] == "likely_manipulated"
    check_problem(bad, 500, "internal_error")
    assert "secret-name" not in bad.text
    assert "secret-name" not in json.dumps(log_lines())
    failed = [line for line in log_lines() if line["event"] == "request_failed"]
    assert failed[0]["failure"]["cause"]["error"] == "builtins.RuntimeError"
    assert failed[0]["request_id"] == bad.headers["x-request-id"]


@pytest.mark.parametrize("where", ["decoder", "detector"])
async def test_a_fault_of_ours_is_a_500_without_its_text(
    service: Service, log_lines: Callable[[], list[dict[str, Any]]], where: str
) -> None:
    if where == "detector":
        service.scorer.observe_error = ValueError("secret-name.jpg")
    answer = await service.post(b"still 1 120", b"bug" if where == "decoder" else b"still 1 1")
    check_problem(answer, 500, "internal_error")
    assert "secret-name" not in answer.text
    assert "secret-name" not in json.dumps(log_lines())
    assert (await service.client.get("/healthz")).status_code == 200


# -- load and leaving -----------------------------------------------------------------------------


async def test_beyond_the_requests_allowed_clients_are_told_to_come_back(start: Starter) -> None:
    async with start(max_pending_requests=1) as service:
        first = asyncio.create_task(service.post(b"slow still 1 120"))
        await asyncio.to_thread(service.decoder.entered.acquire)
        answer = await service.post(b"still 1 120")
        check_problem(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        service.decoder.gate.set()
        assert (await first).status_code == 200
        assert (await service.post(b"still 1 120")).status_code == 200


async def test_uploads_together_never_hold_more_memory_than_allowed(start: Starter) -> None:
    limits = {"max_picture_bytes": 2048, "max_request_bytes": 4096, "max_buffered_bytes": 4096}
    async with start(**limits) as service:
        first = asyncio.create_task(service.post(b"slow still 0 0 " + b"x" * 1900))
        await asyncio.to_thread(service.decoder.entered.acquire)
        check_problem(await service.post(b"x" * 1900, b"x" * 1000), 503, "overloaded")
        assert (await service.post(b"still 0 0 " + b"x" * 1000)).status_code == 200
        service.decoder.gate.set()
        assert (await first).status_code == 200
        assert service.app.state.shared.admission.bytes_held == 0
        assert service.app.state.shared.admission.requests == 0


async def test_a_full_queue_refuses_new_requests(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(batch_max_queue=1) as service:
        batcher = service.app.state.shared.engine.batcher
        monkeypatch.setattr(type(batcher), "full", property(lambda _: True))
        check_problem(await service.post(b"still 1 120"), 503, "overloaded")


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
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self.messages:
            return self.messages.pop()
        await self.hung_up.wait()
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

    async def trickle() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(1000):
            yield b"x"
            await asyncio.sleep(0.05)

    async with start(min_upload_rate=8192) as service:
        key = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
        multipart = {**key, "Content-Type": "multipart/form-data; boundary=b"}
        raw = {**key, "Content-Type": "video/mp4"}
        for path, headers in (("/v1/frames", multipart), ("/v1/videos", raw), ("/sign-in", key)):
            async with asyncio.timeout(20):
                answer = await service.client.post(path, content=trickle(), headers=headers)
            assert answer.status_code == 408, (path, answer.text)


async def test_only_the_listener_of_operators_serves_metrics_if_there_is_one(
    start: Starter,
) -> None:
    async with start(operations_port=9000) as service:
        assert (await service.client.get("/metrics")).status_code == 404
        assert (await service.client.get("/healthz")).status_code == 200
        own = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=own, base_url="http://service:9000") as operators:
            assert (await operators.get("/metrics")).status_code == 200


async def test_work_that_a_client_no_longer_waits_for_is_dropped(start: Starter) -> None:
    async with start(decode_workers=1) as service:
        key = service.keys[Role.ADMIN]
        connection = Connection(_multipart(*[b"slow still 1 120"] * 10), key)
        call = service.app(connection.scope, connection.receive, connection.send)
        task = asyncio.create_task(call)
        await asyncio.to_thread(service.decoder.entered.acquire)
        connection.hung_up.set()
        await asyncio.sleep(0.05)
        service.decoder.gate.set()  # the one decode that had begun runs to its end
        async with asyncio.timeout(20):
            await task
        assert service.decoder.opened == 1
        assert service.scorer.batches == []
        assert connection.sent[0]["status"] == 499
        assert service.app.state.shared.admission.requests == 0
        assert (await service.post(b"still 1 120")).status_code == 200


async def test_a_client_that_leaves_while_uploading(start: Starter) -> None:
    async with start() as service:
        connection = Connection(b"", service.keys[Role.ADMIN])
        connection.messages[0] = {"type": "http.request", "body": b"--b\r\n", "more_body": True}
        connection.hung_up.set()
        await service.app(connection.scope, connection.receive, connection.send)
        assert connection.sent[0]["status"] == 499
        assert service.app.state.shared.admission.requests == 0


async def test_the_sender_of_an_upload_is_known_once_the_key_was_checked(start: Starter) -> None:
    async with start() as service:
        for key, is_known in ((service.keys[Role.ADMIN], True), ("wrong", False)):
            connection = Connection(_multipart(b"still 1 120"), key)
            connection.scope["state"] = {}
            await service.app(connection.scope, connection.receive, connection.send)
            assert (KNOWN_SENDER in connection.scope["state"]) is is_known


async def test_a_large_request_does_not_hold_up_a_small_one(start: Starter) -> None:
    async with start(decode_workers=1) as service:
        large = asyncio.create_task(service.post(*[b"slow still 1 120"] * 40))
        await asyncio.to_thread(service.decoder.entered.acquire)
        small = asyncio.create_task(service.post(b"still 1 120"))
        while service.app.state.shared.admission.requests < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
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
    async with start(max_picture_bytes=4096) as service:
        assert (await service.post(*contents)).status_code == status
    assert len(buffers) == 2
    assert all(b.closed for b in buffers)


# -- operations -----------------------------------------------------------------------------------


@pytest.fixture
async def stranger(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client without a key."""
    transport = httpx.ASGITransport(service.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


async def test_health_and_readiness(stranger: httpx.AsyncClient) -> None:
    health = await stranger.get("/healthz")
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    ready = await stranger.get("/readyz")
    assert (ready.status_code, ready.json()) == (
        200,
        {
            "status": "ready",
            "model": MODEL,
            "not_for_use": [],
            "epoch_keys": True,
            "accepts_submissions": True,
            "sandbox": None,
        },
    )


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_head_is_answered_like_get(stranger: httpx.AsyncClient, path: str) -> None:
    head, get = await stranger.head(path), await stranger.get(path)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length"):
        assert head.headers[name] == get.headers[name]


async def test_a_request_that_a_stop_ends_is_told_to_come_back(service: Service) -> None:
    task = asyncio.create_task(service.post(b"slow still 1 120"))
    await asyncio.to_thread(service.decoder.entered.acquire)
    task.cancel()
    service.decoder.gate.set()
    answer = await task
    assert answer.status_code == 503
    assert answer.json()["type"].endswith(":not_ready")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "retry-after" in answer.headers


async def test_a_service_that_has_not_started_is_alive_but_not_ready(
    service: Service,
) -> None:
    app = create_app(
        service.app.state.shared.settings, scorer=service.scorer, decoder=service.decoder,
        database=service.database,
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {service.keys[Role.ADMIN]}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://service", headers=headers
    ) as client:
        assert (await client.get("/healthz")).status_code == 200
        check_problem(await client.get("/readyz"), 503, "not_ready")
        check_problem(await client.post("/v1/frames", files=_one()), 503, "not_ready")
        async with app.router.lifespan_context(app):
            assert (await client.get("/readyz")).status_code == 200
        check_problem(await client.get("/readyz"), 503, "not_ready")


async def test_stopping_lets_what_runs_finish(start: Starter) -> None:
    async with start(batch_max_delay_ms=1000) as service:
        engine = service.app.state.shared.engine
        running = asyncio.create_task(engine.pictures.score(io.BytesIO(b"still 1 120")))
        async with asyncio.timeout(20):
            while engine.batcher.depth == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    verdict = await running
    assert verdict.score is not None


def _samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (s.name, *(f"{k}={v}" for k, v in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


async def test_metrics_count_without_content(service: Service) -> None:
    await service.post(b"still 1 120", b"noise", b"moving")
    await service.client.get("/secret-path/secret-name.jpg")
    await service.client.request("SECRET-METHOD", "/healthz")
    answer = await service.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found = _samples(answer.text)
    frames = ("method=POST", "route=/v1/frames")
    assert found["deepfake_http_requests_total", *frames, "status=200"] == 1
    assert found["deepfake_http_request_seconds_count", *frames] == 1
    unmatched = ("method=GET", "route=unmatched", "status=404")
    assert found["deepfake_http_requests_total", *unmatched] == 1
    assert found["deepfake_frames_total",] == 3
    assert found["deepfake_decoder_failures_total", "code=undecodable"] == 1
    assert found["deepfake_decoder_failures_total", "code=not_a_picture"] == 1
    assert found["deepfake_batch_crops_count",] == 1
    assert found["deepfake_queue_depth",] == 0
    assert found["deepfake_http_requests_in_progress",] == 1  # the one that asks
    assert "secret" not in answer.text.lower()
    assert ".jpg" not in answer.text
    assert not re.search(r"0\.88\d", answer.text)


async def test_apps_do_not_share_metrics(service: Service, start: Starter) -> None:
    await service.post(b"still 1 120")
    async with start() as other:
        text = (await other.client.get("/metrics")).text
    assert "deepfake_frames_total 0.0" in text


async def test_metrics_which_need_no_key_tell_nobody_a_verdict(service: Service) -> None:
    before = (await service.client.get("/metrics")).text
    await service.post(b"still 1 120", b"still 1 3")
    service.app.state.shared.metrics.job_ended("succeeded", 1.0)
    after = (await service.client.get("/metrics")).text
    assert after != before
    assert not [v for v in VerdictCode if f'"{v}"' in after]


async def test_each_request_leaves_one_line_without_content(
    service: Service, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    files = {"files": ("secret-name.jpg", b"still 1 120")}
    headers = {"X-Request-ID": "case-0042-a"}
    answer = await service.client.post("/v1/frames", files=files, headers=headers)
    assert answer.headers["x-request-id"] == "case-0042-a"
    (line,) = [entry for entry in log_lines() if entry["event"] == "request"]
    assert line.pop("timestamp")
    assert line.pop("duration_ms") > 0
    key_id = service.keys[Role.PIPELINE].split("_")[1]
    assert line == {
        "event": "request", "level": "info", "logger": "deepfake_service.access", "method": "POST",
        "route": "/v1/frames", "status": 200, "request_id": "case-0042-a", "key_id": key_id,
    }  # fmt: skip
    assert (await service.client.get("/v1/jobs?secret=secret")).status_code == 422
    everything = json.dumps(log_lines())
    assert "secret" not in everything
    assert service.keys[Role.PIPELINE] not in everything


@pytest.mark.parametrize("given", ["x", "a b c d e f g h", "{{7*7}}{{7*7}}", "a" * 65])
async def test_an_improper_request_id_is_replaced(service: Service, given: str) -> None:
    answer = await service.client.get("/healthz", headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] != given
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_openapi_describes_the_answers(service: Service) -> None:
    api = (await service.client.get("/openapi.json")).json()
    operation = api["paths"]["/v1/frames"]["post"]
    assert operation["security"]
    body = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert body == {"$ref": "#/components/schemas/PictureUpload"}
    assert api["components"]["schemas"]["PictureUpload"]["required"] == ["files"]
    answers = operation["responses"]
    assert set(answers) == {
        "200", "400", "401", "403", "408", "413", "415", "422", "429", "500", "503"
    }  # fmt: skip
    for status, answer in answers.items():
        kinds = list(answer["content"])
        assert kinds == ["application/json" if status == "200" else "application/problem+json"]
    frame = api["components"]["schemas"]["FrameOut"]["properties"]
    assert frame["verdict"]["$ref"] == "#/components/schemas/VerdictCode"
    assert "not_a_picture" in api["components"]["schemas"]["ReasonCode"]["enum"]


async def test_the_page_about_the_api_loads_files_of_this_service_only(
    stranger: httpx.AsyncClient,
) -> None:
    page = await stranger.get("/docs")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 5
    for address in loaded:
        if address != "data:,":
            assert (await stranger.get(f"/{address}")).status_code == 200, address
    assert not re.search(r"<script>|<style|style=|\son\w+=|https?:", page.text)


async def test_a_database_under_another_master_key_is_not_served(
    service: Service, tmp_path: Path
) -> None:
    """Machines that share a database need the same master key; the error names the setting."""
    app = create_app(
        Settings(data_dir=tmp_path / "other"), scorer=service.scorer, decoder=service.decoder,
        database=service.database,
    )  # fmt: skip
    with pytest.raises(DecryptionFailed, match="DEEPFAKE_MASTER_KEY"):
        async with app.router.lifespan_context(app):
            pytest.fail("it must not start")


def test_only_uploads_bound_their_bodies_themselves() -> None:
    modules = [import_module(m.name) for m in iter_modules(api.__path__, f"{api.__name__}.")]
    routes = [route for module in modules for route in module.router.routes]
    assert len(routes) > 40
    assert {r.path for r in routes if getattr(r.endpoint, "streams_body", False)} == {
        "/v1/videos", "/v1/frames", "/v1/verify", "/v1/cases/{case_id}/occurrences",
    }  # fmt: skip
